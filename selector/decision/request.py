"""The question: read, checked whole, and every fault told at once."""

import math
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from selector.backbones import catalog
from selector.decision.answer import Limit, Request, Statement
from selector.errors import InvalidInput, close_name, unknown_name
from selector.estimation.accuracy import domains
from selector.hardware.profiles import HardwareProfile, Kind, unknown_ids
from selector.resources import without_password

AT_MOST, AT_LEAST = "at most", "at least"
MAX_IMAGES = 10**12  # beyond any data set there is; a number with more digits is a slip
MAX_CLASSES = 1_000_000  # beyond it a classifier head is no longer a small part of any backbone


@dataclass(frozen=True, slots=True)
class AskedLimits:
    """Limits that the user sets. None: the hardware's default, where it has one."""

    latency_ms: float | None = None
    artifact_mb: float | None = None
    memory_mb: float | None = None
    accuracy: float | None = None  # percent, at least


@dataclass(frozen=True, slots=True)
class Hardware:
    """The hardware asked for and the device on which its latency is stated: itself, or a class's first reference."""

    profile: HardwareProfile
    reference: HardwareProfile

    @property
    def offers(self) -> dict[str, tuple[str, ...]]:
        """Runtime → precisions that can be executed: of a class, what it and its reference device both offer."""
        own = {offer.name: offer.precisions for offer in self.profile.runtimes}
        there = {offer.name: offer.precisions for offer in self.reference.runtimes}
        if not own or not there:
            return own or there
        both = {name: tuple(p for p in own[name] if p in there[name]) for name in own if name in there}
        return {name: precisions for name, precisions in both.items() if precisions} or there


def check(
    name: str,
    hardware: Hardware | None,
    data_size: int,
    *,
    classes: int | None = None,
    domain: str | None = None,
    limits: AskedLimits | None = None,
    runtimes: Sequence[str] = (),
    precisions: Sequence[str] = (),
    backbones: Sequence[str] = (),
    seed: int = 0,
    faults: Iterable[str] = (),
) -> Request:
    """The checked request for the hardware called `name`.

    `hardware` is None where it could not be found; `faults` then says why. Raises InvalidInput with every fault.
    """
    asked = limits or AskedLimits()
    found = [*faults, *_size_faults(data_size, classes), *_limit_faults(asked)]
    if domain is not None and domain not in domains():
        found.append(f"domain {domain!r} is not one of: {', '.join(domains())}")
    known = catalog.names()
    found += [unknown_name("backbone", b, known, listing="selector catalog") for b in backbones if b not in known]
    if hardware is None:
        found += unknown_ids(runtimes, precisions)
    else:
        found += _offer_faults(hardware, runtimes, precisions)
    if seed < 0:
        found.append(f"--seed is {seed}; give 0 or a positive number")
    if found or hardware is None:
        raise InvalidInput(found)
    return Request(
        hardware=name,
        data_size=data_size,
        classes=classes,
        domain=domain,
        limits=held_limits(hardware.profile, asked),
        runtimes=tuple(dict.fromkeys(runtimes)),
        precisions=tuple(dict.fromkeys(precisions)),
        backbones=tuple(dict.fromkeys(backbones)),
        seed=seed,
    )


def held_limits(profile: HardwareProfile, asked: AskedLimits) -> tuple[Limit, ...]:
    """The profile's default limits, each replaced by the user's where there is one; each says whose it is."""
    rows = (
        ("latency_ms", asked.latency_ms, profile.limits.latency_ms, AT_MOST),
        ("artifact_mb", asked.artifact_mb, profile.limits.artifact_mb, AT_MOST),
        ("memory_mb", asked.memory_mb, profile.limits.memory_mb, AT_MOST),
        ("accuracy", asked.accuracy, None, AT_LEAST),
    )
    limits = []
    for name, own, default, sense in rows:
        if own is not None:
            limits.append(Limit(name, own, sense, Statement("limit.asked")))
        elif default is not None:
            why = {"why": profile.limits.why, "why_zh": profile.limits.why_zh or profile.limits.why}
            kind = "class" if profile.kind is Kind.CLASS else "device"
            limits.append(Limit(name, default, sense, Statement(f"limit.{kind}", {"hardware": profile.name, **why})))
    return tuple(limits)


