"""Why the chosen candidate was chosen, and what the answer rests on and cannot tell."""

from collections.abc import Iterable

from selector.decision.answer import Candidate, Request, Statement, Values
from selector.decision.candidates import Candidates, held_figure
from selector.decision.device import Configuration, DeviceEvidence, held_as
from selector.decision.measured import Study
from selector.decision.ranking import Ranking
from selector.decision.request import Hardware
from selector.decision.training import TrainingTime
from selector.estimation.accuracy import assumption, domains, unknown_classes
from selector.evidence.record import Provenance
from selector.hardware.profiles import Kind


def why(
    request: Request, hardware: Hardware, ranking: Ranking, evidence: DeviceEvidence, study: Study | None = None
) -> tuple[Statement, ...]:
    """The reasons in order: what is expected, why this one of those that cannot be told apart, what the limits do."""
    trained = study is not None and study.handed_over(ranking.chosen)
    return (
        *(_tuned(study) if study is not None and trained else (_expected(request, ranking.chosen), _zone(ranking))),
        _odds(ranking, "why.odds_untrained" if trained else "why.odds"),
        *_latency(request, hardware, ranking.chosen),
        *_in_batches(ranking.chosen, evidence),
        *_closest_rival(ranking),
    )


def notes(
    request: Request,
    hardware: Hardware,
    ranking: Ranking,
    candidates: Candidates,
    training: TrainingTime,
    study: Study | None = None,
) -> tuple[Statement, ...]:
    """What the answer rests on and what it cannot tell."""
    considered = candidates.executions
    if study is None:
        found = [_data_size(request, ranking), *_domain(request)]
    else:
        found = [Statement("warning.random_init")] if study.random_init else []
        found += _handed_over(ranking, study)
        found.append(Statement("note.measured", {"n": len(study.measured)}))
        if study.tested_classes < study.classes:
            found.append(Statement("note.classes_not_tested", {"k": study.tested_classes, "n": study.classes}))
    found += _classes(request)
    found += _where(hardware)
    if not request.limits:
        found.append(Statement("note.no_limits", {"hardware": hardware.profile.name}))
    found += _how_latency_is_held(request, ranking)
    if any(c.precision not in ("fp32",) and not c.precision.startswith("int") for c in ranking.candidates):
        found.append(Statement("note.floating_point"))
    if considered.lossy:
        names = ", ".join(sorted({e.precision for e in considered.lossy}))
        found.append(Statement("note.lossy", {"precisions": names}))
    elif any(c.precision.startswith("int") for c in ranking.candidates):
        found.append(Statement("note.lossy_considered"))
    if considered.unknown:
        values: Values = {
            "runtimes": ", ".join(sorted({f"{e.runtime} {e.precision}" for e in considered.unknown})),
            "hardware": hardware.reference.name,
        }
        found.append(Statement("note.unknown_runtimes", values))
    if candidates.without_weights:
        found.append(Statement("note.no_weights", {"backbones": ", ".join(candidates.without_weights)}))
    if any(limit.name == "memory_mb" for limit in request.limits) and ranking.chosen.memory is None:
        found.append(Statement("note.memory_unknown", {"hardware": hardware.reference.name}))
    if study is None or training.measured:
        found.append(Statement("note.training_time" if training.measured else "note.training_unknown"))
    return tuple(found)


def _expected(request: Request, chosen: Candidate) -> Statement:
    values: Values = {
        "backbone": chosen.backbone,
        "depth": chosen.freeze.name,
        "frozen": chosen.freeze.frozen_blocks,
        "total": chosen.freeze.total_blocks,
        "accuracy": chosen.accuracy.value,
        "low": chosen.accuracy.low if chosen.accuracy.low is not None else chosen.accuracy.value,
        "high": chosen.accuracy.high if chosen.accuracy.high is not None else chosen.accuracy.value,
        "data_size": request.data_size,
    }
    return Statement("why.expected", values)


def _handed_over(ranking: Ranking, study: Study) -> list[Statement]:
    """That the trained model cannot be run within the limits: the search held them against what it could know."""
    if study.handed_over(ranking.chosen):
        return []
    ways = [c for c in ranking.candidates if study.handed_over(c)]
    limits = dict.fromkeys(v.limit.name for c in ways for v in c.violations)
    values: Values = {"backbone": study.winner.backbone, "depth": study.winner.freeze_name, "limits": ", ".join(limits)}
    return [Statement("warning.trained_breaks_limits", values)]


def _tuned(study: Study) -> tuple[Statement, ...]:
    winner = study.winner
    figure = winner.accuracy
    reached: Values = {
        "backbone": winner.backbone,
        "depth": winner.freeze_name,
        "accuracy": figure.value,
        "low": figure.low if figure.low is not None else figure.value,
        "high": figure.high if figure.high is not None else figure.value,
        "macro_f1": study.macro_f1,
        "images": study.images,
    }
    return (
        Statement("why.measured", reached),
        *_of_views(study),
        Statement(
            "why.searched", {"trials": study.trials, "setups": len(study.measured), "minutes": study.budget_s / 60}
        ),
    )


def _of_views(study: Study) -> tuple[Statement, ...]:
    """That the model as it lies there looks at an image several times, what that gains and what it costs."""
    winner, figure = study.winner, study.winner.of_views
    if figure is None or study.macro_f1_of_views is None:
        return ()
    values: Values = {
        "views": winner.views,
        "accuracy": figure.value,
        "low": figure.low if figure.low is not None else figure.value,
        "high": figure.high if figure.high is not None else figure.value,
        "macro_f1": study.macro_f1_of_views,
    }
    return (Statement("why.of_views", values),)


