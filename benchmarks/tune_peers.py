"""What a user would write instead of `selector tune`, on the same images, split, weights and machine.

    python benchmarks/tune_peers.py DATA.csv WEIGHTS.pth script             40 lines: cache the prefix, train the rest
    python benchmarks/tune_peers.py DATA.csv WEIGHTS.pth optuna --seconds 1200   full fine-tuning, no cache, no pruning
    python benchmarks/tune_peers.py DATA.csv WEIGHTS.pth fastai             fastai's `fine_tune(3)` with its defaults

Prints JSON lines {"seconds", "macro_f1"}: the score on the test split after so many seconds of work. Scoring the test
split on the way is not counted as work. Needs torch, timm, scikit-learn and, for its part, optuna or fastai (which
wants an environment of its own); imports nothing of this project.
"""

import argparse
import csv
import json
import sys
import time
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split
from torch import nn

BACKBONE, CLASSES, SIDE = "tf_efficientnet_lite0", 4, 224


class Clock:
    """Seconds of work: what lies between `pause` and `go` does not count."""

    def __init__(self) -> None:
        self.started, self.off = time.monotonic(), 0.0

    @property
    def seconds(self) -> float:
        """Seconds of work so far."""
        return time.monotonic() - self.started - self.off

    def report(self, truth: np.ndarray, said: np.ndarray, since: float, **more: object) -> None:
        """Print the score; what happened since `since` was scoring and does not count."""
        self.off += time.monotonic() - since
        line = {"seconds": round(self.seconds, 1), "macro_f1": float(f1_score(truth, said, average="macro")), **more}
        print(json.dumps(line), flush=True)


