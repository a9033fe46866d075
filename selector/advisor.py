"""The advisor: what Python users call, and the story from top to bottom.

    from selector.advisor import recommend

    answer = recommend("edge", 5000, classes=10)
    answer.recommendation.candidate.backbone

Request → candidates → evidence → ranking → answer. Needs no torch; the same request on the same evidence gives the
same answer.
"""

import shlex
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import product
from pathlib import Path

from selector.backbones import catalog, cost
from selector.backbones.depth import FreezeDepth
from selector.decision.answer import Answer, Candidate, Recommendation, Request
from selector.decision.candidates import Candidates, candidates, excess
from selector.decision.claims import audit
from selector.decision.device import DeviceEvidence
from selector.decision.next import next_measurements
from selector.decision.policy import policy
from selector.decision.ranking import rank
from selector.decision.reasons import notes, why
from selector.decision.request import AskedLimits, Hardware, check
from selector.decision.table import document_table
from selector.decision.training import TrainingTime, hyperparameters
from selector.errors import InvalidInput, NoFeasibleCandidate
from selector.evidence.metrics import TRAIN_STEP
from selector.evidence.record import Record
from selector.evidence.store import open_store
from selector.hardware import loading

LOCAL = "local"


def recommend(
    hardware: str,
    data_size: int,
    *,
    classes: int | None = None,
    domain: str | None = None,
    limits: AskedLimits | None = None,
    runtimes: Sequence[str] = (),
    precisions: Sequence[str] = (),
    backbones: Sequence[str] = (),
    seed: int = 0,
    store: str | Path | None = None,
    profile_folder: Path | None = None,
) -> Answer:
    """What to take for `data_size` labelled images on `hardware`, with the evidence behind it.

    `limits` replace the hardware's defaults one by one; empty `runtimes`, `precisions` and `backbones` mean all.
    `store` is the evidence store (None: `SELECTOR_STORE`, else the user's own), `profile_folder` holds hardware
    profiles of the user's. Raises InvalidInput with every fault of the request at once, NoFeasibleCandidate where
    nothing keeps the limits, StoreFailed and InvalidProfile where those cannot be read.
    """
    found, faults = _hardware(hardware, profile_folder)
    request = check(
        hardware,
        found,
        data_size,
        classes=classes,
        domain=domain,
        limits=limits,
        runtimes=runtimes,
        precisions=precisions,
        backbones=backbones,
        seed=seed,
        faults=faults,
    )
    assert found is not None, "check refuses a request without hardware"
    with open_store(store) as records:
        measured = records.records(hardware=found.reference.name)
        steps = records.records(hardware=LOCAL, metrics=TRAIN_STEP.name)
    evidence = DeviceEvidence(found.reference, measured, fingerprint=_fingerprint(found, measured))
    return _answer(request, found, evidence, TrainingTime(steps, training_macs))


def compare(
    hardwares: Sequence[str],
    data_sizes: Sequence[int],
    *,
    classes: int | None = None,
    domain: str | None = None,
    limits: AskedLimits | None = None,
    seed: int = 0,
    store: str | Path | None = None,
    profile_folder: Path | None = None,
) -> tuple[Answer, ...]:
    """One answer for each hardware and data size, in that order. Raises as `recommend` does."""
    return tuple(
        recommend(
            hardware,
            data_size,
            classes=classes,
            domain=domain,
            limits=limits,
            seed=seed,
            store=store,
            profile_folder=profile_folder,
        )
        for hardware, data_size in product(hardwares, data_sizes)
    )


@cache
def training_macs(backbone: str, frozen_blocks: int, resolution: int) -> float:
    """Multiply-accumulates of forward and backward for one image with so many leading blocks frozen."""
    return float(cost.cost(backbone, FreezeDepth(str(frozen_blocks)), resolution=resolution).macs_training)


def _hardware(name: str, folder: Path | None) -> tuple[Hardware | None, tuple[str, ...]]:
    """The hardware called `name` with its reference device; or None and the faults, for `check` to tell with others."""
    try:
        profile = loading.profile(name, folder)
        return Hardware(profile, loading.reference_device(profile, folder)), ()
    except InvalidInput as error:
        return None, error.faults


def _fingerprint(hardware: Hardware, measured: Iterable[Record]) -> str | None:
    """This machine's present fingerprint, where its own measurements are to be weighed."""
    if hardware.reference.name != LOCAL or not any(measured):
        return None
    from selector.hardware.fingerprint import environment, fingerprint  # detection takes time that others save
    from selector.hardware.machine import detect

    return fingerprint(environment(detect()))


def _answer(request: Request, hardware: Hardware, evidence: DeviceEvidence, training: TrainingTime) -> Answer:
    """Consider, rank, and put the answer together."""
    considered = candidates(request, hardware, evidence, training, training_macs)
    ranking = rank(considered.items, considered.draws, considered.training_macs)
    if ranking is None:
        raise NoFeasibleCandidate(_nearest(considered, hardware))
    every = catalog.backbones()
    chosen = ranking.chosen
    command = command_of(request)
    return Answer(
        request=request,
        profile=hardware.profile,
        reference=hardware.reference,
        recommendation=Recommendation(
            chosen,
            hyperparameters(chosen.family, chosen.freeze, chosen.resolution, request.data_size),
            why(request, hardware, ranking, evidence),
        ),
        candidates=ranking.candidates,
        policy=policy(request.data_size, chosen),
        document_table=document_table(every, ranking.candidates, hardware.reference),
        claims=audit(every, ranking.candidates, hardware.reference, ranking.depth_odds, training_macs),
        next_measurements=next_measurements(request, ranking, considered.executions, evidence, training, command),
        notes=notes(request, hardware, ranking, considered, training),
        command=command,
    )


def _nearest(considered: Candidates, hardware: Hardware) -> str:
    """Which candidate comes nearest to the limits, and by how much it breaks which of them."""
    if not considered.items:
        return (
            f"nothing can be considered on {hardware.reference.name} with these runtimes and precisions; it offers "
            + "; ".join(f"{runtime}: {', '.join(p)}" for runtime, p in hardware.offers.items())
        )
    nearest = min(considered.items, key=_distance)
    broken = []
    for v in nearest.violations:
        if v.figure is None:
            broken.append(f"{v.limit.name} is not known there and the limit is {v.limit.bound:g}")
        else:
            scale = 1e6 if v.limit.name.endswith("_mb") else 1
            broken.append(
                f"{v.limit.name} {v.figure.value / scale:.4g} where {v.limit.sense} {v.limit.bound:g} is allowed"
            )
    return (
        f"no candidate on {hardware.reference.name} keeps the limits; the nearest is {nearest.backbone} "
        f"({nearest.runtime}, {nearest.precision}, {nearest.resolution} px, freeze {nearest.freeze.name}): "
        + "; ".join(broken)
        + ". Loosen that limit, or choose other hardware (`selector hardware list`)"
    )


def _distance(candidate: Candidate) -> tuple[float, float]:
    """By how many times the worst broken limit is broken; of equals the more accurate is nearer."""
    return max(excess(v) for v in candidate.violations), -candidate.accuracy.value


def command_of(request: Request) -> str:
    """The command that asks the same question. Defaults of the hardware are left to it."""
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
    return shlex.join(parts)
