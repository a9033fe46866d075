"""How long caching and training will take: analytic cost at a freeze depth × a rate measured in this very study.

The cost is the profiler's (`backbones.cost`: multiply-accumulates of the frozen prefix, and of forward and backward
of what is trained). A pair of backbone and depth that has been trained is predicted from its own figure.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from statistics import median

from selector.backbones.cost import Cost, cost
from selector.backbones.depth import FreezeDepth
from selector.tuning.recipe import Recipe

# seconds per multiply-accumulate until something is measured: 2 cores of a current server
FIRST_FILL = 1 / 40e9
FIRST_TRAIN = 1 / 25e9
FIRST_LIVE = 1 / 15e9
PER_IMAGE = 0.5e-3  # seconds an image and step that no multiply-accumulate explains: reading, head, optimiser


@lru_cache(maxsize=1024)
def _cost(backbone: str, freeze: str, resolution: int) -> Cost:
    return cost(backbone, FreezeDepth.parse(freeze), resolution=resolution)


def _trained_macs(recipe: Recipe) -> int:
    c = _cost(recipe.backbone, recipe.freeze, recipe.resolution)
    return c.macs_forward - c.macs_forward_frozen + c.macs_weight_gradient + c.macs_input_gradient


@dataclass
class Pace:
    """Seconds that things take. Learns from what is measured."""

    images: int  # trainable ones
    train_images: int
    read_image_s: float = 0.0  # reading and decoding one on all cores together, known before anything is cached
    _fill: list[float] = field(default_factory=list)
    _train: list[float] = field(default_factory=list)
    _own: dict[tuple[str, str, int, bool], float] = field(default_factory=dict)
    _start: list[float] = field(default_factory=list)
    _setup: list[float] = field(default_factory=list)

    def fill_seconds(self, recipe: Recipe, views: int) -> float:
        """Seconds to cache `views` views of all trainable images."""
        if not views:
            return 0.0
        frozen = _cost(recipe.backbone, recipe.freeze, recipe.resolution).macs_forward_frozen
        rate = median(self._fill) if self._fill else FIRST_FILL
        return self.start_seconds + self.setup_seconds + self.images * views * (frozen * rate + PER_IMAGE)

    def epoch_seconds(self, recipe: Recipe, *, cached: bool) -> float:
        """Seconds of one epoch over the training split, its validation included."""
        own = self._own.get((recipe.backbone, recipe.freeze, recipe.resolution, cached))
        if own is None:
            rate = median(self._train) if self._train else FIRST_TRAIN
            own = _trained_macs(recipe) * rate + PER_IMAGE
            if not cached:
                own += _cost(recipe.backbone, recipe.freeze, recipe.resolution).macs_forward_frozen * FIRST_LIVE
        return self.train_images * own * 1.15

    def image_seconds(self, backbone: str, resolution: int) -> float:
        """Seconds to read one image and send it through the whole network in ONNX Runtime, on all threads together.

        Caching learns both as one rate by multiply-accumulates. Where large photographs go through a small network, or
        nothing had to be cached, that is too little.
        """
        whole = _cost(backbone, "head", resolution).macs_forward
        learnt = whole * (median(self._fill) if self._fill else FIRST_FILL) + PER_IMAGE
        return max(learnt, whole * FIRST_FILL + self.read_image_s)

    @property
    def setup_seconds(self) -> float:
        """Seconds to export and load a prefix."""
        return median(self._setup) if self._setup else 4.0

    @property
    def start_seconds(self) -> float:
        """Seconds that a job takes before its work begins: forking, building the model, reading its weights."""
        return median(self._start) if self._start else 2.0

    def learn_fill(self, recipe: Recipe, views: int, seconds: float, setup: float) -> None:
        """Note that caching `views` views took `seconds`, after `setup` seconds of export and loading."""
        self._setup.append(setup)
        frozen = _cost(recipe.backbone, recipe.freeze, recipe.resolution).macs_forward_frozen
        if views and frozen:
            self._fill.append(seconds / (self.images * views * frozen))

    def learn_train(self, recipe: Recipe, step_seconds: float, batch: int, *, cached: bool) -> None:
        """Note that a step over `batch` images took `step_seconds`."""
        an_image = step_seconds / batch
        self._own[recipe.backbone, recipe.freeze, recipe.resolution, cached] = an_image
        if cached and (macs := _trained_macs(recipe)):
            self._train.append(an_image / macs)

    def learn_start(self, seconds: float) -> None:
        """Note what a job took beside its work."""
        self._start.append(seconds)
