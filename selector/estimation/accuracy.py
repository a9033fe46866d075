"""Accuracy before any training: a prior from ImageNet top-1 and published transfer studies.

In log-odds, the accuracy of a backbone at a freeze depth on the user's task is drawn as

    task            a published data set of the domain, carried along its learning curve to the user's images per class
    + backbone      slope × (its ImageNet top-1 − ResNet-50's), slope from a published study, plus a residual
    − freezing      a published gap between fine-tuning and linear probe × (share of blocks frozen)^k
    + depth         what one backbone at one depth does beside all this

The task term is shared by all backbones and depths: it makes the absolute accuracy very uncertain and leaves the
differences alone. Gaps are taken within one source, so that the sources' protocols (which differ by up to 19 points)
cancel. Figures lie in `data/transfer_figures.csv`, every assumption with its origin in `data/accuracy_prior.toml`.
"""

import csv
import tomllib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

DATA = Path(__file__).parent / "data"
REFERENCE_TOP1 = 76.13  # torchvision's ResNet-50, IMAGENET1K_V1: the backbone that the task terms are of

Draws = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Domain:
    """A kind of images, and what published studies can tell of it."""

    name: str
    datasets: tuple[str, ...]  # with published fine-tuning; empty: none, all domains stand in
    gap_datasets: tuple[str, ...]  # with fine-tuning and linear probe both; empty: none, all domains stand in


@dataclass(frozen=True, slots=True)
class Task:
    """What is known of the user's task. None: not said."""

    data_size: int
    classes: int | None = None
    domain: str | None = None


@dataclass(frozen=True, slots=True)
class Setup:
    """One way to transfer: a backbone, the resolution it is trained at, and the share of its blocks frozen (0–1)."""

    backbone: str
    top1: float | None  # ImageNet top-1 in percent at the default resolution; None: nothing published
    family_top1: float  # the family's median, which stands in where none is published
    relative_resolution: float  # resolution / default resolution
    frozen_share: float


@dataclass(frozen=True, slots=True)
class TransferFigure:
    """One published accuracy in percent. `role`: what the prior takes from it (order, gap, curve)."""

    role: str
    source: str
    dataset: str
    domain: str
    classes: int
    n_train: int | None
    model: str
    protocol: str
    accuracy: float


@cache
def assumption(name: str) -> Any:
    """The value of an assumption of `accuracy_prior.toml`. Raises KeyError for one that is not there."""
    return _assumptions()[name]["value"]


@cache
def domains() -> dict[str, Domain]:
    """The domains by name. `industrial` has no published study here: it is accepted, and told so."""
    found: dict[str, tuple[set[str], set[str]]] = {"industrial": (set(), set())}
    for figure in published():
        datasets, gaps = found.setdefault(figure.domain, (set(), set()))
        datasets.add(figure.dataset)
        if figure.role == "gap":
            gaps.add(figure.dataset)
    return {name: Domain(name, tuple(sorted(d)), tuple(sorted(g))) for name, (d, g) in sorted(found.items())}


@cache
def published() -> tuple[TransferFigure, ...]:
    """Every published transfer figure that the prior rests on."""
    with (DATA / "transfer_figures.csv").open(encoding="utf-8", newline="") as file:
        return tuple(
            TransferFigure(
                row["role"],
                row["source"],
                row["dataset"],
                row["domain"],
                int(row["classes"]),
                int(row["n_train"]) if row["n_train"] else None,
                row["model"],
                row["protocol"],
                float(row["accuracy"]),
            )
            for row in csv.DictReader(file)
        )


def log_odds(percent: float | Draws) -> Any:
    """log(p / (1 − p)) of an accuracy in percent. 100 % and 0 % are taken as 99.95 and 0.05."""
    share = np.clip(np.asarray(percent, dtype=float) / 100, 5e-4, 1 - 5e-4)
    return np.log(share / (1 - share))


@dataclass(frozen=True, slots=True)
class TopOneSlope:
    """How log-odds on a task follow log-odds on ImageNet: a slope for each data set of the study, and what is left."""

    slopes: tuple[float, ...]
    residual_sd: float


