"""Which measurement would most reduce the chance of being wrong, each with a command that is ready to run."""

import shlex
from collections.abc import Sequence

from selector.decision.answer import Candidate, NextMeasurement, Request, Statement, Values
from selector.decision.candidates import Executions, held_figure
from selector.decision.device import Configuration, DeviceEvidence
from selector.decision.measured import Study
from selector.decision.ranking import Ranking
from selector.decision.training import TrainingTime
from selector.evidence.record import Provenance

LOCAL = "local"
ASKED_DOMAIN = "fine-grained"  # the command's example; the sentence says to name one's own
SETTLED = 0.9  # a depth with such odds needs no further measurement
CONTENDERS = 3
IMAGES, BUDGET = "images/", "30m"  # the command's examples; a folder with a folder a class


def next_measurements(
    request: Request,
    ranking: Ranking,
    considered: Executions,
    evidence: DeviceEvidence,
    training: TrainingTime,
    command: str,
    study: Study | None = None,
) -> tuple[NextMeasurement, ...]:
    """Most useful first: what moves accuracy by many points before what moves latency, before what only costs."""
    steps = (
        *(_depth(request, ranking, command) if study is None else _longer(study)),
        *_latency(request, ranking, evidence),
        *_unknown_runtimes(considered, ranking, evidence),
        *_lossy(considered, ranking, evidence, command),
        *(_training(ranking, training) if study is None else ()),
    )
    by_command: dict[str, NextMeasurement] = {}
    for step in steps:
        by_command.setdefault(step.command, step)  # one run serves both: the more useful reason stands
    return tuple(by_command.values())


def _depth(request: Request, ranking: Ranking, command: str) -> list[NextMeasurement]:
    """The freeze depth: the domain costs nothing to say, a search on the images themselves settles it."""
    chosen = ranking.chosen
    steps = []
    if request.domain is None:
        steps.append(NextMeasurement(Statement("next.domain"), f"{command} --domain {ASKED_DOMAIN}"))
    if request.classes is None:
        steps.append(NextMeasurement(Statement("next.classes"), f"{command} --classes 10"))
    if max(ranking.depth_odds.values()) < SETTLED or request.domain is None:
        words = shlex.split(command)
        at = words.index("--data-size")
        words[at : at + 2] = ["--data", IMAGES, "--budget", BUDGET]
        if "--classes" in words:  # the folders say it
            at = words.index("--classes")
            del words[at : at + 2]
        values: Values = {"backbone": chosen.backbone, "budget": BUDGET}
        steps.append(NextMeasurement(Statement("next.depth", values), shlex.join(words)))
    return steps


def _longer(study: Study) -> list[NextMeasurement]:
    """What a search on the images has left open: it saw as many trials as its budget held."""
    words = shlex.split(study.command)
    if "--budget" not in words:
        return []
    at = words.index("--budget")
    words[at + 1] = f"{round(2 * study.budget_s)}s"
    return [NextMeasurement(Statement("next.longer", {"trials": study.trials}), shlex.join(words))]


def _latency(request: Request, ranking: Ranking, evidence: DeviceEvidence) -> list[NextMeasurement]:
    """Estimated latencies that decide: the chosen one's, and those of more accurate candidates that may fit."""
    names: dict[str, None] = {}
    chosen = ranking.chosen
    if chosen.latency is None or chosen.latency.provenance is Provenance.ESTIMATED:
        names[chosen.backbone] = None
    for c in straddling(request, ranking):
        if len(names) < CONTENDERS:
            names[c.backbone] = None
    if not names:
        return []
    values: Values = {"backbones": ", ".join(names), "hardware": evidence.profile.name}
    key = "next.latency_here" if evidence.profile.name == LOCAL else "next.latency_there"
    runtime = chosen.runtime if evidence.profile.name == LOCAL else "onnxruntime"
    return [
        NextMeasurement(Statement(key, values), f"selector profile {' '.join(names)} --runtime {runtime} --freeze none")
    ]


def straddling(request: Request, ranking: Ranking) -> list[Candidate]:
    """More accurate candidates that break only the latency limit, by an estimate that may be wrong."""
    found = []
    for c in ranking.candidates:
        if c.feasible or c.latency is None or c.latency.low is None or len(c.violations) != 1:
            continue
        limit = c.violations[0].limit
        held = held_figure(c, limit)
        estimated = c.latency.provenance is Provenance.ESTIMATED and held is not None
        more = c.accuracy.value > ranking.chosen.accuracy.value
        if limit.name == "latency_ms" and estimated and more and c.latency.low <= limit.bound:
            found.append(c)
    return found


def _unknown_runtimes(considered: Executions, ranking: Ranking, evidence: DeviceEvidence) -> list[NextMeasurement]:
    """Runtimes that the hardware offers and nobody has timed there; the runtime is worth as much as the backbone."""
    names = list(dict.fromkeys(e.runtime for e in considered.unknown))
    if not names:
        return []
    values: Values = {"runtimes": ", ".join(names), "hardware": evidence.profile.name}
    runtime = "onnxruntime" if "onnxruntime" in names else names[0]
    command = f"selector profile {ranking.chosen.backbone} --runtime {runtime} --freeze none"
    return [NextMeasurement(Statement("next.runtime", values), command)]


def _lossy(considered: Executions, ranking: Ranking, evidence: DeviceEvidence, command: str) -> list[NextMeasurement]:
    """A lossy precision that is known to be faster: worth measuring its agreement with fp32.

    Told of the chosen candidate, else of the first that is tied with it; only measured and published figures count.
    """
    for candidate in (ranking.chosen, *(c for c in ranking.candidates if c.tied)):
        if candidate.latency is None or candidate.latency.provenance is Provenance.ESTIMATED:
            continue
        gains: list[tuple[float, str, str, Values]] = []
        for e in considered.lossy:
            lossy = Configuration(candidate.backbone, candidate.resolution, e.runtime, e.precision)
            latency = evidence.known_latency(lossy)
            if latency is None or latency.p50.value >= candidate.latency.value:
                continue
            values: Values = {
                "runtime": e.runtime,
                "precision": e.precision,
                "backbone": candidate.backbone,
                "ms": latency.p50.value,
                "now": candidate.latency.value,
                "provenance": latency.p50.provenance.value,
            }
            gains.append((latency.p50.value, e.precision, e.runtime, values))
        if gains:
            _, precision, runtime, values = min(gains, key=lambda g: g[:3])
            asked = f"{command} --precision {precision} --runtime {runtime}"
            return [NextMeasurement(Statement("next.lossy", values), asked)]
    return []


def _training(ranking: Ranking, training: TrainingTime) -> Sequence[NextMeasurement]:
    if training.measured:
        return ()
    chosen = ranking.chosen
    values: Values = {"backbone": chosen.backbone, "depth": chosen.freeze.name}
    command = f"selector profile {chosen.backbone} --runtime torch-eager --freeze {chosen.freeze.name}"
    return (NextMeasurement(Statement("next.training", values), command),)
