"""What is asked of `tune`, and what it found: info objects that the command line, the advisor and the report read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from selector.tuning.cache.store import DEFAULT_LIMIT
from selector.tuning.data.dataset import DataSummary, LeftOut
from selector.tuning.recipe import Recipe

DEFAULT_FREEZES = ("head", "last-1", "last-3", "last-5", "80%", "none")


@dataclass(frozen=True, slots=True)
class DeployLimits:
    """Limits that a deployed model has to keep. They are known before training and held as constraints of the search.

    `latency_ms` holds known latencies by "backbone@resolution", for hardware that is not here (from the advisor's
    evidence); what it lacks is measured here in ONNX Runtime, one image a time.
    """

    max_latency_ms: float | None = None
    max_artifact_mb: float | None = None
    latency_ms: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TuneRequest:
    """A search under a budget."""

    data: Path
    budget_s: float
    backbones: tuple[str, ...]
    advised: bool = False  # whether the backbones are advice, which a study that goes on need not hear
    spent_s: float = 0.0  # of the budget, before the search began: imports, a shortlist
    freezes: tuple[str, ...] = DEFAULT_FREEZES
    resolutions: tuple[int, ...] = ()  # empty: the pretraining's, and a third more where the budget is long
    weights: Path | None = None
    random_init: bool = False
    limits: DeployLimits = DeployLimits()
    seed: int = 0
    workers: int = 1
    storage: str | None = None  # None: a journal file in the study's folder; else postgresql://…
    study: str | None = None  # None: named after the data
    resume: bool = False
    cache_bytes: int = DEFAULT_LIMIT  # 0: no activation cache
    save: Path | None = None  # None: `model` in the study's folder
    max_trials: int | None = None
    command: str = "selector tune"


@dataclass(frozen=True, slots=True)
class TrialInfo:
    """One trial. `outcome`: complete, pruned, infeasible, no-time, out-of-memory, diverged, crashed, killed, lost or
    failed.
    """

    number: int
    origin: str  # document-P1, document-P2 ("adapted" where the space lacks what they state), rule-based …, "sampled"
    recipe: Recipe
    outcome: str
    detail: str
    macro_f1: float | None  # on the validation split
    seconds: float | None  # of the whole trial, its share of caching included
    cached: bool | None
    result: Mapping[str, Any]  # scores, epochs (learning curve), views … as the job left them


@dataclass(frozen=True, slots=True)
class Screened:
    """What one frozen pass told about a backbone: macro-F1 on the validation split, nothing trained but the probe."""

    backbone: str
    resolution: int
    probe: float | None  # None: `problem` says why
    knn: float | None
    seconds: float
    runtime: str
    problem: str = ""
    upright: bool | None = None  # whether pictures have an upright side; None: not looked at


@dataclass(frozen=True, slots=True)
class Winner:
    """The model that is handed over. `result` holds test scores, ONNX agreement, int8, latency, sample mistakes."""

    trial: int
    recipe: Recipe
    predict_views: int
    validation: Mapping[str, Any]
    result: Mapping[str, Any]
    folder: Path


@dataclass(frozen=True, slots=True)
class BudgetUse:
    """How the wall-clock budget was spent, in seconds."""

    asked_s: float
    used_s: float
    stop_reason: str
    phases: Mapping[str, float]  # data, screening, search, winner


@dataclass(frozen=True, slots=True)
class TuneResult:
    """Everything that a search found."""

    study: str
    folder: Path
    storage: str
    classes: tuple[str, ...]
    summary: DataSummary
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]
    screened: tuple[Screened, ...]
    trials: tuple[TrialInfo, ...]
    importances: Mapping[str, float]  # hyperparameter → share of the explained variance; empty with too few trials
    winner: Winner
    budget: BudgetUse
    random_init: bool

    def as_json(self) -> dict[str, Any]:
        """The contract's document of `tune`, without schema_version."""
        return {
            "study": {
                "name": self.study,
                "folder": str(self.folder),
                "storage": self.storage,
                "random_init": self.random_init,
                "importances": dict(self.importances),
            },
            "data": {
                "classes": list(self.classes),
                "images": self.summary.images,
                "counts": self.summary.counts,
                "imbalance": self.summary.imbalance,
                "sizes": {
                    "smallest": self.summary.smallest,
                    "median": self.summary.median,
                    "largest": self.summary.largest,
                },
                "left_out": [{"path": item.path, "why": item.why} for item in self.left_out],
                "notes": list(self.notes),
            },
            "screening": [
                {
                    "backbone": s.backbone,
                    "resolution": s.resolution,
                    "probe_macro_f1": s.probe,
                    "knn_macro_f1": s.knn,
                    "seconds": s.seconds,
                    "runtime": s.runtime,
                    "problem": s.problem,
                    "upright": s.upright,
                }
                for s in self.screened
            ],
            "trials": [_trial_json(trial) for trial in self.trials],
            "winner": {
                "trial": self.winner.trial,
                "backbone": self.winner.recipe.backbone,
                "freeze": {
                    "name": self.winner.recipe.freeze,
                    "frozen_blocks": self.winner.result["frozen_blocks"],
                    "total_blocks": self.winner.result["total_blocks"],
                },
                "resolution": self.winner.recipe.resolution,
                "hyperparameters": self.winner.recipe.as_json(),
                "predict_views": self.winner.predict_views,
                "validation": dict(self.winner.validation),
                **{
                    k: v
                    for k, v in self.winner.result.items()
                    if k not in ("artefacts", "frozen_blocks", "total_blocks")
                },
            },
            "artefacts": self.winner.result["artefacts"],
            "budget": {
                "asked_s": self.budget.asked_s,
                "used_s": self.budget.used_s,
                "stop_reason": self.budget.stop_reason,
                "phases": dict(self.budget.phases),
            },
        }


def _trial_json(trial: TrialInfo) -> dict[str, Any]:
    return {
        "number": trial.number,
        "origin": trial.origin,
        "outcome": trial.outcome,
        "detail": trial.detail,
        "macro_f1": trial.macro_f1,
        "seconds": trial.seconds,
        "cached": trial.cached,
        "hyperparameters": trial.recipe.as_json(),
        "epochs": trial.result.get("epochs", []),
        "views": trial.result.get("views"),
        "stopped": trial.result.get("stopped"),
    }


@dataclass(frozen=True, slots=True)
class Progress:
    """A sign of life: the phase, trials so far, the best score so far, seconds left, and what is happening."""

    phase: str
    trials: int
    best: float | None
    left_s: float
    says: str
    passing: bool = False  # a counter that the next one replaces, not a line to keep
    warns: bool = False  # told whoever wants no progress, too: images that are not used, scores that are weaker


OnProgress = Callable[[Progress], None]