@cache
def top1_slope() -> TopOneSlope:
    """Least squares within each data set, so that its difficulty cancels: ten ImageNet CNNs, eight data sets."""
    top1 = {name: float(log_odds(value)) for name, value in assumption("study_top1").items()}
    rows: dict[str, dict[str, float]] = defaultdict(dict)
    for figure in published():
        if figure.role == "order":
            rows[figure.dataset][figure.model] = float(log_odds(figure.accuracy))
    slopes, residuals = [], []
    for by_model in rows.values():
        x = np.array([top1[m] for m in by_model])
        y = np.array(list(by_model.values()))
        x, y = x - x.mean(), y - y.mean()
        slope = float(x @ y / (x @ x))
        slopes.append(slope)
        residuals.append(y - slope * x)
    # one degree of freedom for the mean and one for the slope of each data set
    left = np.concatenate(residuals)
    return TopOneSlope(tuple(slopes), float(np.sqrt((left**2).sum() / (left.size - 2 * len(slopes)))))


@dataclass(frozen=True, slots=True)
class _Gap:
    """What a linear probe lost against fine-tuning, in log-odds, in one source on one data set at its size."""

    dataset: str
    value: float
    log_images: float


@cache
def _gaps() -> tuple[_Gap, ...]:
    """Published gaps by (source, data set, model), each within its own source."""
    pairs: dict[tuple[str, str, str], dict[str, TransferFigure]] = defaultdict(dict)
    for figure in published():
        if figure.role == "gap":
            pairs[figure.source, figure.dataset, figure.model][figure.protocol] = figure
    found = []
    for both in pairs.values():
        tuned, probed = both["finetune"], both["linear"]
        gap = float(log_odds(tuned.accuracy) - log_odds(probed.accuracy))
        found.append(_Gap(tuned.dataset, gap, _log_images(tuned)))
    return tuple(found)


def _log_images(figure: TransferFigure) -> float:
    assert figure.n_train is not None, "only order rows come without the number of images"
    return float(np.log(figure.n_train / figure.classes))


@cache
def _levels() -> dict[str, tuple[tuple[float, float], ...]]:
    """By data set: published fine-tuning of a ResNet-50 as (log images per class, log-odds)."""
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for figure in published():
        if figure.role in ("gap", "curve") and figure.protocol == "finetune" and figure.model.startswith("resnet50"):
            found[figure.dataset].append((_log_images(figure), float(log_odds(figure.accuracy))))
    return {dataset: tuple(points) for dataset, points in found.items()}


@cache
def _curves() -> dict[str, float]:
    """By data set: log-odds gained per factor e of images per class, between the ends of a published curve."""
    ends: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for figure in published():
        if figure.role == "curve":
            ends[figure.source, figure.dataset].append((_log_images(figure), float(log_odds(figure.accuracy))))
    found: dict[str, list[float]] = defaultdict(list)
    for (_, dataset), points in ends.items():
        (x0, y0), (x1, y1) = min(points), max(points)
        found[dataset].append((y1 - y0) / (x1 - x0))
    return {dataset: float(np.mean(slopes)) for dataset, slopes in found.items()}


def accuracy_draws(setups: Sequence[Setup], task: Task, *, seed: int, draws: int | None = None) -> Draws:
    """Drawn accuracies in percent, [setups, draws]. The same seed gives a backbone the same draws in any company.

    Draws are paired: column i is one possible world, in which all setups meet the same task, so differences
    between rows are what the studies can tell apart.
    """
    n = draws or int(assumption("draws"))
    rng = np.random.default_rng([seed, 1])
    classes = _classes(task, rng, n)
    log_images = np.log(np.maximum(task.data_size / classes, 1.0))
    level = _task_level(task, log_images, rng, n)
    slope = rng.choice(np.array(top1_slope().slopes), n)
    gap = _freezing_gap(task, log_images, rng, n)
    low, high = assumption("partial_exponent")
    exponent = np.exp(rng.uniform(np.log(low), np.log(high), n))
    own = {name: _own_terms(name, seed, n) for name in {s.backbone for s in setups}}
    reference = float(log_odds(REFERENCE_TOP1))
    result = np.empty((len(setups), n))
    for row, setup in enumerate(setups):
        backbone_residual, gap_residual, unknown = own[setup.backbone]
        top1 = log_odds(setup.top1) if setup.top1 is not None else log_odds(setup.family_top1) + unknown
        top1 = top1 + assumption("resolution_log_odds") * np.log(min(setup.relative_resolution, 1.0))
        frozen = setup.frozen_share**exponent if setup.frozen_share > 0 else 0.0
        odds = level + slope * (top1 - reference) + backbone_residual - frozen * (gap + gap_residual)
        odds = odds + _depth_term(setup, seed, n)
        # never below chance: a classifier that learned nothing still guesses
        result[row] = np.maximum(100 / (1 + np.exp(-odds)), 100 / classes)
    return result


