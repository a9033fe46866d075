"""How well latency is estimated on a device that is not here: every device left out in turn, beside two baselines.

    python benchmarks/estimator_leave_one_out.py [FOLDER]

FOLDER holds published figures as CSV (without it: ../shared/data beside the repository). For each device everything
that is known of it is taken away, under every runtime, precision and layout; the estimator is fitted to the rest, and
each configuration of the device (runtime in its newest version, precision, layout) is judged twice: from the
specification alone, and with 8 figures of its own, at the subjects that `selector hardware plan` chooses among those
with figures. The other figures are compared with what is said of them.

Judged is what the product says: the 8 figures are put into the device's profile, as `selector hardware calibrate` does,
and `DeviceEstimator` is asked as `selector estimate` asks it, with every widening and remark. Beside it stands the bare
belief behind it, which knows the configuration's version, layout and threads even without figures. Without figures the
product answers for a runtime's current generation on all cores: four configurations of one thread and four of
TensorFlow Lite 1 cannot be asked for, and only the belief is judged there.

Widening of intervals is nested: the factors for a device come from leaving out the other devices. The estimator's
settings (selector/estimation/kinship.py) were chosen by leaving devices out as well, over all of them. Those
for CPUs, chosen anew without the device in question, cost 0 to 0.3 points of error. How far the rate of matrix products
strays on a CPU was chosen from 1.5, 1.1, 0.8, 0.6 and 0.4 by mean log density of the other devices, with and without
figures: 0.6 whichever device is left out. Settings for GPUs rest on two cards;
each card alone, its two configurations predicted from each other and eight figures, gives the noise that is shipped,
and for no other setting a value that both cards would prefer by more than 0.02 in mean log density (each was tried
smaller and larger). The level spread, which that cannot show, is that of CPUs. What the layers are counted as (stems
apart, padding and gates of compiled graphs) was found by looking at all of these figures.

The baselines are described in estimator_baselines.py. Writes `results/estimator_leave_one_out.json` and `.md`.
"""

import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from estimator_baselines import Vector, regression, three_terms
from numpy.typing import NDArray

from selector.estimation.configuration import Configuration, Series, Subject
from selector.estimation.estimator import DeviceEstimator, known_figures, latency_estimator
from selector.estimation.figures import read_series
from selector.estimation.fit import fit, promised_by
from selector.estimation.intervals import NORMAL_80
from selector.estimation.kinship import SETTINGS, kernels
from selector.estimation.knowledge import Knowledge, shipped
from selector.estimation.latency import LatencyQuery
from selector.estimation.leave_out import CALIBRATION, JUDGED, Prediction, leave_devices_out, predict_left_out, widening
from selector.estimation.physical import Promise
from selector.estimation.plan import most_informative
from selector.estimation.specification import numbers, promise
from selector.evidence.metrics import TIME_PER_SAMPLE
from selector.hardware.loading import load_profiles
from selector.hardware.profiles import HardwareProfile, PublishedFigure

RESULTS = Path(__file__).parent / "results"
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
TORCH = ("torch-eager", "torch-compile")
GROUPS = {
    "GPU, eager": (4.0, lambda c: kernels(c) == "gpu" and c.runtime == "torch-eager"),
    "GPU, compiled": (4.0, lambda c: kernels(c) == "gpu" and c.runtime == "torch-compile"),
    "x86 CPU, torch.compile": (12.0, lambda c: kernels(c) == "x86" and c.runtime == "torch-compile"),
    "boards and cloud CPUs, fp32": (8.0, lambda c: c.runtime not in TORCH and c.precision == "fp32"),
    "boards and cloud CPUs, int8": (8.0, lambda c: c.runtime not in TORCH and c.precision == "int8-static"),
}


