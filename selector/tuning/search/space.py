"""The search space: one flat set of parameters that all backbones share, and the trials that are tried first."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from selector.backbones.catalog import DOCUMENT_DROPOUT, Family, backbone
from selector.tuning.recipe import CLASS_WEIGHTS, OPTIMISERS, Recipe, document_recipes, rule_based_recipe

SHORT_BUDGET_S = 600.0
"""Below it the last block alone is trained on all views before more is tried, above it after: more may not fit."""

LONGER_EPOCHS = 12
"""Of the rules' recipe, from SHORT_BUDGET_S on. A choice between 8 and 20 epochs, by the time that they take († solar
cells, last five blocks, a third of the training images held out, one seed: accuracy 0.770 and 0.799, log loss 0.674 and
0.635)."""

BLOCKS_FROM_S = 240.0
"""Below it no block is trained before the rules' recipe († 2 minutes on two cores: two of its four epochs and a part of
one retraining fit, for the same validation macro-F1, 0.55, that the best of thirty heads reaches)."""

RULES = "rule-based"
LAST_BLOCK, PLAIN_LAST_BLOCK = f"{RULES}, last block", f"{RULES}, last block, plain view"
SPARED = (RULES, LAST_BLOCK, PLAIN_LAST_BLOCK)
"""Origins of trials that are not pruned: among so few a rung would decide by chance."""

STARTUP_TRIALS = 6
FIRST_RUNG, REDUCTION = 25, 2  # percent of a run; the part of the trials that goes on is one in so many

# what a study keeps of how it searches
SAMPLER = f"TPESampler, multivariate, {STARTUP_TRIALS} trials before it models"
PRUNER = f"SuccessiveHalvingPruner, from {FIRST_RUNG} % of a run, one in {REDUCTION} goes on"
PRUNED_AMONG = "trained blocks among themselves; heads where nothing else is searched"

# what a trial's parameters are called in the study: the recipe's own field names
_SAMPLED = (
    "backbone",
    "freeze",
    "resolution",
    "optimiser",
    "lr",
    "linear_scaling",
    "head_factor",
    "weight_decay",
    "label_smoothing",
    "dropout",
    "augmentation",
    "strength",
    "schedule",
    "epochs",
    "class_weights",
    "ema",
)


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """The choices of one study. `resolutions` and `views` hold for all backbones."""

    backbones: tuple[str, ...]
    freezes: tuple[str, ...]
    resolutions: tuple[int, ...]
    augmentations: tuple[str, ...]
    views: int
    batch_size: int

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "SearchSpace":
        """Read what was stored with the study."""
        return cls(
            tuple(data["backbones"]),
            tuple(data["freezes"]),
            tuple(data["resolutions"]),
            tuple(data["augmentations"]),
            data["views"],
            data["batch_size"],
        )

    def distributions(self) -> dict[str, BaseDistribution]:
        """Optuna's distributions by parameter."""
        return {
            "backbone": CategoricalDistribution(self.backbones),
            "freeze": CategoricalDistribution(self.freezes),
            "resolution": CategoricalDistribution(self.resolutions),
            "optimiser": CategoricalDistribution(OPTIMISERS),
            "lr": FloatDistribution(1e-5, 3e-2, log=True),
            "linear_scaling": CategoricalDistribution([False, True]),
            "head_factor": FloatDistribution(1.0, 30.0, log=True),
            "weight_decay": CategoricalDistribution([0.0, 1e-4, 1e-2, 5e-2, 0.2]),
            "label_smoothing": FloatDistribution(0.0, 0.2),
            "dropout": FloatDistribution(0.0, 0.5),
            "augmentation": CategoricalDistribution(self.augmentations),
            "strength": CategoricalDistribution([0.5, 1.0]),
            "schedule": CategoricalDistribution(["cosine", "warmup-cosine"]),
            "epochs": IntDistribution(3, 24),
            "class_weights": CategoricalDistribution(CLASS_WEIGHTS),
            "ema": CategoricalDistribution([0.0, 0.99]),
        }

    def may_be_pruned(self, recipe: Recipe) -> bool:
        """Whether a trial is held against others at the rungs.

        A head trains in seconds and is near its end after a quarter of its run, a block that is trained with it is
        not: beside heads, blocks would be pruned before they can tell.
        """
        return recipe.freeze != "head" or self.freezes == ("head",)

    def recipe(self, params: dict[str, Any], seed: int) -> Recipe:
        """The recipe that a trial's parameters stand for. A VGG's dropout is its head's own, whatever was sampled."""
        recipe = Recipe(**params, views=self.views, batch_size=self.batch_size, seed=seed)
        if backbone(recipe.backbone).family == Family.VGG:
            return replace(recipe, dropout=DOCUMENT_DROPOUT)
        return recipe

    def first_trials(
        self,
        ranked: Sequence[str],
        *,
        images_per_class: float,
        imbalance: float,
        budget_s: float,
        upright: bool | None = None,
        keeps: Callable[[str, int], bool] = lambda backbone, resolution: True,
    ) -> list[tuple[str, dict[str, Any]]]:
        """Origins and parameters of the trials to begin with, for backbones `ranked` by screening, best first.

        `keeps` says whether a backbone keeps the limits at a resolution: each is tried at the first one where it does.

        First what trains from the plain view, which screening has cached: a head, so that even the shortest budget
        ends with something sound, then, in all but the shortest, the last block with it. Then the rule-based recipe,
        the document's two modes, and variations that rules of thumb cannot decide.
        """
        sides = {name: [side for side in self.resolutions if keeps(name, side)] for name in ranked}
        best, *others = [name for name in ranked if sides[name]] or ranked[:1]
        resolution = (sides[best] or self.resolutions)[0]
        rule = rule_based_recipe(
            best, resolution, images_per_class=images_per_class, imbalance=imbalance, upright=upright
        )
        rule = self._fit(rule)
        if budget_s >= SHORT_BUDGET_S:
            rule = replace(rule, epochs=LONGER_EPOCHS)
        document = document_recipes(best, resolution)
        chosen: list[tuple[str, Recipe]] = []
        if "head" in self.freezes:
            probe = replace(rule, freeze="head", augmentation="none", lr=3e-3, epochs=24)
            chosen.append((f"{RULES}, head", probe))
        blocks = "last-1" in self.freezes and budget_s >= BLOCKS_FROM_S
        if blocks:
            plain = replace(rule, freeze="last-1", augmentation="none", epochs=4)
            chosen.append((PLAIN_LAST_BLOCK, plain))
        chosen.append((RULES, rule))
        if blocks and rule.freeze != "last-1":
            place = -1 if budget_s < SHORT_BUDGET_S else len(chosen)
            chosen.insert(place, (LAST_BLOCK, replace(rule, freeze="last-1")))
        for name, stated in document.items():
            fitted = self._fit(stated)
            chosen.append((name if fitted == stated else f"{name}, adapted", fitted))
        if "dihedral" in self.augmentations and rule.augmentation != "dihedral" and upright is None:
            chosen.insert(len(chosen) - 2, (f"{RULES}, dihedral", replace(rule, augmentation="dihedral")))
        if len(sides[best]) > 1:
            chosen.append((f"{RULES}, larger", replace(rule, resolution=sides[best][-1])))
        chosen += [(f"{RULES}, {n}", replace(rule, backbone=n, resolution=sides[n][0])) for n in others[:2]]
        return [(origin, {name: getattr(recipe, name) for name in _SAMPLED}) for origin, recipe in chosen]

    def _fit(self, recipe: Recipe) -> Recipe:
        """The recipe with what this space does not offer replaced by the nearest thing that it does."""
        freeze = recipe.freeze if recipe.freeze in self.freezes else self.freezes[0]
        augmentation = recipe.augmentation if recipe.augmentation in self.augmentations else self.augmentations[0]
        return replace(recipe, freeze=freeze, augmentation=augmentation)


def sampler(seed: int) -> optuna.samplers.BaseSampler:
    """Multivariate TPE. Few trials fit into a budget: the enqueued ones count as its start-up."""
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS)


def pruner() -> optuna.pruners.BasePruner:
    """Successive halving over percent of a run: a trial goes on past 25 and 50 % while it is in the better half."""
    return optuna.pruners.SuccessiveHalvingPruner(
        min_resource=FIRST_RUNG, reduction_factor=REDUCTION, min_early_stopping_rate=0
    )