def _zone(ranking: Ranking) -> Statement:
    tied = [c for c in ranking.candidates if c.tied]
    values: Values = {
        "n": len(tied),
        "points": ranking.zone_points,
        "backbone": ranking.chosen.backbone,
        "most": ranking.most_accurate.backbone,
        "depth": ranking.most_accurate.freeze.name,
        "accuracy": ranking.most_accurate.accuracy.value,
    }
    if len(tied) == 1:
        return Statement("why.alone", values)
    same = ranking.most_accurate is ranking.chosen
    return Statement("why.cheapest_is_best" if same else "why.cheapest", values)


def _odds(ranking: Ranking, key: str) -> Statement:
    values: Values = {
        "chance": 100 * (ranking.chosen.probability_best or 0.0),
        "regret": ranking.chosen.expected_regret or 0.0,
        "n": sum(c.feasible for c in ranking.candidates),
    }
    return Statement(key, values)


def _latency(request: Request, hardware: Hardware, chosen: Candidate) -> Iterable[Statement]:
    if chosen.latency is None:
        return [Statement("why.latency_unknown", {"hardware": hardware.reference.name})]
    values: Values = {
        "ms": chosen.latency.value,
        "hardware": hardware.reference.name,
        "runtime": chosen.runtime,
        "precision": chosen.precision,
        "provenance": chosen.latency.provenance.value,
    }
    for limit in request.limits:
        held = held_figure(chosen, limit) if limit.name == "latency_ms" else None
        if held is not None:
            values |= {"held": held.value, "limit": limit.bound}
            return [Statement(f"why.latency_within.{held_as(held, limit.name)}", values)]
    return [Statement("why.latency", values)]


def _in_batches(chosen: Candidate, evidence: DeviceEvidence) -> Iterable[Statement]:
    """The published time within a big batch, which is no latency and still useful."""
    figure = evidence.per_sample(Configuration(chosen.backbone, chosen.resolution, chosen.runtime, chosen.precision))
    if figure is None:
        return []
    values: Values = {"ms": figure.value, "hardware": evidence.profile.name, "provenance": figure.provenance.value}
    return [Statement("why.in_batches", values)]


def _closest_rival(ranking: Ranking) -> Iterable[Statement]:
    """The most accurate candidate that a limit rules out, when it would have been better."""
    best = next((c for c in ranking.candidates if not c.feasible), None)
    if best is None or best.accuracy.value <= ranking.most_accurate.accuracy.value:
        return []
    values: Values = {
        "backbone": best.backbone,
        "more": best.accuracy.value - ranking.chosen.accuracy.value,
        "limits": ", ".join(dict.fromkeys(v.limit.name for v in best.violations)),
    }
    return [Statement("why.ruled_out", values)]


def _data_size(request: Request, ranking: Ranking) -> Statement:
    odds = {name: 100 * chance for name, chance in ranking.depth_odds.items()}
    # a depth that froze the same blocks as another on every backbone has no odds of its own
    values: Values = {
        "data_size": request.data_size,
        "none": odds.get("none", 0.0),
        "last3": odds.get("last-3", 0.0),
        "p80": odds.get("80%", 0.0),
        "head": odds.get("head", 0.0),
    }
    return Statement("note.data_size" if request.domain is None else "note.depth_odds", values)


def _domain(request: Request) -> list[Statement]:
    if request.domain is None:
        return [Statement("note.no_domain", {"domains": ", ".join(domains())})]
    domain = domains()[request.domain]
    values: Values = {"domain": domain.name, "n": len(domain.datasets), "gaps": len(domain.gap_datasets)}
    if not domain.datasets:
        return [Statement("note.domain_unpublished", values)]
    if not domain.gap_datasets:
        return [Statement("note.domain_no_gaps", values)]
    return [Statement("note.domain", values)]


def _classes(request: Request) -> list[Statement]:
    few = assumption("few_images_per_class")
    if request.classes is not None:
        images = request.data_size / request.classes
        return [Statement("note.few_images", {"images": images, "few": few})] if images < few else []
    low, high = unknown_classes(request.data_size)
    values: Values = {"low": int(low), "high": int(high)}
    found = [Statement("note.no_classes" if int(high) > low else "note.two_classes", values)]
    if request.data_size / high < few:
        fewest: Values = {"images": request.data_size / high, "few": few}
        found.append(Statement("note.few_images" if high <= low else "note.few_images_at_most_classes", fewest))
    return found


def _where(hardware: Hardware) -> list[Statement]:
    if hardware.profile.kind is not Kind.CLASS:
        return []
    values: Values = {"hardware": hardware.profile.name, "reference": hardware.reference.name}
    values |= {"title": hardware.reference.title, "title_zh": hardware.reference.title_zh}
    return [Statement("note.reference", values)]


def _how_latency_is_held(request: Request, ranking: Ranking) -> list[Statement]:
    found = []
    if any(limit.name == "latency_ms" for limit in request.limits):
        found.append(Statement("note.latency_held"))
    figures = [c.latency for c in ranking.candidates if c.latency is not None]
    estimated = sum(f.provenance is Provenance.ESTIMATED for f in figures)
    if estimated:
        found.append(Statement("note.latency_estimated", {"estimated": estimated, "n": len(figures)}))
    if any("what a launch costs at batch 1" in f.source for f in figures):
        found.append(Statement("note.batch_one"))
    return found