def unknown_classes(data_size: int) -> tuple[float, float]:
    """Between which numbers of classes so many images are taken to lie where their number is not given."""
    low, high = assumption("unknown_classes")
    return low, max(min(high, data_size / 5), low)


def _classes(task: Task, rng: np.random.Generator, n: int) -> Draws:
    """The number of classes; log-uniform over the studies' range where none is given."""
    low, high = unknown_classes(task.data_size)
    drawn = np.exp(rng.uniform(np.log(low), np.log(max(high, low + 1e-9)), n))
    return np.full(n, float(task.classes)) if task.classes is not None else drawn


def _task_level(task: Task, log_images: Draws, rng: np.random.Generator, n: int) -> Draws:
    """Log-odds of a fine-tuned ResNet-50 on the task: a data set of the domain at the user's images per class."""
    levels, curves = _levels(), _curves()
    names = domains()[task.domain].datasets if task.domain else ()
    names = tuple(name for name in (names or levels) if name in levels)
    inside = [curves[name] for name in names if name in curves] or list(curves.values())
    chosen = rng.integers(len(names), size=n)
    pick = rng.random(n)
    level = np.empty(n)
    for index, name in enumerate(names):
        at = chosen == index
        points = np.array(levels[name])
        # of several published sizes the one nearest to the user's, so that the curve is carried the least;
        # sources at the same distance take turns
        distance = np.abs(points[:, 0][None, :] - log_images[at][:, None])
        near = distance <= distance.min(axis=1, keepdims=True) + 0.05
        rank = np.floor(pick[at] * near.sum(axis=1)).astype(int)
        which = np.argmax(near.cumsum(axis=1) > rank[:, None], axis=1)
        slope = np.full(at.sum(), curves[name]) if name in curves else rng.choice(np.array(inside), at.sum())
        level[at] = points[which, 1] + slope * (log_images[at] - points[which, 0])
    return level + rng.normal(0, assumption("source_sd"), n)


def _freezing_gap(task: Task, log_images: Draws, rng: np.random.Generator, n: int) -> Draws:
    """What a linear probe loses, in log-odds: a published gap of the domain, at the user's images per class."""
    gaps = _gaps()
    names = domains()[task.domain].gap_datasets if task.domain else ()
    names = names or tuple(sorted({g.dataset for g in gaps}))
    low, high = assumption("gap_per_log_images")
    growth = rng.uniform(low, high, n)
    chosen = rng.integers(len(names), size=n)
    gap = np.empty(n)
    for index, name in enumerate(names):
        at = chosen == index
        of = [g for g in gaps if g.dataset == name]
        which = rng.integers(len(of), size=int(at.sum()))
        value = np.array([g.value for g in of])[which]
        gap[at] = value + growth[at] * (log_images[at] - np.array([g.log_images for g in of])[which])
    return gap


def _own_terms(backbone: str, seed: int, n: int) -> tuple[Draws, Draws, Draws]:
    """A backbone's own residuals: of its accuracy, of its cost of freezing, and of an unpublished ImageNet top-1."""
    rng = np.random.default_rng([seed, 2, crc32(backbone.encode())])
    accuracy_sd = float(np.hypot(top1_slope().residual_sd, assumption("recipe_sd")))
    return (
        rng.normal(0, accuracy_sd, n),
        rng.normal(0, assumption("gap_backbone_sd"), n),
        rng.normal(0, assumption("unknown_top1_sd"), n),
    )


@cache
def _assumptions() -> dict[str, dict[str, Any]]:
    return tomllib.loads((DATA / "accuracy_prior.toml").read_text(encoding="utf-8"))


def _depth_term(setup: Setup, seed: int, n: int) -> Draws:
    """The residual of one backbone at one depth and resolution."""
    name = f"{setup.backbone} {setup.frozen_share:.6f} {setup.relative_resolution:.6f}"
    return np.random.default_rng([seed, 3, crc32(name.encode())]).normal(0, assumption("depth_sd"), n)
