"""A search on the user's images as the page shows it: every text chosen and every figure written."""

import base64
import io
import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from selector.reporting.cited import told
from selector.reporting.drawing import chart_json
from selector.reporting.study_drawing import (
    draw_confusion,
    draw_curves,
    draw_history,
    draw_importances,
    draw_parallel,
)
from selector.reporting.view import Chart
from selector.reporting.words import has, text

if TYPE_CHECKING:
    from selector.tuning.info import TrialInfo, TuneResult, Winner

LEFT_OUT = 50  # files; the JSON document names all
MISTAKES = 12  # pictures; the JSON document names more
THUMBNAIL = 160  # pixels of the longer side
COORDINATES = ("freeze", "lr", "head_factor", "augmentation", "epochs", "class_weights", "dropout")
LOGARITHMIC = ("lr", "head_factor")  # as they are searched


@dataclass(frozen=True, slots=True)
class HistoryPoint:
    """A trial in the order of the search: its score (of a pruned one its last) and the best complete one so far."""

    number: int
    origin: str
    score: float
    complete: bool
    best: float | None


@dataclass(frozen=True, slots=True)
class Curve:
    """Validation macro-F1 of one trial over its run: (percent of the run, score)."""

    number: int
    label: str
    points: tuple[tuple[float, float], ...]
    winner: bool


@dataclass(frozen=True, slots=True)
class Confusion:
    """Test images by true class (rows) and predicted class (columns)."""

    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Coordinate:
    """One axis of the parallel coordinates: where each trial lies on it, from 0 to 1, and what is written beside it."""

    name: str
    places: tuple[float, ...]
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True, slots=True)
class Parallel:
    """The complete trials' settings beside each other; the last axis is the score. `trials` are their numbers."""

    coordinates: tuple[Coordinate, ...]
    trials: tuple[int, ...]
    scores: tuple[float, ...]
    winner: int


@dataclass(frozen=True, slots=True)
class Score:
    """A score on the test images."""

    label: str
    value: str
    interval: str


@dataclass(frozen=True, slots=True)
class ClassRow:
    """Figures of one class on the test images."""

    name: str
    images: int
    cells: tuple[tuple[str, str], ...]  # precision, recall, F1, each with its interval


@dataclass(frozen=True, slots=True)
class TrialRow:
    """A trial in the table."""

    number: int
    origin: str
    setup: str
    outcome: str
    detail: str
    score: str
    seconds: str
    winner: bool


@dataclass(frozen=True, slots=True)
class Mistake:
    """A test image that the model got wrong. `picture` is a data: URL; empty where the file cannot be read any more."""

    name: str
    label: str
    predicted: str
    probability: str
    picture: str


@dataclass(frozen=True, slots=True)
class StudyView:
    """Everything that the template needs of a search."""

    lead: str
    warning: str
    scores: tuple[Score, ...]
    classes: tuple[ClassRow, ...]
    says: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]  # file and reason, then notes on the data under no file
    charts: tuple[tuple[str, str, Chart], ...]  # heading's key, explanation, chart
    trials: tuple[TrialRow, ...]
    mistakes: tuple[Mistake, ...]
    folder: str
    predict: str  # a command that uses the model
    artefacts: tuple[tuple[str, str], ...]


def study_view(study: "TuneResult", language: str) -> StudyView:
    """The view of a search in `language`."""
    winner, test = study.winner, study.winner.result["test"]
    return StudyView(
        lead=text(
            "study_lead",
            language,
            trials=len(study.trials),
            used=f"{study.budget.used_s:.0f}",
            asked=f"{study.budget.asked_s:.0f}",
            images=study.summary.images,
            classes=len(study.classes),
            test=test["images"],
        ),
        warning=text("study_random", language) if study.random_init else "",
        scores=tuple(
            Score(_score_name(name, test, language), f"{s['value']:.3f}", f"{s['low']:.3f}–{s['high']:.3f}")
            for name in ("macro_f1", "accuracy", "auc", "calibration_error")
            if (s := test[name])["value"] is not None
        ),
        classes=tuple(
            ClassRow(c["name"], c["images"], tuple(_cell(c[k]) for k in ("precision", "recall", "f1")))
            for c in test["classes"]
        ),
        says=(*_about_data(study, language), *_of_views(winner, language), *_says(winner.result, language)),
        left_out=(
            *((item.path.rpartition("/")[2], item.why) for item in study.left_out[:LEFT_OUT]),
            *(("", note) for note in study.notes),
        ),
        charts=_charts(study, language),
        trials=tuple(_row(t, winner.trial, language) for t in study.trials),
        mistakes=tuple(_mistake(m, study.classes) for m in winner.result["mistakes"][:MISTAKES]),
        folder=str(winner.folder),
        predict=shlex.join(["selector", "predict", str(winner.folder), "image.png"]),
        artefacts=tuple(
            (a["path"].rpartition("/")[2], f"{a['bytes'] / 1e6:.2f} MB") for a in winner.result["artefacts"]
        ),
    )


