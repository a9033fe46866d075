"""How well latency is estimated on a device that is not here: every device left out in turn, beside two baselines.

    python benchmarks/estimator_leave_one_out.py [FOLDER]

FOLDER holds published figures as CSV (without it: ../shared/data beside the repository). For each device everything
that is known of it is taken away, under every runtime, precision and layout; the estimator is fitted to the rest, and
each configuration of the device (runtime in its newest version, precision, layout) is predicted from its
specification alone and with 8 figures of its own, at the subjects that `selector hardware plan` would choose among
those with figures. The other figures are compared with the predictions.

Widening of intervals is nested: the factors for a device come from leaving out the other devices. The estimator's
settings (selector/estimation/kinship.py) were chosen by leaving devices out as well, over all of them. Those
for CPUs, chosen anew without the device in question, cost 0 to 0.3 points of error; those for GPUs rest on two cards.

Baselines, from the same devices: the three terms of the literature, non-negative least squares in relative error on
MACs, activations, parameters and a constant, with 8 figures (the planned ones); and a simple cross-device regression
with 8 random figures (mean of 20 draws): log time is its mean on the other devices (on those with the same runtime and
precision; without any, on those of the same kind; without any, on all) plus a constant and a ridge regression on that
mean, log MACs and log activations. Writes `results/estimator_leave_one_out.json` and `.md` beside this file.
"""

import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from selector.backbones.layers import layers
from selector.estimation.configuration import Configuration, Series, Subject
from selector.estimation.estimator import known_figures
from selector.estimation.figures import read_series
from selector.estimation.fit import fit, units_of
from selector.estimation.intervals import NORMAL_80
from selector.estimation.kinship import SETTINGS, kernels
from selector.estimation.knowledge import BLIND, BLIND_QUANTISED, CALIBRATED, QUANTISED, Knowledge, shipped
from selector.estimation.leave_out import CALIBRATION, JUDGED, Prediction, leave_devices_out, predict_left_out, widening
from selector.estimation.specification import numbers, promise
from selector.hardware.loading import load_profiles
from selector.hardware.profiles import HardwareProfile

RESULTS = Path(__file__).parent / "results"
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
DRAWS = 20
RIDGE = 0.5
Vector = NDArray[np.floating]

GROUPS = {
    "GPU, eager": lambda c: kernels(c) == "gpu" and c.runtime == "torch-eager",
    "GPU, compiled": lambda c: kernels(c) == "gpu" and c.runtime == "torch-compile",
    "x86 CPU, torch.compile": lambda c: kernels(c) == "x86" and c.runtime == "torch-compile",
    "boards and cloud CPUs, fp32": lambda c: c.runtime not in TORCH and c.precision == "fp32",
    "boards and cloud CPUs, int8": lambda c: c.runtime not in TORCH and c.precision == "int8-static",
}
TORCH = ("torch-eager", "torch-compile")
TARGETS = {
    "GPU, eager": 4.0,
    "GPU, compiled": 4.0,
    "x86 CPU, torch.compile": 12.0,
    "boards and cloud CPUs, fp32": 8.0,
    "boards and cloud CPUs, int8": 8.0,
}


@dataclass(frozen=True)
class Row:
    """What is shown of one configuration; errors in percent, coverage as a share."""

    configuration: Configuration
    figures: int
    given: tuple[str, ...]
    error: float
    within_10: float
    coverage: float
    three_terms: float
    regression: float
    blind_median_error: float
    blind_rank: float
    blind_coverage: float