@dataclass(frozen=True)
class Answers:
    """What was said of figures that were left out, [n] each, in milliseconds."""

    true: Vector
    values: Vector
    lows: Vector
    highs: Vector

    @property
    def errors(self) -> Vector:
        """|said − true| / true."""
        return np.abs(self.values / self.true - 1)

    @property
    def held(self) -> NDArray[np.bool_]:
        """Whether the 80 % interval held the figure, [n]."""
        return (self.lows <= self.true) & (self.true <= self.highs)

    def judged(self) -> dict[str, float]:
        """Errors in percent; shares within ±10 % and within the 80 % interval; rank correlation."""
        return {
            "error": 100 * float(self.errors.mean()),
            "median_error": 100 * float(np.median(self.errors)),
            "within_10": float((self.errors <= 0.10).mean()),
            "coverage": float(self.held.mean()),
            "rank": _rank_correlation(self.values, self.true),
        }


@dataclass(frozen=True)
class Row:
    """One configuration. `blind` is None where the product cannot be asked for the configuration without figures."""

    configuration: Configuration
    figures: int
    given: tuple[str, ...]
    calibrated: Answers
    blind: Answers | None
    belief: Answers
    blind_belief: Answers
    three_terms: float
    regression: float


def main(folder: Path) -> None:
    """Leave out, print, and write both results."""
    profiles = load_profiles()
    series = read_series(folder, profiles)
    promised = promised_by(series, profiles)
    without, with_figures = leave_devices_out(series, promised, SETTINGS, done=_say)
    rows = []
    for zero, eight in zip(without, with_figures, strict=True):
        c = zero.configuration
        others = [s for s in series if s.configuration.device != c.device]
        wide = widening(*([p for p in many if p.configuration.device != c.device] for many in (without, with_figures)))
        knowledge = Knowledge(fit(others, promised, SETTINGS), SETTINGS, wide)
        own = next(s for s in series if s.configuration == c)
        rows.append(_row(own, (zero, eight), knowledge, profiles[c.device], series))
    elsewhere = _elsewhere(series, promised, profiles)
    groups = [_group(name, [r for r in rows if holds(r.configuration)]) for name, (_, holds) in GROUPS.items()]
    document = {
        "schema_version": 2,
        "calibration": CALIBRATION,
        "groups": groups,
        "coverage_80_by_kind": _by_kind(rows),
        "configurations": _plain(rows),
        "elsewhere": _plain(elsewhere),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "estimator_leave_one_out.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    text = _markdown(groups, rows, elsewhere)
    (RESULTS / "estimator_leave_one_out.md").write_text(text, encoding="utf-8")
    print(text)


def _elsewhere(
    series: Sequence[Series], promised: Mapping[Configuration, Promise], profiles: Mapping[str, HardwareProfile]
) -> list[Row]:
    """Devices whose figures lie in hardware profiles only: nothing was fitted to them, no setting chosen by them."""
    knowledge = Knowledge(fit(series, promised, SETTINGS), SETTINGS, shipped().widening)
    rows = []
    for name in sorted(set(profiles) - {s.configuration.device for s in series}):
        found: dict[Configuration, dict[Subject, float]] = defaultdict(dict)
        for known in known_figures(profiles[name]):
            found[known.configuration][known.subject] = known.milliseconds
        for configuration, figures in found.items():
            if len(figures) < JUDGED:
                continue
            own = Series(configuration, tuple(figures), np.array(list(figures.values())))
            promises = promise(configuration, numbers(profiles[name]))
            predictions = predict_left_out(own, promises, knowledge, CALIBRATION)
            rows.append(_row(own, predictions, knowledge, profiles[name], [*series, own]))
    return rows


def _row(
    own: Series,
    predictions: tuple[Prediction, Prediction],
    knowledge: Knowledge,
    profile: HardwareProfile,
    series: Sequence[Series],
) -> Row:
    """Everything about one configuration; `knowledge` holds nothing of its device."""
    c = own.configuration
    bare = latency_estimator(replace(profile, published=()), knowledge=knowledge)
    given = most_informative(*bare.covariance(c.runtime, c.precision, own.subjects), CALIBRATION)
    told = tuple(_published(c, own.subjects[i], own.milliseconds[i]) for i in given)
    calibrated = latency_estimator(replace(profile, published=told), knowledge=knowledge)
    left = [i for i in range(len(own.subjects)) if i not in set(given)]
    rest = Series(c, tuple(own.subjects[i] for i in left), own.milliseconds[left])
    zero, eight = predictions
    return Row(
        configuration=c,
        figures=len(own.subjects),
        given=tuple(f"{own.subjects[i].backbone}@{own.subjects[i].resolution}" for i in given),
        calibrated=_asked(calibrated, rest),
        blind=_asked(bare, own) if c.threads is None and not c.generation else None,
        belief=_believed(eight, knowledge.widening_of(c, CALIBRATION)),
        blind_belief=_believed(zero, knowledge.widening_of(c, 0)),
        three_terms=100 * three_terms(own, np.array(given)),
        regression=100 * regression(own, series),
    )


def _published(c: Configuration, subject: Subject, milliseconds: float) -> PublishedFigure:
    """A figure as `selector hardware calibrate` writes it."""
    at = (subject.backbone, subject.resolution, subject.batch_size, c.runtime, c.version, c.precision)
    return PublishedFigure(TIME_PER_SAMPLE.name, *at, None if c.threads == 1 else c.threads, milliseconds, "given")


def _asked(estimator: DeviceEstimator, of: Series) -> Answers:
    """What the product says. Every query here has an answer; one without would end the benchmark."""
    c = of.configuration
    said = []
    for s in of.subjects:
        figure = estimator.estimate(LatencyQuery(s.backbone, s.resolution, c.runtime, c.precision, s.batch_size))
        if figure is None or figure.low is None or figure.high is None:
            raise RuntimeError(f"no estimate of {s.backbone} on {c.device}")
        said.append([x / s.batch_size for x in (figure.value, figure.low, figure.high)])
    values, lows, highs = np.array(said).T
    return Answers(of.milliseconds, values, lows, highs)


def _believed(p: Prediction, factor: float) -> Answers:
    half = NORMAL_80 * factor * p.deviations
    return Answers(np.exp(p.logs), *(np.exp(p.means + shift) for shift in (0.0, -half, half)))


def _rank_correlation(a: Vector, b: Vector) -> float:
    ranks = [np.argsort(np.argsort(v)) for v in (a, b)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _group(name: str, rows: Sequence[Row]) -> dict[str, object]:
    boards = name.startswith("boards")
    middle = np.median if boards else np.mean
    return {
        "group": name,
        "configurations": len(rows),
        "statistic": "median over configurations" if boards else "mean over configurations",
        "target_error_percent": GROUPS[name][0],
        "product": _summary([r.calibrated for r in rows], [r.blind for r in rows if r.blind], middle),
        "belief": _summary([r.belief for r in rows], [r.blind_belief for r in rows], middle),
        "three_terms_error_percent": round(float(middle([r.three_terms for r in rows])), 2),
        "regression_error_percent": round(float(middle([r.regression for r in rows])), 2),
    }


def _by_kind(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Share of figures within their 80 % intervals, by kind of device; without figures as the belief says.

    Mean over configurations, and over all figures alike (`_figures`).
    """
    return {
        kind: {
            name + suffix: round(float(np.mean(middle([a.held for a in (getattr(r, name) for r in own)]))), 3)
            for name in ("calibrated", "blind_belief")
            for suffix, middle in (("", lambda held: [h.mean() for h in held]), ("_figures", np.concatenate))
        }
        for kind in ("gpu", "x86", "arm")
        for own in [[r for r in rows if kernels(r.configuration) == kind]]
    }


def _summary(calibrated: Sequence[Answers], blind: Sequence[Answers], middle: object) -> dict[str, object]:
    """`blind_median_error_percent` is over all figures of the group."""
    known, unknown = [a.judged() for a in calibrated], [a.judged() for a in blind]
    assert callable(middle)
    return {
        "error_percent": round(float(middle([j["error"] for j in known])), 2),
        "within_10": round(float(middle([j["within_10"] for j in known])), 3),
        "coverage_80": round(float(np.mean([j["coverage"] for j in known])), 3),
        "blind_configurations": len(blind),
        "blind_median_error_percent": round(100 * float(np.median(np.concatenate([a.errors for a in blind]))), 1),
        "blind_rank_correlation": round(float(np.median([j["rank"] for j in unknown])), 3),
        "blind_coverage_80": round(float(np.mean([j["coverage"] for j in unknown])), 3),
    }


def _plain(rows: Iterable[Row]) -> list[dict[str, object]]:
    judged = ("calibrated", "blind", "belief", "blind_belief")
    return [
        {
            **{n: v for n, v in asdict(r.configuration).items() if n != "kind"},
            "figures": r.figures,
            "given": list(r.given),
            **{n: a and {k: round(v, 3) for k, v in a.judged().items()} for n in judged for a in [getattr(r, n)]},
            "three_terms_error": round(r.three_terms, 3),
            "regression_error": round(r.regression, 3),
        }
        for r in rows
    ]


def _markdown(groups: Sequence[Mapping[str, object]], rows: Sequence[Row], elsewhere: Sequence[Row]) -> str:
    kinds = _by_kind(rows)
    lines = [
        "# Latency on devices that were left out",
        "",
        "Made by `python benchmarks/estimator_leave_one_out.py`, which says how. Errors are mean absolute percentage",
        f"errors of what was left out; {CALIBRATION} figures of the device are given. What the product says:",
        "",
        *_groups(groups, "product"),
        "",
        "Boards and cloud CPUs: medians over configurations; the others: means. Median errors without figures are over",
        "all figures of a group. The belief behind the product, which is told version, layout and threads:",
        "",
        *_groups(groups, "belief"),
        "",
        "80 % intervals hold, by kind of device, with and without figures, as the mean over configurations: "
        + ", ".join(f"{k} {100 * v['calibrated']:.0f} and {100 * v['blind_belief']:.0f} %" for k, v in kinds.items())
        + "; of all figures: "
        + ", ".join(
            f"{k} {100 * v['calibrated_figures']:.0f} and {100 * v['blind_belief_figures']:.0f} %"
            for k, v in kinds.items()
        )
        + ".",
        "Without figures a device's level is one draw for all its networks. Two GPUs, which predict each other, and",
        "three x86 CPUs, one of them a burstable share of a host, say little of how wide intervals have to be there:",
        "they are as wide as so few draws ask for (Student's distribution), and the GPUs at hand lie well within.",
        "",
        "What the product says, configuration by configuration; without figures in brackets where only the belief",
        "could be asked:",
        "",
        *_table(rows),
        "",
        "Devices with figures in hardware profiles only: nothing was fitted to them, nor chosen by them.",
        "",
        *_table(elsewhere),
    ]
    return "\n".join(lines) + "\n"


def _groups(groups: Sequence[Mapping[str, object]], whose: str) -> list[str]:
    lines = [
        "| group | error | asked for | within ±10 % | 80 % intervals hold | three terms | regression, 8 random |"
        " no figures: median error | rank correlation | intervals hold |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for g in groups:
        s = g[whose]
        assert isinstance(s, dict)
        lines.append(
            f"| {g['group']} ({g['configurations']}) | {s['error_percent']} % | ≤ {g['target_error_percent']:g} % | "
            f"{100 * s['within_10']:.0f} % | {100 * s['coverage_80']:.0f} % | {g['three_terms_error_percent']} % | "
            f"{g['regression_error_percent']} % | {s['blind_median_error_percent']} % ({s['blind_configurations']}) | "
            f"{s['blind_rank_correlation']} | {100 * s['blind_coverage_80']:.0f} % |"
        )
    return lines


def _table(rows: Sequence[Row]) -> list[str]:
    lines = [
        "| configuration | figures | error | ±10 % | hold | three terms | regression | blind: median | rank | hold |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        c, known = r.configuration, r.calibrated.judged()
        name = " ".join(x for x in (c.device, c.runtime, c.version, c.precision, c.layout) if x)
        blind = (r.blind or r.blind_belief).judged()
        cells = (f"{blind['median_error']:.0f} %", f"{blind['rank']:.3f}", f"{100 * blind['coverage']:.0f} %")
        lines.append(
            f"| {name} | {r.figures} | {known['error']:.1f} % | {100 * known['within_10']:.0f} % | "
            f"{100 * known['coverage']:.0f} % | {r.three_terms:.1f} % | {r.regression:.1f} % | "
            + " | ".join(cell if r.blind else f"({cell})" for cell in cells)
            + " |"
        )
    return lines


def _say(device: str) -> None:
    print(f"left out: {device}", file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DATA)