def history(study: "TuneResult") -> tuple[HistoryPoint, ...]:
    """Every trial that came to a score, in order."""
    best: float | None = None
    points = []
    for t in study.trials:
        scores = [s for _, s in _scores(t)]
        score = t.macro_f1 if t.macro_f1 is not None else (scores[-1] if scores else None)
        if t.macro_f1 is not None:
            best = t.macro_f1 if best is None else max(best, t.macro_f1)
        if score is not None:
            points.append(HistoryPoint(t.number, t.origin, score, t.macro_f1 is not None, best))
    return tuple(points)


def curves(study: "TuneResult") -> tuple[Curve, ...]:
    """The learning curve of every trial that has one, the winner last, so that it lies on top."""
    found = [
        Curve(t.number, f"{t.number} · {t.recipe.backbone} · {t.recipe.freeze}", points, t.number == study.winner.trial)
        for t in study.trials
        if (points := _scores(t))
    ]
    return tuple(sorted(found, key=lambda c: c.winner))


def parallel(study: "TuneResult") -> Parallel | None:
    """Settings and scores of the complete trials; None with fewer than three."""
    complete = [t for t in study.trials if t.macro_f1 is not None]
    if len(complete) < 3:
        return None
    several = len({t.recipe.backbone for t in complete}) > 1
    scores = [t.macro_f1 for t in complete if t.macro_f1 is not None]
    axes = [
        _coordinate(name, [getattr(t.recipe, name) for t in complete], logarithmic=name in LOGARITHMIC)
        for name in (*(("backbone",) if several else ()), *COORDINATES)
    ]
    axes.append(_coordinate("macro_f1", scores))
    return Parallel(tuple(axes), tuple(t.number for t in complete), tuple(scores), study.winner.trial)


def _coordinate(name: str, values: list[Any], *, logarithmic: bool = False) -> Coordinate:
    if isinstance(values[0], str):
        names = sorted(set(values))
        place = {n: i / max(1, len(names) - 1) for i, n in enumerate(names)}
        return Coordinate(name, tuple(place[v] for v in values), tuple((place[n], n) for n in names))
    scale = [math.log(v) if logarithmic else float(v) for v in values]
    low, wide = min(scale), max(scale) - min(scale)
    places = tuple((v - low) / wide if wide else 0.0 for v in scale)
    ends = ((0.0, f"{min(values):.3g}"), (1.0, f"{max(values):.3g}"))
    return Coordinate(name, places, ends if wide else ends[:1])


def _scores(trial: "TrialInfo") -> tuple[tuple[float, float], ...]:
    return tuple(
        (100 * e["progress"], e["validation_macro_f1"])
        for e in trial.result.get("epochs", [])
        if e["validation_macro_f1"] is not None
    )


def _charts(study: "TuneResult", language: str) -> tuple[tuple[str, str, Chart], ...]:
    confusion = Confusion(study.classes, tuple(tuple(row) for row in study.winner.result["test"]["confusion"]))
    drawn = [
        ("confusion", draw_confusion(confusion, language)),
        ("history", draw_history(history(study), language)),
        ("curves", draw_curves(curves(study), language)),
    ]
    if study.importances:
        drawn.append(("importances", draw_importances(study.importances, language)))
    if (beside := parallel(study)) is not None:
        drawn.append(("parallel", draw_parallel(beside, language)))
    return tuple(
        (
            f"section_study_{name}",
            text(f"study_{name}_says", language),
            Chart(f"study-{name}", chart_json(figure), text(f"study_{name}_says", language)),
        )
        for name, figure in drawn
    )


