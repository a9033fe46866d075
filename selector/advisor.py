"""The advisor: what Python users call, and the story from top to bottom.

    from selector.advisor import recommend

    answer = recommend("edge", 5000, classes=10)
    answer.recommendation.candidate.backbone

    advice = recommend_on_images("edge", Path("images"), budget_s=1800)   # trains, measures, then answers
    advice.study.winner.folder

Request → candidates → evidence → ranking → answer. `recommend` needs no torch; the same request on the same evidence
gives the same answer.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selector.backbones import catalog, cost
from selector.backbones.depth import FreezeDepth
from selector.decision.answer import Answer, Recommendation, Request
from selector.decision.candidates import candidates
from selector.decision.claims import audit
from selector.decision.device import DeviceEvidence, Latency, held
from selector.decision.infeasible import NothingFeasible, infeasible
from selector.decision.measured import Study
from selector.decision.next import next_measurements
from selector.decision.policy import policy
from selector.decision.ranking import rank
from selector.decision.reasons import notes, why
from selector.decision.request import AskedLimits, Hardware, check, command_of
from selector.decision.table import document_table
from selector.decision.training import TrainingTime, hyperparameters
from selector.errors import Faults
from selector.evidence.metrics import TRAIN_STEP
from selector.evidence.record import Record
from selector.evidence.store import open_store
from selector.findings import SearchedInVain, as_study
from selector.hardware import loading

if TYPE_CHECKING:
    from selector.tuning.info import Progress, TuneResult

LOCAL = "local"

SHORTLIST = 3
"""Backbones that a search looks at where none are named: more would cost it its time."""

ANSWERING_S = 4.0
"""What a search's budget leaves for the answer and the page."""


@dataclass(frozen=True, slots=True)
class Shortlist:
    """Backbones worth a search, best first, and their latency where they will run.

    `latency_ms` is by "backbone@resolution", of fp32 in the fastest runtime; what limits are held against.
    """

    backbones: tuple[str, ...]
    latency_ms: dict[str, float]


@dataclass(frozen=True, slots=True)
class Advice:
    """An answer, and the search on the user's images that it rests on."""

    answer: Answer
    study: "TuneResult"


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
    study: Study | None = None,
) -> Answer:
    """What to take for `data_size` labelled images on `hardware`, with the evidence behind it.

    `limits` replace the hardware's defaults one by one; empty `runtimes`, `precisions` and `backbones` mean all.
    `store` is the evidence store (None: `SELECTOR_STORE`, else the user's own), `profile_folder` holds hardware
    profiles of the user's. What a `study` measured on the user's images replaces the prior, and its winner is what is
    recommended. Raises InvalidInput with every fault of the request at once, NothingFeasible where
    nothing keeps the limits, StoreFailed and InvalidProfile where those cannot be read.
    """
    request, found = check_request(
        hardware,
        data_size,
        classes=classes,
        domain=domain,
        limits=limits,
        runtimes=runtimes,
        precisions=precisions,
        backbones=backbones,
        seed=seed,
        profile_folder=profile_folder,
    )
    with open_store(store) as records:
        measured = records.records(hardware=found.reference.name)
        steps = records.records(hardware=LOCAL, metrics=TRAIN_STEP.name)
    evidence = DeviceEvidence(found.reference, measured, fingerprint=_fingerprint(found, measured))
    command = command_of(request, store=store, profile_folder=profile_folder) if study is None else study.command
    return _answer(request, found, evidence, TrainingTime(steps, training_macs), study, command)


def check_request(
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
    profile_folder: Path | None = None,
) -> tuple[Request, Hardware]:
    """The request of `recommend` as it is answered, and its hardware. Raises InvalidInput with every fault at once."""
    faults = Faults()
    found: Hardware | None = None
    with faults:
        profile = loading.profile(hardware, profile_folder)
        found = Hardware(profile, loading.reference_device(profile, profile_folder))
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
        faults=faults.found,
    )
    assert found is not None, "check refuses a request without hardware"
    return request, found