def _size_faults(data_size: int, classes: int | None) -> list[str]:
    faults = []
    if data_size < 1:
        faults.append(f"--data-size is {data_size}; give the number of labelled images, 1 or more")
    elif data_size > MAX_IMAGES:
        faults.append(f"--data-size is above {MAX_IMAGES:,}; give the number of labelled images that there are")
    elif data_size == 1 and classes is None:
        faults.append(
            "--data-size is 1; a classification has 2 classes at least, and each needs an image "
            "(--data-size counts the images of all classes)"
        )
    if classes is not None and not 2 <= classes <= MAX_CLASSES:
        faults.append(f"--classes is {classes}; a classification has from 2 to {MAX_CLASSES} classes")
    elif classes is not None and 1 <= data_size < classes:
        faults.append(
            f"--classes is {classes} with {data_size} images; each class needs one image at least "
            "(--data-size counts the images of all classes)"
        )
    return faults


def _limit_faults(asked: AskedLimits) -> list[str]:
    faults = []
    for option, value in (
        ("--max-latency-ms", asked.latency_ms),
        ("--max-artifact-mb", asked.artifact_mb),
        ("--max-memory-mb", asked.memory_mb),
    ):
        if value is not None and not (value > 0 and math.isfinite(value)):
            faults.append(f"{option} is {value:g}; give a positive number, or leave it out for no limit of your own")
    if asked.accuracy is not None and not 0 <= asked.accuracy <= 100:
        faults.append(f"--min-accuracy is {asked.accuracy:g}; give a percentage from 0 to 100")
    return faults


def _offer_faults(hardware: Hardware, runtimes: Sequence[str], precisions: Sequence[str]) -> list[str]:
    offers, device = hardware.offers, hardware.reference.name
    faults = [_not_offered("runtime", r, offers, device) for r in runtimes if r not in offers]
    asked = [r for r in runtimes if r in offers] or offers  # a runtime that is not offered has no precisions
    known = dict.fromkeys(p for name in asked for p in offers[name])
    return faults + [_not_offered("precision", p, known, device) for p in precisions if p not in known]


def _not_offered(what: str, name: str, known: Iterable[str], device: str) -> str:
    # so few that all are named
    return f"{device} offers no {what} {name!r}; it offers: {', '.join(known)}{close_name(name, known)}"


def command_of(request: Request, *, store: str | Path | None = None, profile_folder: Path | None = None) -> str:
    """The command that asks the same question of the same evidence. Defaults of the hardware are left to it.

    `store` and `profile_folder` stand in it where they were named; a password of the store's does not.
    """
    parts = ["selector", "recommend", "--hardware", request.hardware, "--data-size", str(request.data_size)]
    if request.classes is not None:
        parts += ["--classes", str(request.classes)]
    if request.domain is not None:
        parts += ["--domain", request.domain]
    options = {
        "latency_ms": "--max-latency-ms",
        "artifact_mb": "--max-artifact-mb",
        "memory_mb": "--max-memory-mb",
        "accuracy": "--min-accuracy",
    }
    for limit in request.limits:
        if limit.origin.key == "limit.asked":
            parts += [options[limit.name], f"{limit.bound:g}"]
    for option, names in (
        ("--runtime", request.runtimes),
        ("--precision", request.precisions),
        ("--backbones", request.backbones),
    ):
        if names:
            parts += [option, ",".join(names)]
    if request.seed:
        parts += ["--seed", str(request.seed)]
    if profile_folder is not None:
        parts += ["--hardware-profiles", str(profile_folder)]
    if store is not None:
        parts += ["--store", without_password(str(store))]
    return shlex.join(parts)
