"""The JSON document of `recommend` (schema_version 1): design's keys, made from an `Answer` and nothing else.

Where no candidate keeps the limits the document has the same keys, those of an answer empty, and says why.
"""

import json
from math import isfinite
from typing import TYPE_CHECKING, Any

from selector import __version__
from selector.decision.answer import Answer, Candidate, Limit, Request, Violation
from selector.decision.device import held_as
from selector.decision.infeasible import Exclusion, NothingFeasible, times_over
from selector.errors import NoFeasibleCandidate
from selector.evidence.record import Figure, FreezePoint
from selector.reporting.cited import say_cited, told
from selector.reporting.words import say

if TYPE_CHECKING:
    from selector.tuning.info import TuneResult

SCHEMA_VERSION = 1
MB = 1_000_000


def document(
    answer: Answer, language: str = "en", *, report: str | None = None, study: "TuneResult | None" = None
) -> dict[str, Any]:
    """The document of `answer`, sentences in `language`. `report` is the page's path, None where none was written.

    `study` is the search on the user's images that the answer rests on, None where there was none.
    """
    chosen = answer.recommendation.candidate
    return {
        "schema_version": SCHEMA_VERSION,
        "version": __version__,
        "request": _request(answer.request, answer.reference.name),
        "recommendation": {
            **_configuration(chosen),
            "hyperparameters": answer.recommendation.hyperparameters,
            "expected": _expected(chosen),
            "probability_best": chosen.probability_best,
            "expected_regret": chosen.expected_regret,
            "why": [say(reason, language) for reason in answer.recommendation.why],
        },
        "candidates": [_candidate(c, language) for c in answer.candidates],
        "document_table": _table(answer, language),
        "claims": [
            {
                "id": c.id,
                "claim": say(c.claim, language),
                "verdict": c.verdict,
                "figure": say(c.finding, language),
                "source": c.source,
            }
            for c in answer.claims
        ],
        "policy": {
            "practice": answer.policy.practice,
            "freeze": answer.policy.freeze_name,
            "says": say(answer.policy.says, language),
            "agrees": answer.policy.agrees,
        },
        "next_measurements": [
            {"what": say(step.what, language), "command": step.command} for step in answer.next_measurements
        ],
        "notes": [say(note, language) for note in answer.notes],
        "command": answer.command,
        "report": report,
        # design's document of `tune`
        **({"tune": study.as_json()} if study is not None else {}),
    }


def write(answer: Answer, language: str = "en", *, report: str | None = None, study: "TuneResult | None" = None) -> str:
    """The document as JSON text, a line for each of its keys. Raises ValueError for numbers that JSON cannot hold."""
    return _text(document(answer, language, report=report, study=study))


def refusal(
    error: NoFeasibleCandidate, language: str = "en", *, report: str | None = None, study: "TuneResult | None" = None
) -> dict[str, Any]:
    """The document where no candidate keeps the limits: which limit excludes what, and the nearest misses.

    A search on the user's images that refuses has no candidates to show: only its message stands there. Where a
    `study` was finished and what it trained keeps no limits, it stands there too; `report` is its page.
    """
    found = error.found if isinstance(error, NothingFeasible) else None
    return {
        "schema_version": SCHEMA_VERSION,
        "version": __version__,
        "request": _request(found.request, found.reference.name) if found else None,
        "recommendation": None,
        "why_none": told(str(error), language).splitlines(),
        "exclusions": [_exclusion(e) for e in found.exclusions] if found else [],
        "nearest_misses": [_candidate(c, language) | _misses(c) for c in found.nearest] if found else [],
        "candidates": [_candidate(c, language) for c in found.candidates] if found else [],
        "document_table": {},
        "claims": [],
        "policy": None,
        "next_measurements": [],
        "notes": [],
        "command": found.command if found else None,
        "report": report,
        **({"tune": study.as_json()} if study is not None else {}),
    }


def write_refusal(
    error: NoFeasibleCandidate, language: str = "en", *, report: str | None = None, study: "TuneResult | None" = None
) -> str:
    """The document of `refusal` as JSON text, as `write` does."""
    return _text(refusal(error, language, report=report, study=study))