def read(table: Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Paths, labels, and which are test images."""
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    names = sorted({row["label"] for row in rows})
    return (
        [str(table.parent / row["path"]) for row in rows],
        np.array([names.index(row["label"]) for row in rows]),
        np.array([row["split"] == "test" for row in rows]),
    )


def load(weights: Path) -> nn.Module:
    """The network with its ImageNet weights, whose tensors lie in the file in its order."""
    model = timm.create_model(BACKBONE, pretrained=False)
    state = torch.load(weights, weights_only=True, map_location="cpu")
    model.load_state_dict(dict(zip(model.state_dict(), state.values(), strict=True)))
    return model


def pixels(path: str) -> np.ndarray:
    """An image as the network takes it."""
    image = Image.open(path).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return ((np.asarray(image, dtype=np.float32) / 255 - 0.5) / 0.5).transpose(2, 0, 1)


def script(table: Path, weights: Path) -> None:
    """The script of the field notes: 5 of 7 stages cached in four flips, the rest trained for 12 epochs."""
    clock = Clock()
    paths, labels, test = read(table)
    model = load(weights)
    model.reset_classifier(CLASSES)
    prefix = nn.Sequential(model.conv_stem, model.bn1, *model.blocks[:5]).eval()
    tail = nn.Sequential(*model.blocks[5:], model.conv_head, model.bn2, model.global_pool, model.classifier)
    views = []
    with torch.no_grad():
        for dims in ((), (3,), (2,), (2, 3)):
            parts = []
            for start in range(0, len(paths), 32):
                batch = torch.from_numpy(np.stack([pixels(p) for p in paths[start : start + 32]]))
                parts.append(prefix(batch.flip(dims)).half())
            views.append(torch.cat(parts))
    train, truth = np.flatnonzero(~test), torch.from_numpy(labels)
    counts = np.bincount(labels[train])
    weight = torch.tensor(len(train) / CLASSES / counts, dtype=torch.float32)
    optimiser = torch.optim.AdamW(tail.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=12 * (len(train) // 32))
    rng = np.random.default_rng(0)
    for _ in range(12):
        tail.train()
        order = rng.permutation(train)
        for start in range(0, len(train) // 32 * 32, 32):
            rows = order[start : start + 32]
            drawn = rng.integers(0, 4, 32)
            batch = torch.stack([views[v][r] for v, r in zip(drawn, rows, strict=True)]).float()
            loss = nn.functional.cross_entropy(tail(batch), truth[rows], weight, label_smoothing=0.1)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        paused = time.monotonic()
        tail.eval()
        with torch.no_grad():
            logits = torch.cat([tail(part.float()) for part in views[0][test].split(64)])
        clock.report(labels[test], logits.argmax(dim=1).numpy(), paused)


def optuna_search(table: Path, weights: Path, seconds: float) -> None:
    """Full fine-tuning under Optuna's default sampler; after each trial the best one so far by validation."""
    import optuna

    clock = Clock()
    paths, labels, test = read(table)
    truth = torch.from_numpy(labels)
    train, held = train_test_split(np.flatnonzero(~test), test_size=0.25, stratify=labels[~test], random_state=0)
    best = -1.0

    def answers(model: nn.Module, rows: np.ndarray) -> np.ndarray:
        model.eval()
        with torch.no_grad():
            parts = [
                model(torch.from_numpy(np.stack([pixels(paths[r]) for r in rows[s : s + 64]]))).argmax(dim=1)
                for s in range(0, len(rows), 64)
            ]
        return torch.cat(parts).numpy()

    def objective(trial: optuna.Trial) -> float:
        nonlocal best
        rate = trial.suggest_float("lr", 1e-5, 1e-2, log=True)
        decay = trial.suggest_float("weight_decay", 1e-4, 1e-1, log=True)
        smoothing = trial.suggest_float("label_smoothing", 0.0, 0.2)
        epochs = trial.suggest_int("epochs", 2, 6)
        model = load(weights)
        model.reset_classifier(CLASSES)
        optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * (len(train) // 32))
        rng = np.random.default_rng(0)
        for _ in range(epochs):
            model.train()
            order = rng.permutation(train)
            for start in range(0, len(train) // 32 * 32, 32):
                rows = order[start : start + 32]
                batch = np.stack([pixels(paths[r]) for r in rows])
                if rng.random() < 0.5:
                    batch = batch[..., ::-1].copy()
                loss = nn.functional.cross_entropy(
                    model(torch.from_numpy(batch)), truth[rows], label_smoothing=smoothing
                )
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
                if clock.seconds > seconds:
                    raise optuna.TrialPruned
        score = float(f1_score(labels[held], answers(model, held), average="macro"))
        if score > best:
            best = score
            paused = time.monotonic()
            rows = np.flatnonzero(test)
            clock.report(labels[rows], answers(model, rows), paused, trial=trial.number, validation=score)
        return score

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(objective, timeout=seconds)
    print(json.dumps({"seconds": round(clock.seconds, 1), "trials": len(study.trials)}), flush=True)


def fastai_fine_tune(table: Path, weights: Path, epochs: int) -> None:
    """`vision_learner(…).fine_tune(epochs)` with fastai's defaults, on the same pretrained weights."""
    import pandas
    from fastai.vision.all import (
        Callback,
        F1Score,
        ImageDataLoaders,
        Normalize,
        Resize,
        aug_transforms,
        set_seed,
        vision_learner,
    )

    clock = Clock()
    set_seed(0)
    paths, labels, test = read(table)
    frame = pandas.DataFrame({"path": paths, "label": labels.astype(str), "test": test})
    loaders = ImageDataLoaders.from_df(
        frame,
        path="/",
        fn_col="path",
        label_col="label",
        valid_col="test",
        item_tfms=Resize(256),
        batch_tfms=[*aug_transforms(size=SIDE), Normalize.from_stats([0.5] * 3, [0.5] * 3)],
        num_workers=2,
    )
    learner = vision_learner(loaders, BACKBONE, pretrained=False, normalize=False, metrics=F1Score(average="macro"))
    body = learner.model[0].model  # timm's network without its head
    state = torch.load(weights, weights_only=True, map_location="cpu")
    whole = dict(zip(timm.create_model(BACKBONE, pretrained=False).state_dict(), state.values(), strict=True))
    body.load_state_dict({name: whole[name] for name in body.state_dict()})
    learner.freeze()

    class Scores(Callback):
        """fastai scores its validation set, here the test split, after each epoch."""

        paused = 0.0

        def before_validate(self) -> None:
            self.paused = time.monotonic()

        def after_validate(self) -> None:
            clock.off += time.monotonic() - self.paused
            score = float(self.learn.recorder.metrics[0].value)
            print(json.dumps({"seconds": round(clock.seconds, 1), "macro_f1": score}), flush=True)

    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(epochs, cbs=Scores())


def main() -> None:
    """Run one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("peer", choices=["script", "optuna", "fastai"])
    parser.add_argument("--seconds", type=float, default=1200.0)
    parser.add_argument("--epochs", type=int, default=3)
    asked = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(2)
    if asked.peer == "script":
        script(asked.table, asked.weights)
    elif asked.peer == "optuna":
        optuna_search(asked.table, asked.weights, asked.seconds)
    else:
        fastai_fine_tune(asked.table, asked.weights, asked.epochs)


if __name__ == "__main__":
    sys.exit(main())
