from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from selector.tuning.model import SplitModel
from selector.tuning.recipe import Recipe
from selector.tuning.trainer import Diverged, Examples, predict, train

CLASSES = 3


class Clock:
    """Time that only batches take: a busy machine changes nothing."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


class Points:
    """Features drawn around a centre a class; view 1 is noisier. Each batch takes `delay_s` on the `clock`."""

    views = 2

    def __init__(self, labels: np.ndarray, delay_s: float = 0.0, clock: "Clock | None" = None) -> None:
        rng = np.random.default_rng(0)
        self.values = rng.normal(size=(2, len(labels), 8)) + 4.0 * np.eye(8)[labels]
        self.delay_s, self.clock = delay_s, clock
        self.seen: list[int] = []

    def batch(self, positions: np.ndarray, views: np.ndarray) -> torch.Tensor:
        if self.clock is not None:
            self.clock.now += self.delay_s
        self.seen += [int(p) for p in positions]
        return torch.from_numpy(self.values[views, positions]).float()


@pytest.fixture
def examples() -> Examples:
    labels = np.random.default_rng(1).choice(CLASSES, 240, p=[0.7, 0.2, 0.1])
    return Examples(labels, np.arange(160), np.arange(160, 240), CLASSES)


def split() -> SplitModel:
    torch.manual_seed(0)
    head = nn.Linear(16, CLASSES)
    tail = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), head)
    return SplitModel(tail, nn.Identity(), tail, head, 0, 2)


RECIPE = Recipe("none", lr=3e-3, epochs=12, batch_size=16, schedule="warmup-cosine")


def test_it_learns_and_is_the_same_again_with_the_same_seed(examples: Examples) -> None:
    results = [train(split(), Points(examples.labels), examples, RECIPE) for _ in range(2)]
    assert results[0].macro_f1 > 0.8
    assert results[0].macro_f1 == results[1].macro_f1
    assert [e.loss for e in results[0].epochs] == [e.loss for e in results[1].epochs]
    other = train(split(), Points(examples.labels), examples, replace(RECIPE, seed=1))
    assert [e.loss for e in other.epochs] != [e.loss for e in results[0].epochs]


@pytest.mark.parametrize("ema", [0.0, 0.9])
@pytest.mark.parametrize("patience", [0, 2])
def test_the_kept_weights_are_those_that_the_score_is_of(examples: Examples, ema: float, patience: int) -> None:
    parts, source = split(), Points(examples.labels)
    result = train(parts, source, examples, replace(RECIPE, ema=ema, patience=patience, lr=3e-2, schedule="constant"))
    assert np.allclose(predict(parts.tail, source, examples.validation)[0], result.probabilities, atol=1e-6)
    if patience:
        assert result.macro_f1 == max(e.validation_macro_f1 for e in result.epochs)


def test_validation_images_are_never_trained_on(examples: Examples) -> None:
    source = Points(examples.labels)
    train(split(), source, replace(examples, validation=np.empty(0, dtype=np.int64)), RECIPE)
    assert set(source.seen) <= set(range(160))


def test_a_deadline_drops_epochs_and_keeps_the_schedule(examples: Examples, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("selector.tuning.trainer.time", clock)
    source = Points(examples.labels, 0.02, clock)  # 10 steps an epoch: all 12 would take 2.4 s and their validation
    result = train(split(), source, examples, RECIPE, until=1.0)
    assert clock.now <= 1.0
    assert 1 <= len(result.epochs) < 12
    assert result.epochs[-1].progress == pytest.approx(1.0)
    assert "to keep the deadline" in result.stopped


def test_a_loss_that_is_no_number_is_told(examples: Examples) -> None:
    with pytest.raises(Diverged):
        train(split(), Points(examples.labels), examples, replace(RECIPE, optimiser="sgd", lr=1e30, clip=1e30))


def test_rates_follow_the_document() -> None:
    recipe = Recipe("none", lr=0.01, batch_size=64, linear_scaling=True)
    assert recipe.base_lr == pytest.approx(0.01 * 64 / 256)
    assert replace(recipe, linear_scaling=False).base_lr == 0.01


def test_a_batch_that_does_not_fit_the_memory_is_halved(examples: Examples, monkeypatch: pytest.MonkeyPatch) -> None:
    from selector.tuning.jobs import trial

    class Small(Points):
        def batch(self, positions: np.ndarray, views: np.ndarray) -> torch.Tensor:
            if len(positions) == 8 or len(positions) == 16:
                raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate")
            return super().batch(positions, views)

    source = Small(examples.labels)
    monkeypatch.setattr(trial, "prepare", lambda task, recipe: (split(), source))
    events: list[dict[str, object]] = []
    empty = replace(examples, validation=np.empty(0, dtype=np.int64))
    used = trial.train_backing_off(None, split(), source, empty, RECIPE, None, events.append).recipe
    assert used.batch_size == 4
    assert [e["batch_size"] for e in events if e["event"] == "batch-halved"] == [8, 4]