def main(folder: Path) -> None:
    """Leave out, print, and write both results."""
    profiles = load_profiles()
    series = read_series(folder, profiles)
    units = units_of(series, profiles)
    without, calibrated = leave_devices_out(series, units, SETTINGS, done=_say)
    rows = [
        _row(zero, eight, _factors(zero, without, calibrated), series)
        for zero, eight in zip(without, calibrated, strict=True)
    ]
    elsewhere = _elsewhere(series, units, profiles)
    summary = [_group(name, [r for r in rows if holds(r.configuration)], without) for name, holds in GROUPS.items()]
    document = {
        "schema_version": 1,
        "calibration": CALIBRATION,
        "groups": summary,
        "configurations": _plain(rows),
        "elsewhere": _plain(elsewhere),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "estimator_leave_one_out.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    text = _markdown(summary, rows, elsewhere)
    (RESULTS / "estimator_leave_one_out.md").write_text(text, encoding="utf-8")
    print(text)


def _elsewhere(
    series: Sequence[Series], units: Mapping[Configuration, Vector], profiles: Mapping[str, HardwareProfile]
) -> list[Row]:
    """Devices whose figures lie in hardware profiles only: nothing was fitted to them, no setting chosen by them."""
    knowledge = Knowledge(fit(series, units, SETTINGS), SETTINGS, shipped().widening)
    rows = []
    for name in sorted(set(profiles) - {s.configuration.device for s in series}):
        found: dict[Configuration, dict[Subject, float]] = defaultdict(dict)
        for known in known_figures(profiles[name]):
            found[known.configuration][known.subject] = known.milliseconds
        for configuration, figures in found.items():
            if len(figures) < JUDGED:
                continue
            own = Series(configuration, tuple(figures), np.array(list(figures.values())))
            promised = promise(configuration, numbers(profiles[name])).units()
            zero, eight = predict_left_out(own, promised, knowledge, CALIBRATION)
            factors = tuple(knowledge.widening_of(configuration, n) for n in (0, CALIBRATION))
            rows.append(_row(zero, eight, (factors[0], factors[1]), [*series, own]))
    return rows


def _factors(of: Prediction, without: Sequence[Prediction], calibrated: Sequence[Prediction]) -> tuple[float, float]:
    """Widening without and with figures, from the other devices."""
    device = of.configuration.device
    table = widening(
        [p for p in without if p.configuration.device != device],
        [p for p in calibrated if p.configuration.device != device],
    )[kernels(of.configuration)]
    blind = BLIND_QUANTISED if of.configuration.precision in QUANTISED else BLIND
    return table[blind], table[CALIBRATED]


def _row(zero: Prediction, eight: Prediction, factors: tuple[float, float], series: Sequence[Series]) -> Row:
    errors = eight.relative_errors
    own = Series(
        eight.configuration,
        (*eight.given, *eight.subjects),
        np.concatenate([_given_milliseconds(eight, series), np.exp(eight.logs)]),
    )
    given = len(eight.given)
    return Row(
        configuration=eight.configuration,
        figures=len(zero.subjects),
        given=tuple(f"{s.backbone}@{s.resolution}" for s in eight.given),
        error=100 * float(errors.mean()),
        within_10=float((errors <= 0.10).mean()),
        coverage=_coverage(eight, factors[1]),
        three_terms=100 * _three_terms(own, np.arange(given)),
        regression=100 * _regression(own, series),
        blind_median_error=100 * float(np.median(zero.relative_errors)),
        blind_rank=_rank_correlation(zero.means, zero.logs),
        blind_coverage=_coverage(zero, factors[0]),
    )


def _given_milliseconds(eight: Prediction, series: Sequence[Series]) -> Vector:
    own = next(s for s in series if s.configuration == eight.configuration)
    known = dict(zip(own.subjects, own.milliseconds, strict=True))
    return np.array([known[s] for s in eight.given])


def _three_terms(own: Series, given: NDArray[np.integer]) -> float:
    """Mean relative error of non-negative least squares on MACs, activations, parameters and a constant."""
    features = _simple_features(own.subjects)
    features = features / features.max(axis=0)
    relative = features / own.milliseconds[:, None]
    weights, _ = nnls(relative[given], np.ones(len(given)))
    left = np.setdiff1d(np.arange(len(own.subjects)), given)
    return float(np.abs(relative[left] @ weights - 1).mean())


def _regression(own: Series, series: Sequence[Series]) -> float:
    """Mean relative error of a ridge regression on other devices' mean log time, log MACs and log activations."""
    c = own.configuration
    others = [s for s in series if s.configuration.device != c.device]
    for alike in (
        [s for s in others if (s.configuration.runtime, s.configuration.precision) == (c.runtime, c.precision)],
        [s for s in others if kernels(s.configuration) == kernels(c)],
        others,
    ):
        if alike:
            break
    simple = np.log(_simple_features(own.subjects)[:, :2])
    expected = _mean_log(own.subjects, alike)
    columns = np.column_stack([expected, simple])
    columns = (columns - columns.mean(axis=0)) / columns.std(axis=0)
    differs = own.logs - expected
    errors = []
    for seed in range(DRAWS):
        given = np.random.default_rng(seed).choice(len(own.subjects), CALIBRATION, replace=False)
        left = np.setdiff1d(np.arange(len(own.subjects)), given)
        level, shift = differs[given].mean(), columns[given].mean(axis=0)
        x = columns[given] - shift
        slope = np.linalg.solve(x.T @ x + RIDGE * np.eye(3), x.T @ (differs[given] - level))
        predicted = expected[left] + level + (columns[left] - shift) @ slope
        errors.append(np.abs(np.exp(predicted - own.logs[left]) - 1).mean())
    return float(np.mean(errors))


def _mean_log(subjects: Sequence[Subject], alike: Sequence[Series]) -> Vector:
    """The mean over configurations of log time, each centred; subjects that they lack by their log MACs."""
    found: dict[tuple[str, int], list[float]] = defaultdict(list)
    for s in alike:
        centred = s.logs - s.logs.mean()
        for subject, value in zip(s.subjects, centred, strict=True):
            found[subject.backbone, subject.resolution].append(float(value))
    known = {key: float(np.mean(values)) for key, values in found.items()}
    keys = [(s.backbone, s.resolution) for s in subjects]
    macs = np.log(_simple_features([Subject(*k) for k in known])[:, 0])
    slope, intercept = np.polyfit(macs, list(known.values()), 1)
    own = np.log(_simple_features(subjects)[:, 0])
    return np.array([known.get(k, slope * m + intercept) for k, m in zip(keys, own, strict=True)])


def _simple_features(subjects: Sequence[Subject]) -> Vector:
    rows = []
    for s in subjects:
        table = layers(s.backbone, s.resolution)
        rows.append([sum(r.macs for r in table), sum(r.activations for r in table), sum(r.params for r in table), 1.0])
    return np.array(rows, dtype=float)


def _coverage(prediction: Prediction, factor: float) -> float:
    return float((np.abs(prediction.standardised) <= NORMAL_80 * factor).mean())


def _rank_correlation(a: Vector, b: Vector) -> float:
    ranks = [np.argsort(np.argsort(v)) for v in (a, b)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _group(name: str, rows: Sequence[Row], without: Iterable[Prediction]) -> dict[str, object]:
    configurations = {r.configuration for r in rows}
    blind = np.concatenate([p.relative_errors for p in without if p.configuration in configurations])
    boards = name.startswith("boards")
    middle = np.median if boards else np.mean
    return {
        "group": name,
        "configurations": len(rows),
        "statistic": "median over configurations" if boards else "mean over configurations",
        "target_error_percent": TARGETS[name],
        "error_percent": round(float(middle([r.error for r in rows])), 2),
        "within_10_percent": round(float(middle([r.within_10 for r in rows])), 3),
        "coverage_80": round(float(np.mean([r.coverage for r in rows])), 3),
        "three_terms_error_percent": round(float(middle([r.three_terms for r in rows])), 2),
        "regression_error_percent": round(float(middle([r.regression for r in rows])), 2),
        "blind_median_error_percent": round(100 * float(np.median(blind)), 1),
        "blind_rank_correlation": round(float(np.median([r.blind_rank for r in rows])), 3),
        "blind_coverage_80": round(float(np.mean([r.blind_coverage for r in rows])), 3),
    }


def _plain(rows: Sequence[Row]) -> list[Mapping[str, object]]:
    return [
        {
            **{
                name: getattr(r.configuration, name) for name in ("device", "runtime", "version", "precision", "layout")
            },
            "figures": r.figures,
            "given": list(r.given),
            **{
                name: round(float(getattr(r, name)), 3)
                for name in (
                    "error",
                    "within_10",
                    "coverage",
                    "three_terms",
                    "regression",
                    "blind_median_error",
                    "blind_rank",
                    "blind_coverage",
                )
            },
        }
        for r in rows
    ]


def _markdown(summary: Sequence[Mapping[str, object]], rows: Sequence[Row], elsewhere: Sequence[Row]) -> str:
    lines = [
        "# Latency on devices that were left out",
        "",
        "Made by `python benchmarks/estimator_leave_one_out.py`, which says how. Errors are mean absolute percentage",
        f"errors of what was left out; {CALIBRATION} figures of the device are given.",
        "",
        "| group | error | asked for | within ±10 % | 80 % intervals hold | three terms | regression, 8 random |"
        " no figures: median error | rank correlation | intervals hold |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {g['group']} ({g['configurations']}) | {g['error_percent']} % | ≤ {g['target_error_percent']:g} % | "
        f"{100 * g['within_10_percent']:.0f} % | {100 * g['coverage_80']:.0f} % | "
        f"{g['three_terms_error_percent']} % | {g['regression_error_percent']} % | "
        f"{g['blind_median_error_percent']} % | {g['blind_rank_correlation']} | {100 * g['blind_coverage_80']:.0f} % |"
        for g in summary
    ]
    lines += ["", "Boards and cloud CPUs: medians over configurations; the others: means.", ""]
    lines += _table(rows)
    lines += [
        "",
        "Devices with figures in hardware profiles only: nothing was fitted to them, nor chosen by them.",
        "",
    ]
    lines += _table(elsewhere)
    return "\n".join(lines) + "\n"


def _table(rows: Sequence[Row]) -> list[str]:
    lines = [
        "| configuration | figures | error | ±10 % | hold | three terms | regression | blind: median | rank | hold |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        c = r.configuration
        name = " ".join(x for x in (c.device, c.runtime, c.version, c.precision, c.layout) if x)
        lines.append(
            f"| {name} | {r.figures} | {r.error:.1f} % | {100 * r.within_10:.0f} % | {100 * r.coverage:.0f} % | "
            f"{r.three_terms:.1f} % | {r.regression:.1f} % | {r.blind_median_error:.0f} % | {r.blind_rank:.3f} | "
            f"{100 * r.blind_coverage:.0f} % |"
        )
    return lines


def _say(device: str) -> None:
    print(f"left out: {device}", file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DATA)