def _about_data(study: "TuneResult", language: str) -> tuple[str, ...]:
    """What was looked at before any training: the images, and each backbone as it came."""
    from selector.tuning.data.told import times

    smallest, largest = (f"{w}×{h}" for w, h in (study.summary.smallest, study.summary.largest))
    says = [text("study_data", language, smallest=smallest, largest=largest, imbalance=times(study.summary.imbalance))]
    for s in study.screened:
        if s.probe is None:
            says.append(text("study_unscreened", language, backbone=s.backbone, why=told(s.problem, language)))
        else:
            scores = {"probe": _three(s.probe), "knn": _three(s.knn)}
            says.append(text("study_screened", language, backbone=s.backbone, pixels=s.resolution, **scores))
    return tuple(says)


def _score_name(name: str, test: Mapping[str, Any], language: str) -> str:
    """The score's name; of a mean over classes, how many those are where some have no test image."""
    said, n, k = text(f"study_{name}", language), len(test["classes"]), test["scored_classes"]
    if name not in ("macro_f1", "auc") or k == n:
        return said
    return text("study_over_classes", language, score=said, k=k, n=n)


def _of_views(winner: "Winner", language: str) -> tuple[str, ...]:
    """That an answer is the mean over several views, and what one inference alone reaches."""
    one = winner.result.get("one_view")
    if one is None:
        return ()
    reached = {name: _three(one[name]["value"]) for name in ("macro_f1", "accuracy")}
    return (text("study_views", language, views=winner.predict_views, **reached),)


def _says(result: Mapping[str, Any], language: str) -> tuple[str, ...]:
    agreement, int8 = result["onnx_agreement"], result["int8"]
    runs = len(result["seeds"])
    how = "study_retrained" if runs > 1 else f"study_retrained_{runs}"
    says = [
        text("study_retrained_lost" if result.get("lost") else how, language, runs=runs),
        text(
            "study_onnx",
            language,
            agree=agreement["agree"],
            images=agreement["images"],
            ms=f"{result['latency_ms']['p50']:.1f}",
            threads=result["latency_ms"]["threads"],
        ),
    ]
    if adjustment := result.get("adjustment"):
        from selector.tuning.adjustment import told as factors

        says.append(text("study_adjusted", language, factors=factors(adjustment)))
    if (tested := result["test"]["images"]) < agreement["test_images"]:
        says.append(text("study_tested", language, images=tested, all=agreement["test_images"]))
    if "test" in int8:
        lost = {name: _three(value) for name, value in int8["macro_f1_lost"].items()}
        says.append(text("study_int8", language, **lost, ms=f"{int8['latency_ms']['p50']:.1f}"))
    else:
        says.append(text("study_int8_left_out", language, why=int8["left_out"]))
    return tuple(says)


def _row(trial: "TrialInfo", winner: int, language: str) -> TrialRow:
    recipe = trial.recipe
    outcome = f"study_outcome_{trial.outcome}"
    return TrialRow(
        trial.number,
        trial.origin,
        f"{recipe.backbone} · {recipe.freeze} · {recipe.resolution} px · {recipe.augmentation}",
        text(outcome, language) if has(outcome, language) else trial.outcome,
        trial.detail,
        _three(trial.macro_f1),
        "–" if trial.seconds is None else f"{trial.seconds:.0f}",
        trial.number == winner,
    )


def _cell(score: Mapping[str, float | None]) -> tuple[str, str]:
    value, low, high = (score[name] for name in ("value", "low", "high"))
    return _three(value), "" if low is None or high is None else f"{low:.2f}–{high:.2f}"


def _three(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _mistake(mistake: Mapping[str, Any], classes: tuple[str, ...]) -> Mistake:
    return Mistake(
        mistake["path"].rpartition("/")[2],
        classes[mistake["label"]],
        classes[mistake["predicted"]],
        f"{100 * mistake['probability']:.0f} %",
        _thumbnail(mistake["path"]),
    )


def _thumbnail(path: str) -> str:
    """A small picture as a data: URL."""
    from pathlib import Path

    from selector.tuning.data.images import UnreadableImage, read_rgb

    try:
        image = read_rgb(Path(path))
    except UnreadableImage:  # moved or changed since it was read: its name still tells
        return ""
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    held = io.BytesIO()
    image.save(held, "JPEG", quality=75)
    return f"data:image/jpeg;base64,{base64.b64encode(held.getvalue()).decode()}"
