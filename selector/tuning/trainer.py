"""Training the tail of a split model on features, under a deadline. Needs torch.

The schedule runs over progress 0…1 rather than steps, so that a run that would end too late is shortened smoothly:
it keeps its warm-up and its cosine and does fewer epochs.
"""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional as F

from selector.tuning.features import FeatureSource, fastest_device
from selector.tuning.model import SplitModel
from selector.tuning.recipe import Recipe
from selector.tuning.scores import macro_f1

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


WHOLE = "all epochs"  # how a run ends that nothing shortened


class Diverged(ArithmeticError):
    """The loss is not a number any more."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch of the learning curve. `validation_*` are None where nothing was held out."""

    progress: float  # 0…1 of the run
    loss: float
    validation_macro_f1: float | None
    validation_accuracy: float | None
    seconds: float  # since the training began


@dataclass
class Trained:
    """A trained tail (its weights are in the split model) and how it came about."""

    epochs: list[Epoch] = field(default_factory=list)
    probabilities: Floats | None = None  # of the validation images, from the kept weights
    macro_f1: float | None = None
    stopped: str = WHOLE
    seconds: float = 0.0
    step_seconds: float = 0.0  # median over the steps


@dataclass(frozen=True, slots=True)
class Examples:
    """Positions among the source's images, and the labels of all of its images."""

    labels: Ints
    train: Ints
    validation: Ints  # empty: nothing is held out
    classes: int