def recommend_on_images(
    hardware: str,
    data: Path,
    *,
    budget_s: float,
    spent_s: float = 0.0,
    domain: str | None = None,
    limits: AskedLimits | None = None,
    runtimes: Sequence[str] = (),
    precisions: Sequence[str] = (),
    backbones: Sequence[str] = (),
    weights: Path | None = None,
    random_init: bool = False,
    save: Path | None = None,
    resume: bool = False,
    seed: int = 0,
    store: str | Path | None = None,
    profile_folder: Path | None = None,
    command: str = "selector recommend",
    on_progress: "Callable[[Progress], None]" = lambda progress: None,
) -> Advice:
    """Shortlist, search on the images at `data` within `budget_s` seconds, and answer with what was measured.

    `spent_s` seconds of the budget are gone already. `weights` is a folder of pretrained weights: only backbones
    that it holds are searched. `save` is the model's folder. `resume` goes on with the last search on these images,
    over its backbones where none are named. Raises as `recommend` and `tuning.search.tune.tune` do, and SearchedInVain
    where nothing keeps the limits after the search: what was trained comes with it.
    """
    from selector.tuning.info import DeployLimits, TuneRequest
    from selector.tuning.search.tune import tune

    asked: dict[str, Any] = {
        "domain": domain,
        "limits": limits,
        "runtimes": runtimes,
        "precisions": precisions,
        "seed": seed,
        "profile_folder": profile_folder,
    }
    images, classes = check_on_images(
        hardware, data, budget_s=budget_s, weights=weights, save=save, backbones=backbones, **asked
    )

    def ask(images: int, classes: int, names: Sequence[str], study: Study | None) -> Answer:
        return recommend(hardware, images, classes=classes, backbones=names, study=study, store=store, **asked)

    prior = ask(max(images, classes), classes, tuple(backbones) or with_weights(weights), None)
    short = shortlist(prior)
    bounds = {limit.name: limit.bound for limit in prior.request.limits}
    result = tune(
        TuneRequest(
            data=data,
            budget_s=budget_s - ANSWERING_S,
            spent_s=spent_s,
            backbones=tuple(backbones) or short.backbones[:SHORTLIST],
            advised=not backbones,
            weights=weights,
            random_init=random_init,
            limits=DeployLimits(bounds.get("latency_ms"), bounds.get("artifact_mb"), short.latency_ms),
            seed=seed,
            save=save,
            resume=resume,
            command=command,
        ),
        on_progress,
    )
    found = as_study(result, budget_s, command)
    try:
        return Advice(ask(result.summary.images, len(result.classes), backbones, found), result)
    except NothingFeasible as refusal:
        raise SearchedInVain(refusal.found, result) from None


def check_on_images(
    hardware: str,
    data: Path,
    *,
    budget_s: float,
    weights: Path | None = None,
    save: Path | None = None,
    seed: int = 0,
    **asked: Any,
) -> tuple[int, int]:
    """Images and classes at `data`. Raises InvalidInput with all that is wrong with them and with the request."""
    from selector.tuning.data.listing import list_images
    from selector.tuning.info import TuneRequest
    from selector.tuning.search.check import check as check_search

    faults = Faults()
    images, classes = 2, 2  # any that are no fault
    with faults:
        listing = list_images(data)
        images, classes = len(listing.entries), max(2, len(listing.classes))
    with faults:
        check_request(hardware, max(images, classes), classes=classes, seed=seed, **asked)
    with faults:
        # the other check has told of names and limits; one that is in order stands in for them
        some = catalog.names()[:1]
        check_search(TuneRequest(data, budget_s - ANSWERING_S, some, weights=weights, save=save, seed=max(seed, 0)))
    faults.tell()
    return images, classes


def shortlist(answer: Answer) -> Shortlist:
    """The feasible backbones of an answer, its own choice first, and each fp32 latency that limits are held against."""
    latency_ms: dict[str, float] = {}
    for c in answer.candidates:
        if c.latency is not None and c.precision == "fp32":
            place, limited = f"{c.backbone}@{c.resolution}", held(Latency(c.latency, c.latency_p90)).value
            latency_ms[place] = min(latency_ms.get(place, limited), limited)
    return Shortlist(tuple(dict.fromkeys(c.backbone for c in answer.candidates if c.feasible)), latency_ms)


def with_weights(folder: Path | None) -> tuple[str, ...]:
    """Backbones of which `folder`, or else the one that `SELECTOR_WEIGHTS` names, holds a file; empty: no folder."""
    configured = os.environ.get("SELECTOR_WEIGHTS")
    place = folder or (Path(configured).expanduser() if configured else None)
    if place is None or not place.is_dir():
        return ()
    return tuple(sorted({file.stem for file in place.iterdir()} & set(catalog.names())))


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


def _fingerprint(hardware: Hardware, measured: Iterable[Record]) -> str | None:
    """This machine's present fingerprint, where its own measurements are to be weighed."""
    if hardware.reference.name != LOCAL or not any(measured):
        return None
    from selector.hardware.fingerprint import environment, fingerprint  # detection takes time that others save
    from selector.hardware.machine import detect

    return fingerprint(environment(detect()))


def _answer(
    request: Request,
    hardware: Hardware,
    evidence: DeviceEvidence,
    training: TrainingTime,
    study: Study | None,
    command: str,
) -> Answer:
    """Consider, rank, and put the answer together."""
    considered = candidates(request, hardware, evidence, training, training_macs, study)
    ranking = rank(
        considered.items,
        considered.draws,
        considered.training_macs,
        handed_over=None if study is None else study.handed_over,
    )
    if ranking is None:
        raise infeasible(request, hardware, considered, command)
    every = catalog.backbones()
    chosen = ranking.chosen
    return Answer(
        request=request,
        profile=hardware.profile,
        reference=hardware.reference,
        recommendation=Recommendation(
            chosen,
            study.hyperparameters
            if study and study.handed_over(chosen)
            else hyperparameters(chosen.family, chosen.freeze, chosen.resolution, request.data_size),
            why(request, hardware, ranking, evidence, study),
        ),
        candidates=ranking.candidates,
        policy=policy(request.data_size, chosen),
        document_table=document_table(every, ranking.candidates, hardware.reference),
        claims=audit(every, ranking.candidates, hardware.reference, ranking.depth_odds, training_macs),
        next_measurements=next_measurements(
            request, ranking, considered.executions, evidence, training, command, study
        ),
        notes=notes(request, hardware, ranking, considered, training, study),
        command=command,
    )
