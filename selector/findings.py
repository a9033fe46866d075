"""What a search on the user's images has found, as decisions take it: tuning's words in, decision's words out.

Neither of the two rooms knows the other. What a study measured enters an answer here and nowhere else.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from selector.backbones import catalog
from selector.backbones.depth import FreezeDepth
from selector.decision.infeasible import Infeasible, NothingFeasible
from selector.decision.measured import Measured, Study
from selector.evidence.metrics import ACCURACY, TRAIN_SECONDS
from selector.evidence.record import Figure, Provenance

if TYPE_CHECKING:  # an answer without a study does without torch and optuna
    from selector.tuning.info import TrialInfo, TuneResult
    from selector.tuning.recipe import Recipe


class SearchedInVain(NothingFeasible):
    """No candidate satisfies the limits, nor does what was trained; `study` is the search, whose model lies ready."""

    def __init__(self, found: Infeasible, study: "TuneResult") -> None:
        self.study = study
        test, recipe = study.winner.result["test"], study.winner.recipe
        views = study.winner.predict_views
        over = f", mean over {views} views and inferences," if views > 1 else ""
        super().__init__(
            found,
            f"what was trained is not lost: study {study.study} in {study.folder}; its best model, {recipe.backbone} "
            f"frozen to {recipe.freeze},{over} reaches {100 * test['accuracy']['value']:.1f} % accuracy on "
            f"{test['images']} test images and lies in {study.winner.folder}",
        )


def as_study(result: "TuneResult", budget_s: float, command: str) -> Study:
    """What decisions need of a search: the winner on the test split, each other setup by its best trial.

    `budget_s` seconds were asked for, `command` asks again. Accuracies are of answers that are adjusted for macro-F1,
    of all setups alike: whichever is trained is handed over so.
    """
    best: dict[tuple[str, str, int], TrialInfo] = {}
    for trial in result.trials:
        place = (trial.recipe.backbone, trial.recipe.freeze, trial.recipe.resolution)
        former = best.get(place)
        if trial.macro_f1 is not None and "scores" in trial.result:
            best[place] = trial if former is None or trial.macro_f1 > (former.macro_f1 or 0.0) else former
    winner = result.winner
    recipe = winner.recipe
    best.pop((recipe.backbone, recipe.freeze, recipe.resolution), None)
    test = winner.result["test"]
    one = winner.result.get("one_view") or test
    own = next((t for t in result.trials if t.number == winner.trial), None)
    named = f"study {result.study}"
    measured = [
        _setup(
            recipe,
            test,
            winner.result.get("one_view"),
            winner.predict_views,
            f"{named}: {test['images']} test images that no choice was made on",
            own,
        ),
        *(
            _setup(
                t.recipe,
                t.result["scores"],
                t.result.get("one_view"),
                t.result.get("predict_views", 1),
                f"{named}: {t.result['scores']['images']} validation images, the best trial there ({t.number})",
                t,
            )
            for t in best.values()
        ),
    ]
    return Study(
        measured=tuple({m.place: m for m in reversed(measured)}.values())[::-1],
        hyperparameters=_as_hyperparameters(recipe),
        trials=len(result.trials),
        images=test["images"],
        macro_f1=one["macro_f1"]["value"],
        budget_s=budget_s,
        command=command,
        random_init=result.random_init,
        classes=len(test["classes"]),
        tested_classes=test["scored_classes"],
        macro_f1_of_views=test["macro_f1"]["value"] if one is not test else None,
    )


def _setup(
    recipe: "Recipe",
    scores: Mapping[str, Any],
    one_view: Mapping[str, Any] | None,
    views: int,
    source: str,
    trial: "TrialInfo | None",
) -> Measured:
    """A trained setup. `scores` are of its answers, each the mean over `views` views, `one_view` of one view alone.

    A latency is of one inference, so what one inference reaches stands beside it.
    """
    blocks = len(catalog.backbone(recipe.backbone).blocks)
    over = f"mean over {views} views of an image, {views} inferences"
    if one_view is not None:
        accuracy = _accuracy(one_view, f"{source}; one view, one inference an image")
        of_views = _accuracy(scores, f"{source}; {over}")
    elif views > 1:  # a trial of an earlier version, which kept no score of one view
        accuracy = of_views = _accuracy(scores, f"{source}; {over}")
    else:
        accuracy, of_views = _accuracy(scores, source), None
    seconds = None
    if trial is not None and trial.seconds:
        says = f"trial {trial.number} on this machine, its caching included; {source}"
        seconds = Figure(TRAIN_SECONDS, trial.seconds, None, None, Provenance.MEASURED, says)
    return Measured(
        backbone=recipe.backbone,
        freeze_name=recipe.freeze,
        frozen_blocks=FreezeDepth.parse(recipe.freeze).frozen_blocks(blocks),
        resolution=recipe.resolution,
        accuracy=accuracy,
        train_seconds=seconds,
        views=views,
        of_views=of_views,
    )


def _accuracy(scores: Mapping[str, Any], source: str) -> Figure:
    value, low, high = (100 * scores["accuracy"][name] for name in ("value", "low", "high"))
    return Figure(ACCURACY, value, low, high, Provenance.MEASURED, f"{source}; 95 % bootstrap interval")


def _as_hyperparameters(recipe: "Recipe") -> dict[str, str | float | int]:
    """The recipe that was found, in the words of the document's recipe."""
    return {
        "optimizer": recipe.optimiser,
        "learning_rate": float(f"{recipe.base_lr:.4g}"),
        "head_learning_rate": float(f"{recipe.base_lr * recipe.head_factor:.4g}"),
        "weight_decay": recipe.weight_decay,
        "batch_size": recipe.batch_size,
        "epochs": recipe.epochs,
        "schedule": recipe.schedule,
        "warmup_share": recipe.warmup if recipe.schedule == "warmup-cosine" else 0.0,
        "label_smoothing": round(recipe.label_smoothing, 3),
        "dropout": round(recipe.dropout, 3),
        "gradient_clip": recipe.clip,
        "augmentation": f"{recipe.augmentation}, strength {recipe.strength:g}, {recipe.augment().views} views",
        "class_weights": recipe.class_weights,
        "weight_averaging": recipe.ema,
    }
