"""How to train the chosen candidate, from the document's practices, and how long it takes on this machine."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from selector.backbones.catalog import Family
from selector.evidence.metrics import TRAIN_SECONDS, TRAIN_STEP
from selector.evidence.record import Figure, FreezePoint, Provenance, Record

BATCH_SIZE = 32
FINE_TUNING_RATE = 1e-4  # P2
HEAD_FACTOR = 10  # P13
FULL_EPOCHS = 50  # P8: T_max of the document's example
IMAGES_SEEN = (
    500_000  # epochs × images where 50 epochs would be more; our choice: long runs gain little when fine-tuning
)
FEWEST_EPOCHS = 5
CALIBRATION_MINIMUM = 4
ASSUMED_FACTOR = 2.0  # 80 % interval of scaling by MACs with too few measured steps to calibrate: assumed
MEASURED_SPREAD = 0.10  # the same machine within ±10 % for 94-100 % of models (MLPerf rules, five months apart)

TrainingMacs = Callable[[str, int, int], float]
"""(backbone, frozen blocks, resolution) → multiply-accumulates of forward and backward for one image."""


def hyperparameters(
    family: Family, freeze: FreezePoint, resolution: int, data_size: int
) -> dict[str, str | float | int]:
    """The document's recipe for this depth and data size, as the starting point of a training.

    Values carry the practice that they come from in `practices`; batch size, epochs and optimiser are ours.
    """
    head_only = freeze.frozen_blocks == freeze.total_blocks
    batch = min(BATCH_SIZE, data_size)
    rates: dict[str, str | float | int]
    if head_only:
        rates = {"learning_rate": round(0.01 * batch / 256, 8)}  # P7
    else:
        rates = {"learning_rate": FINE_TUNING_RATE, "head_learning_rate": FINE_TUNING_RATE * HEAD_FACTOR}
    vgg = family is Family.VGG
    practices = ["P3", "P5", "P8", "P9", "P12", "P14", "P15", "P16", "P17"]
    practices += ["P7"] if head_only else ["P2", "P13"]
    practices += ["P1"] if freeze.name == "80%" else []
    practices += ["P4"] if vgg else []
    practices += ["P6"] if family is Family.EFFICIENTNET else []
    return {
        "optimizer": "adamw",
        **rates,
        "batch_size": batch,
        "epochs": epochs(data_size),
        "schedule": "cosine",
        "warmup_share": 0.05,
        "mixed_precision": "on a GPU",
        "label_smoothing": 0.1,
        "dropout": 0.5 if vgg else 0.3,
        "gradient_clip": 1.0,
        "augmentation": f"RandomResizedCrop({resolution}), RandomHorizontalFlip, ColorJitter(0.2, 0.2)",
        "loss": "cross-entropy, weighted by class where classes are imbalanced",
        "head": "global average pooling, dropout, linear" if vgg else "dropout, linear",
        "metrics": "accuracy, macro-F1, AUC",
        "practices": " ".join(sorted(practices, key=lambda p: int(p[1:]))),
    }


def epochs(data_size: int) -> int:
    """Passes over the data: the document's 50, fewer where the images are many."""
    return max(FEWEST_EPOCHS, min(FULL_EPOCHS, math.ceil(IMAGES_SEEN / data_size)))


@dataclass(frozen=True, slots=True)
class _Step:
    """A measured training step."""

    backbone: str
    frozen_blocks: int
    resolution: int
    batch_size: int
    figure: Figure

    @property
    def seconds_per_image(self) -> float:
        return self.figure.value / 1000 / self.batch_size


def _as_the_recipe_trains(records: Iterable[Record]) -> list[Record]:
    """Measured steps of one device in the precision that the recipe takes there: amp on a GPU, else fp32 on the CPU."""
    steps = [r for r in records if r.figure.metric == TRAIN_STEP and r.figure.provenance is Provenance.MEASURED]
    on_gpu = [r for r in steps if (r.conditions.runtime, r.conditions.precision) == ("torch-cuda", "amp")]
    on_cpu = [r for r in steps if r.conditions.runtime != "torch-cuda" and r.conditions.precision in (None, "fp32")]
    return on_gpu or on_cpu


class TrainingTime:
    """Seconds of a whole fine-tuning on the machine whose steps were measured; nothing without a measured step."""

    def __init__(self, records: Iterable[Record], training_macs: TrainingMacs) -> None:
        self._training_macs = training_macs
        newest: dict[tuple[str, int, int], _Step] = {}
        for record in _as_the_recipe_trains(records):
            c = record.conditions
            if c.freeze and c.batch_size and c.resolution:
                step = _Step(c.backbone, c.freeze.frozen_blocks, c.resolution, c.batch_size, record.figure)
                newest[step.backbone, step.frozen_blocks, step.resolution] = step
        self._steps = newest
        self._seconds_per_mac, self._factor = self._calibrate()

    @property
    def measured(self) -> bool:
        """Whether any training step was measured on this machine."""
        return bool(self._steps)

    def seconds(self, backbone: str, freeze: FreezePoint, resolution: int, data_size: int) -> Figure | None:
        """Wall-clock seconds of the recipe on `data_size` images; None where no step was measured here."""
        images = epochs(data_size) * data_size
        step = self._steps.get((backbone, freeze.frozen_blocks, resolution))
        if step is not None:
            value = step.seconds_per_image * images
            source = (
                f"measured training step of {step.figure.value:.4g} ms at batch {step.batch_size} × {images} images "
                f"({epochs(data_size)} epochs of {data_size}); reading and validating images not included; "
                f"{step.figure.source}"
            )
            low, high = value * (1 - MEASURED_SPREAD), value * (1 + MEASURED_SPREAD)
            return Figure(TRAIN_SECONDS, value, low, high, Provenance.ESTIMATED, source)
        if self._seconds_per_mac is None:
            return None
        value = self._seconds_per_mac * self._training_macs(backbone, freeze.frozen_blocks, resolution) * images
        source = (
            f"training MACs × median seconds per MAC of {len(self._steps)} training steps measured on this machine "
            f"× {images} images ({epochs(data_size)} epochs of {data_size}); reading and validating not included"
        )
        return Figure(TRAIN_SECONDS, value, value / self._factor, value * self._factor, Provenance.ESTIMATED, source)

    def _calibrate(self) -> tuple[float | None, float]:
        """Median seconds per training MAC, and the factor that 80 % of the measured steps lie within."""
        if not self._steps:
            return None, ASSUMED_FACTOR
        rates = np.array(
            [
                s.seconds_per_image / self._training_macs(s.backbone, s.frozen_blocks, s.resolution)
                for s in self._steps.values()
            ]
        )
        median = float(np.median(rates))
        if rates.size < CALIBRATION_MINIMUM:
            return median, ASSUMED_FACTOR
        # each step against the median of the others, so that none vouches for itself
        others = [float(np.median(np.delete(rates, i))) for i in range(rates.size)]
        return median, float(np.exp(np.quantile(np.abs(np.log(rates / np.array(others))), 0.8)))
