"""A study: its name, its folder, its settings, its trials as info objects."""

import json
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from selector.errors import InvalidInput
from selector.resources import home
from selector.tuning.data.dataset import Dataset
from selector.tuning.info import TrialInfo, TuneRequest
from selector.tuning.recipe import Recipe
from selector.tuning.search.space import PRUNED_AMONG, PRUNER, SAMPLER, SearchSpace, pruner, sampler
from selector.tuning.search.storage import first_wins, open_storage, owner, patiently

SETTINGS, SCREENED = "settings", "screened"


@dataclass(frozen=True, slots=True)
class OpenStudy:
    """A study that is worked on.

    `excess`: how far a trial's parameters are beyond each limit of this run, which the one that trained it may not
    have had.
    """

    name: str
    folder: Path
    storage: BaseStorage
    study: optuna.Study
    excess: Callable[[dict[str, Any]], Mapping[str, float]] = lambda params: {}


def study_folder(request: TuneRequest, dataset: Dataset) -> tuple[str, Path]:
    """The study's name and folder: as asked for, or named after the data; a new one gets a number where one exists.

    Raises InvalidInput for a study to be resumed that does not exist, and for a named one that exists already.
    """
    root = home() / "studies"
    base = request.study or f"{_slug(Path(dataset.root).stem)}-{dataset.split_digest[:6]}"
    there = sorted(f.name for f in root.glob(f"{base}*") if (f / "study.json").is_file()) if root.is_dir() else []
    family = [name for name in there if name == base or re.fullmatch(re.escape(base) + r"-\d+", name)]
    if request.resume:
        if request.study and request.storage and not family:
            return base, root / base  # a study of several hosts, whose folder this host does not have yet
        if not family:
            others = ", ".join(sorted(f.parent.name for f in root.glob("*/study.json")))
            raise InvalidInput(f"no study {base!r} to resume; there are: {others or 'none'}")
        name = base if request.study else max(family, key=lambda n: (root / n).stat().st_mtime)
        return name, root / name
    if request.study and request.storage:
        return base, root / base  # hosts join a study by its name
    if request.study and family:
        raise InvalidInput(f"the study {base!r} exists; pass --resume to go on with it, or another name")
    name = base
    for number in range(2, 10_000):
        if not (root / name).exists():
            break
        name = f"{base}-{number}"
    return name, root / name


def open_study(request: TuneRequest, dataset: Dataset, name: str, folder: Path) -> OpenStudy:
    """Create or load the study. Raises InvalidInput where it was made with other data, backbones or seed."""
    storage = open_storage(request.storage, folder)
    study = patiently(
        lambda: optuna.create_study(
            storage=storage,
            study_name=name,
            sampler=sampler(request.seed),
            pruner=pruner(),
            direction="maximize",
            load_if_exists=True,
        )
    )
    settings = {
        "data": dataset.split_digest,
        "seed": request.seed,
        "random_init": request.random_init,
        "sampler": SAMPLER,
        "pruner": f"{PRUNER}; {PRUNED_AMONG}",
        "objective": "macro-F1 on the validation split, logits adjusted by what is fitted on its other folds",
    }
    held = first_wins(storage, study, SETTINGS, settings)
    if held is not settings:  # the draws of the processes before this one, or beside it, are not drawn once more
        study.sampler = sampler(_further_seed(study, request))
    if differing := [k for k in ("data", "seed", "random_init", "objective") if held[k] != settings[k]]:
        raise InvalidInput(
            [
                f"the study {name!r} was made with {key} {held[key]!r} and cannot go on with {settings[key]!r}"
                for key in differing
            ]
        )
    (folder / "study.json").write_text(json.dumps({"name": name, **settings}, indent=2), encoding="utf-8")
    return OpenStudy(name, folder, storage, study)


def trial_infos(study: optuna.Study, folder: Path, space: SearchSpace, seed: int) -> tuple[TrialInfo, ...]:
    """All trials that ended, in their order."""
    trials = patiently(lambda: study.get_trials(deepcopy=False))
    return tuple(_info(t, folder, space, seed) for t in trials if t.state.is_finished() and _whole(t))


def best_trial(opened: OpenStudy) -> FrozenTrial | None:
    """The complete trial with the best value that keeps every limit, those of this run and those that it ran under."""
    complete = patiently(lambda: opened.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
    kept = [t for t in complete if all(v <= 0 for v in (*t.constraints.values(), *opened.excess(t.params).values()))]
    return max(kept, key=lambda t: t.value or 0.0, default=None)


def count_trials(study: optuna.Study) -> int:
    """All trials that have begun, whatever became of them; those that wait in the queue are none yet."""
    trials = patiently(lambda: study.get_trials(deepcopy=False))
    return sum(trial.state != TrialState.WAITING for trial in trials)


def importances(study: optuna.Study) -> Mapping[str, float]:
    """Which hyperparameters explained the scores (PED-ANOVA); empty with fewer than four complete trials."""
    complete = patiently(lambda: study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
    if len(complete) < 4:
        return {}
    try:
        return optuna.importance.get_param_importances(study)
    except (ValueError, RuntimeError):  # no parameter varied, or all scores are equal
        return {}


def _further_seed(study: optuna.Study, request: TuneRequest) -> int:
    beside = zlib.crc32(owner().encode()) if request.storage else 0
    return (request.seed + 7919 * count_trials(study) + beside) % 2**32


def _whole(trial: FrozenTrial) -> bool:
    return "backbone" in trial.params  # a trial that was lost before it got its parameters tells nothing


def _info(trial: FrozenTrial, folder: Path, space: SearchSpace, seed: int) -> TrialInfo:
    result: dict[str, Any] = {}
    file = folder / "trials" / str(trial.number) / "result.json"
    if file.is_file():
        result = json.loads(file.read_text(encoding="utf-8"))
    attrs = trial.user_attrs
    recipe: Recipe = space.recipe(trial.params, seed)
    recipe = replace(recipe, batch_size=attrs.get("batch_size", recipe.batch_size))  # halved where memory ran out
    outcome = (
        attrs.get("outcome")
        or {
            TrialState.COMPLETE: "complete",
            TrialState.PRUNED: "pruned",
            TrialState.FAIL: "lost",
        }[trial.state]
    )
    return TrialInfo(
        number=trial.number,
        origin=attrs.get("origin", "sampled"),
        recipe=recipe,
        outcome=outcome,
        detail=attrs.get("detail", ""),
        macro_f1=trial.value if trial.state == TrialState.COMPLETE else None,
        seconds=attrs.get("seconds"),
        cached=attrs.get("cached"),
        result=result or {"epochs": attrs.get("epochs", [])},
    )


def _slug(text: str) -> str:
    """A folder name that keeps letters of every script."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-.") or "data"