def train(
    split: SplitModel,
    source: FeatureSource,
    examples: Examples,
    recipe: Recipe,
    *,
    until: float | None = None,
    passes_after: int = 0,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> Trained:
    """Train `split.tail` in place and leave the weights that are to be used in it (averaged ones with `ema`).

    `until` (monotonic seconds) is kept: epochs are dropped from the plan as soon as the steps' pace is known, and
    a step and a validation are the most that it is overrun by. It leaves time for `passes_after` more passes over
    the validation images. Early stopping keeps the weights of the best epoch. Raises Diverged.
    """
    return _Run(split, source, examples, recipe, until, passes_after).go(on_epoch)


@torch.inference_mode()
def predict(tail: nn.Module, source: FeatureSource, positions: Ints, *, views: int = 1, batch: int = 128) -> Floats:
    """Class probabilities [views, n, classes] of the images at `positions`, of each of the first `views` views."""
    tail.eval()
    device = next(tail.parameters()).device
    found = []
    for view in range(views):
        parts = []
        for start in range(0, len(positions), batch):
            rows = positions[start : start + batch]
            features = _layout(source.batch(rows, np.full(len(rows), view))).to(device)
            parts.append(tail(features).float().softmax(dim=1).double().cpu().numpy())
        found.append(np.concatenate(parts))
    return np.asarray(np.stack(found), dtype=np.float64)


class _Run:
    def __init__(
        self,
        split: SplitModel,
        source: FeatureSource,
        examples: Examples,
        recipe: Recipe,
        until: float | None,
        passes_after: int,
    ) -> None:
        self.device = fastest_device()
        # weights in the features' layout († a step of tf_efficientnet_lite0's last five blocks: 0.35 s for 0.42)
        self.tail = split.tail.to(self.device).to(memory_format=torch.channels_last)
        self.source, self.examples, self.recipe = source, examples, recipe
        self.until, self.passes_after = until, passes_after
        self.validation_s: float | None = None  # of one pass, once there was one
        self.batch = min(recipe.batch_size, len(examples.train))
        self.steps_an_epoch = max(1, len(examples.train) // self.batch)
        self.total_steps = self.steps_an_epoch * recipe.epochs
        self.optimiser = _optimiser(split, recipe)
        self.rates = [group["lr"] for group in self.optimiser.param_groups]
        self.amp = self.device.type == "cuda"  # P9
        self.scaler = torch.amp.GradScaler("cuda", enabled=self.amp)
        self.weights = _class_weights(examples, recipe).to(self.device)
        self.average = copy.deepcopy(self.tail) if recipe.ema else None
        self.random = np.random.default_rng(recipe.seed)
        torch.manual_seed(recipe.seed)
        self.times: list[float] = []

    def go(self, on_epoch: Callable[[Epoch], None]) -> Trained:
        result = Trained()
        best, best_state, waited = -1.0, None, 0
        started, step, epoch_number = time.monotonic(), 0, 0
        while step < self.total_steps:
            step, loss = self._epoch(step)
            epoch_number += 1
            epoch, probabilities = self._evaluate(step, loss, started)
            result.epochs.append(epoch)
            on_epoch(epoch)
            score = epoch.validation_macro_f1
            if score is not None:
                waited = 0 if score > best else waited + 1
                if score > best or not self.recipe.patience:
                    best, result.probabilities, result.macro_f1 = score, probabilities, score
                    if self.recipe.patience:
                        best_state = copy.deepcopy(self._kept().state_dict())
                if self.recipe.patience and waited >= self.recipe.patience:
                    result.stopped = f"no better validation score for {waited} epochs"
                    break
            if self._late() and step < self.total_steps:
                result.stopped = "deadline"
                break
        if self.average is not None:
            self.tail.load_state_dict(self.average.state_dict())
        if best_state is not None:
            self.tail.load_state_dict(best_state)
        if epoch_number < self.recipe.epochs and result.stopped == WHOLE:
            result.stopped = f"{epoch_number} of {self.recipe.epochs} epochs, to keep the deadline"
        result.seconds = time.monotonic() - started
        result.step_seconds = float(np.median(self.times))
        return result

    def _epoch(self, step: int) -> tuple[int, float]:
        self.tail.train()
        order = self.random.permutation(self.examples.train)
        losses: list[float] = []
        for start in range(0, self.steps_an_epoch * self.batch, self.batch):
            began = time.monotonic()
            if losses and self._late():
                break
            losses.append(self._step(order[start : start + self.batch], step / self.total_steps))
            step += 1
            self.times.append(time.monotonic() - began)
            if self.until is not None and step in (3, 10, 30, self.steps_an_epoch):
                self._replan(step)
        return step, float(np.mean(losses))

    def _step(self, rows: Ints, progress: float) -> float:
        factor = _schedule(self.recipe, progress)
        for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        views = self.random.integers(0, self.source.views, len(rows))
        features = _layout(self.source.batch(rows, views)).to(self.device)
        labels = torch.from_numpy(self.examples.labels[rows]).to(self.device)
        with torch.autocast(self.device.type, enabled=self.amp):
            logits = self.tail(features)
            loss = F.cross_entropy(logits, labels, self.weights, label_smoothing=self.recipe.label_smoothing)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise Diverged(f"the loss became {value} at {progress:.0%} of the run")
        self.optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.scaler.unscale_(self.optimiser)
        nn.utils.clip_grad_norm_(self.tail.parameters(), self.recipe.clip)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        if self.average is not None:
            _update_average(self.average, self.tail, self.recipe.ema, len(self.times))
        return value

    def _replan(self, step: int) -> None:
        """Drop whole epochs that do not fit any more, with their validation."""
        assert self.until is not None
        left = self.until - time.monotonic() - self.passes_after * self._validation_seconds()
        an_epoch = self.steps_an_epoch * float(np.median(self.times)) + self._validation_seconds()
        epochs = max(1, int(step / self.steps_an_epoch + left / an_epoch))
        self.total_steps = min(self.total_steps, epochs * self.steps_an_epoch)

    def _late(self) -> bool:
        """Whether what comes after this epoch's steps, its validation included, needs the time that is left."""
        if self.until is None or not self.times:
            return False
        return time.monotonic() + (1 + self.passes_after) * self._validation_seconds() >= self.until

    def _validation_seconds(self) -> float:
        """Seconds of one pass over the validation images; before the first, a third of as many training steps."""
        if self.validation_s is not None:
            return self.validation_s
        return len(self.examples.validation) / self.batch * float(np.median(self.times)) / 3

    def _evaluate(self, step: int, loss: float, started: float) -> tuple[Epoch, Floats | None]:
        rows = self.examples.validation
        if not len(rows):
            return Epoch(step / self.total_steps, loss, None, None, time.monotonic() - started), None
        began = time.monotonic()
        (probabilities,) = predict(self._kept(), self.source, rows)
        self.validation_s = time.monotonic() - began
        predicted, labels = probabilities.argmax(axis=1), self.examples.labels[rows]
        return (
            Epoch(
                step / self.total_steps,
                loss,
                macro_f1(predicted, labels, self.examples.classes),
                float((predicted == labels).mean()),
                time.monotonic() - started,
            ),
            probabilities,
        )

    def _kept(self) -> nn.Module:
        return self.tail if self.average is None else self.average


def _optimiser(split: SplitModel, recipe: Recipe) -> torch.optim.Optimizer:
    """Two rates (P13), and no decay on norms and biases, which only shrinks what they have to carry."""
    head = {id(p) for p in split.head.parameters()}
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in split.tail.parameters():
        if parameter.requires_grad:
            groups.setdefault((id(parameter) in head, parameter.ndim > 1), []).append(parameter)
    settings = [
        {
            "params": parameters,
            "lr": recipe.base_lr * (recipe.head_factor if is_head else 1.0),
            "weight_decay": recipe.weight_decay if decays else 0.0,
        }
        for (is_head, decays), parameters in groups.items()
    ]
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(settings, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(settings)


def _schedule(recipe: Recipe, progress: float) -> float:
    """The factor on the learning rate at `progress` of the run (P8)."""
    if recipe.schedule == "constant":
        return 1.0
    if recipe.schedule == "warmup-cosine":
        if progress < recipe.warmup:
            return max(progress / recipe.warmup, 0.04)  # one-cycle's start: a 25th of the peak
        progress = (progress - recipe.warmup) / (1 - recipe.warmup)
    return 0.5 * (1 + math.cos(math.pi * progress))


def _class_weights(examples: Examples, recipe: Recipe) -> torch.Tensor:
    """Inverse class frequency, its square root or ones, with mean 1 over the training images (P17)."""
    counts = np.bincount(examples.labels[examples.train], minlength=examples.classes).astype(float)
    power = {"none": 0.0, "sqrt": 0.5, "balanced": 1.0}[recipe.class_weights]
    weights = np.where(counts > 0, np.maximum(counts, 1) ** -power, 0.0)
    return torch.tensor(weights * counts.sum() / (weights * counts).sum(), dtype=torch.float32)


@torch.no_grad()
def _update_average(average: nn.Module, tail: nn.Module, decay: float, step: int) -> None:
    decay = min(decay, (1 + step) / (10 + step))  # short memory at first: the start is not worth remembering
    for kept, new in zip(average.state_dict().values(), tail.state_dict().values(), strict=True):
        if kept.dtype.is_floating_point:
            kept.lerp_(new, 1 - decay)
        else:
            kept.copy_(new)


def _layout(features: torch.Tensor) -> torch.Tensor:
    return features.contiguous(memory_format=torch.channels_last) if features.ndim == 4 else features