def _exclusion(exclusion: Exclusion) -> dict[str, Any]:
    """The limit, how many candidates it rules out, and by how much the one that breaks it least breaks it."""
    nearest = exclusion.nearest
    broken = [v for v in nearest.violations if v.limit == exclusion.limit] if nearest else []
    return {
        "limit": _limit(exclusion.limit),
        "excluded": exclusion.excluded,
        "alone": exclusion.alone,
        "nearest": {**_configuration(nearest), **_violation(broken[0])} if nearest and broken else None,
    }


def _misses(candidate: Candidate) -> dict[str, Any]:
    times = times_over(candidate)[0]
    return {"times_over": times if isfinite(times) else None}


def _text(made: dict[str, Any]) -> str:
    lines = (f"{json.dumps(key)}: {_line(value)}" for key, value in made.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _line(value: Any) -> str:
    # without `indent`: only so does Python encode quickly, and candidates are many
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _request(request: Request, reference: str) -> dict[str, Any]:
    return {
        "hardware": request.hardware,
        "reference_device": reference,
        "data_size": request.data_size,
        "classes": request.classes,
        "domain": request.domain,
        "limits": [_limit(limit) for limit in request.limits],
        "runtimes": list(request.runtimes),
        "precisions": list(request.precisions),
        "backbones": list(request.backbones),
        "seed": request.seed,
    }


def _limit(limit: Limit) -> dict[str, Any]:
    return {
        "name": limit.name,
        "bound": limit.bound,
        "sense": limit.sense,
        "origin": "user" if limit.origin.key == "limit.asked" else "default",
    }


def _configuration(c: Candidate) -> dict[str, Any]:
    return {
        "backbone": c.backbone,
        "family": c.family.value,
        "freeze": _freeze(c.freeze),
        "runtime": c.runtime,
        "precision": c.precision,
        "resolution": c.resolution,
    }


def _candidate(c: Candidate, language: str) -> dict[str, Any]:
    return {
        **_configuration(c),
        "params": c.params,
        "macs": c.macs,
        "expected": _expected(c),
        "accuracy": _figure(c.accuracy),
        "latency_ms": _figure(c.latency),
        "latency_ms_p90": _figure(c.latency_p90),
        "artifact_mb": _megabytes(c.artifact),
        "memory_mb": _megabytes(c.memory),
        "train_seconds": _figure(c.train_seconds),
        "feasible": c.feasible,
        "violations": [_violation(v) for v in c.violations],
        "pareto": c.pareto,
        "probability_best": c.probability_best,
        "expected_regret": c.expected_regret,
        "tied": c.tied,
        "conflicts": [say_cited(conflict, language) for conflict in c.conflicts],
    }


def _expected(c: Candidate) -> dict[str, Any]:
    return {
        "accuracy": _figure(c.accuracy),
        "latency_ms": _figure(c.latency),
        "artifact_mb": _megabytes(c.artifact),
        "train_seconds": _figure(c.train_seconds),
    }


def _violation(violation: Violation) -> dict[str, Any]:
    in_megabytes = violation.limit.name.endswith("_mb")
    return {
        "limit": violation.limit.name,
        "sense": violation.limit.sense,
        "bound": violation.limit.bound,
        # which part of the evidence the limit is held against
        "held": None if violation.figure is None else held_as(violation.figure, violation.limit.name),
        "figure": _megabytes(violation.figure) if in_megabytes else _figure(violation.figure),
    }


def _table(answer: Answer, language: str) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for cell in answer.document_table:
        table.setdefault(cell.dimension, {})[cell.family.value] = {
            "document": say(cell.document, language),
            "evidence": say(cell.evidence, language),
            "source": cell.source,
        }
    return table


def _freeze(freeze: FreezePoint) -> dict[str, Any]:
    return {"name": freeze.name, "frozen_blocks": freeze.frozen_blocks, "total_blocks": freeze.total_blocks}


def _figure(figure: Figure | None) -> dict[str, Any] | None:
    return figure.as_json() if figure is not None else None


def _megabytes(figure: Figure | None) -> dict[str, Any] | None:
    """A figure in bytes, in megabytes of 10^6 bytes."""
    if figure is None:
        return None
    stated = figure.as_json()
    for name in ("value", "low", "high"):
        if stated[name] is not None:
            stated[name] /= MB
    return stated | {"unit": "MB"}
