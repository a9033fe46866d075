"""The training recipe: every choice of one fine-tuning run, and where the document's practices stand in it.

P1, P2   `freeze`: "80%" with the head trained, "last-3" with learning rate 1e-4; both are tried early
P3, P4   head replaced for the task's classes; a VGG gets the pooled head with dropout 0.5 (backbones.heads)
P5       `augmentation` "document", its `strength` searchable
P6       `resolution`
P7       `linear_scaling`: the learning rate is stated for a batch of 256 and scaled by batch_size / 256
P8       `schedule`: "cosine" over the run, "warmup-cosine" with a linear start
P9       mixed precision: automatic on a GPU (autocast with a gradient scaler); a CPU trains in fp32
P12      preprocessing of the pretraining (tuning.preprocess)
P13      `head_factor`: the new head's learning rate is 10 × the backbone's
P14      `label_smoothing` 0.1 together with `dropout` 0.3
P15      `clip` 1.0
P16      F1 and AUC beside accuracy (tuning.scores)
P17      `class_weights` "balanced": cross-entropy weighted by inverse class frequency
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

from selector.tuning.preprocess import Augmentation

SCHEDULES = ("cosine", "warmup-cosine", "constant")
OPTIMISERS = ("adamw", "sgd")
CLASS_WEIGHTS = ("none", "sqrt", "balanced")


@dataclass(frozen=True, slots=True)
class Recipe:
    """One fine-tuning run. Defaults are the document's values; where it states none, the reason stands beside.

    A search leaves `patience` at 0: the score of a run that stops early is the best of its epochs, that of any other
    run its last one's, and what is ranked and pruned side by side has to be measured alike. Trained blocks
    that are not worth their time are pruned instead.
    """

    backbone: str
    freeze: str = "last-3"
    resolution: int = 224
    optimiser: str = "adamw"  # the document's code uses Adam; decoupled decay is the same at decay 0
    lr: float = 1e-4  # of the backbone, for `batch_size` as it is, or for 256 where `linear_scaling`
    linear_scaling: bool = False
    head_factor: float = 10.0
    weight_decay: float = 1e-2  # AdamW's default
    label_smoothing: float = 0.1
    dropout: float = 0.3
    augmentation: str = "document"
    strength: float = 1.0
    views: int = 4  # kept views a picture; what a finite number costs: benchmarks/results/tune_cache.md
    schedule: str = "cosine"
    warmup: float = 0.1  # part of the run, for "warmup-cosine"
    epochs: int = 10
    batch_size: int = 32
    class_weights: str = "balanced"
    clip: float = 1.0
    ema: float = 0.0  # decay of the averaged weights per step; 0: none
    patience: int = 0  # epochs without a better validation score before stopping; 0: never. No search samples it
    seed: int = 0

    @property
    def base_lr(self) -> float:
        """The backbone's learning rate for this batch size (P7)."""
        return self.lr * self.batch_size / 256 if self.linear_scaling else self.lr

    def augment(self) -> Augmentation:
        """The finite set of views that training draws from. Its seed is fixed: trials share one cache."""
        return Augmentation.of(self.augmentation, self.strength, self.views, 0)

    def as_json(self) -> dict[str, Any]:
        """Plain values; `from_json` reads them."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Recipe":
        """Read what `as_json` wrote."""
        return cls(**data)


def document_recipes(backbone: str, resolution: int) -> dict[str, Recipe]:
    """The document's two modes as it states them: among the first trials of every search."""
    return {
        # P1: the first 80 % frozen, head trained; the rate follows P7 with SGD, where that rule comes from
        "document-P1": Recipe(
            backbone,
            freeze="80%",
            resolution=resolution,
            optimiser="sgd",
            lr=0.01,
            linear_scaling=True,
            weight_decay=0.0,
        ),
        "document-P2": Recipe(backbone, freeze="last-3", resolution=resolution, lr=1e-4, weight_decay=0.0),
    }


def rule_based_recipe(
    backbone: str, resolution: int, *, images_per_class: float, imbalance: float, upright: bool | None = None
) -> Recipe:
    """A first trial from rules of thumb. `upright`: whether the pictures have an upright side, where that is known.

    A rate of 1e-3 with a one-cycle-like schedule suits tails that are trained from cached features: batches are small,
    and the statistics of the frozen prefix do not move. Class weights only where the classes differ, and by the
    square root of their frequency: full balance trades more precision for recall than macro-F1 rewards. Few images
    a class are shown as they are and mirrored, those without an upright side in all its mirror images; many bear crops.
    """
    symmetric = "dihedral" if upright is False else "flip"
    return replace(
        Recipe(backbone, resolution=resolution),
        freeze="last-5",
        lr=1e-3,
        head_factor=1.0,
        weight_decay=0.05,
        schedule="warmup-cosine",
        warmup=0.2,
        augmentation=symmetric if images_per_class < 1000 else "document",
        strength=0.5,
        class_weights="sqrt" if imbalance > 1.5 else "none",
        epochs=8,
    )
