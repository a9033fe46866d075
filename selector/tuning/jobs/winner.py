"""The winner: trained again on train and validation, exported, scored once on the test split. Needs torch."""

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file

from selector.backbones.depth import FreezeDepth
from selector.tuning.artefacts import measure_latency, save_graph, save_weights, torch_classes
from selector.tuning.data.dataset import Sample
from selector.tuning.data.split import Split
from selector.tuning.jobs.answers import onnx_logits, samples_of_test
from selector.tuning.jobs.common import ANSWERS, STATE, Emit, Task, preprocess_of
from selector.tuning.jobs.trial import prepare, train_backing_off
from selector.tuning.model import SplitModel, WeightsFrom, build, split_model
from selector.tuning.place import WEIGHTS
from selector.tuning.predict import softmax
from selector.tuning.preprocess import Augmentation
from selector.tuning.recipe import Recipe
from selector.tuning.scores import score
from selector.tuning.search.budget import CLOSING_S, MOST_SEEDS, SEEDS, int8_seconds
from selector.tuning.trainer import WHOLE, Examples

MISTAKES = 24

FEWEST_OF_A_RUN = 0.6
"""Less than this part of a retraining is not worth having."""

WHOLE_WITH_SLACK = 1.15
"""Of what a retraining took, what has to be left for another one that is to be whole."""

OWN_WEIGHTS = "the best trial's own weights, trained on the training split"

State = dict[str, torch.Tensor]


def make_winner(task: Task, arguments: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """Retrain `recipe` as far as `train_seconds` go, export it into `draft`, test it; {step: its figures}.

    Further retrainings are done as far as `more_train_seconds` go. Where not even one fits, the trial's own weights in
    `trial_folder` are taken. A step's figures go out as a "made" event as soon as its files are whole, and what `made`
    holds, of a former job for this very winner, is not done again. `lost`: how such a job was lost in training; the
    trial's own weights are taken then. `adjustment`, fitted on the trial's validation answers, [classes] or empty, goes
    into the last layer.

    Everything should be done within `seconds`. Where that fails, not all of the test images are answered:
    `late_seconds` later no further one is begun. How many are held against torch gives way before that.
    """
    started = time.monotonic()
    end = started + arguments["seconds"]
    recipe, draft = Recipe.from_json(arguments["recipe"]), Path(arguments["draft"])
    made: dict[str, Any] = dict(arguments["made"])
    torch.set_num_threads(task.threads)

    def tell(step: str, figures: dict[str, Any]) -> None:
        made[step] = figures
        emit({"event": "made", "step": step, "figures": figures})

    if "weights" in made:
        split = _with_weights(task, recipe, draft / WEIGHTS)
    else:
        split, seeds, how = _final_weights(task, recipe, arguments, started, emit)
        adjustment = _adjust(split, arguments["adjustment"], task.dataset.classes)
        save_weights(split.model, draft)
        blocks = {"frozen_blocks": split.frozen_blocks, "total_blocks": split.total_blocks}
        made_how = {"how": how, "seeds": seeds, "lost": arguments["lost"], "adjustment": adjustment}
        tell("weights", {**made_how, **blocks})
    if "graph" not in made:
        emit({"event": "stage", "stage": "saving"})
        preprocess = preprocess_of(recipe.backbone, recipe.resolution)
        count = arguments["predict_views"]
        views = Augmentation.of(recipe.augmentation if count > 1 else "none", 1.0, count, 0)
        graph = save_graph(split.model, draft, classes=task.dataset.classes, preprocess=preprocess, views=views)
        tell("graph", {"latency_ms": asdict(measure_latency(graph, recipe.resolution, task.threads))})
    answers = Path(arguments["trial_folder"]) / ANSWERS
    if "test" not in made:
        emit({"event": "stage", "stage": "testing"})
        tell("test", _test(task, draft, answers, until=end + arguments["late_seconds"]))
    if "agreement" not in made:
        inferences = made["test"]["test"]["images"] * arguments["predict_views"]
        int8_s = int8_seconds(made["test"]["test_seconds"], inferences, len(task.rows(Split.TRAIN)))
        # an int8 model goes before, where it fits at all
        until = end - CLOSING_S - (int8_s if end - CLOSING_S - int8_s > time.monotonic() else 0)
        tell("agreement", {"onnx_agreement": _agreement(task, recipe, split, answers, until)})
    return made


def _test(task: Task, draft: Path, answers: Path, *, until: float) -> dict[str, Any]:
    """What the exported model scores on the test split, or on as much of it as `until` allows."""
    test = samples_of_test(task)
    began = time.monotonic()
    logits = onnx_logits(draft, "fp32", [s.path for s in test], task.threads, until=until)
    took = time.monotonic() - began
    test = test[: len(logits)]
    labels = np.array([s.label for s in test], dtype=np.int64)
    answers.parent.mkdir(parents=True, exist_ok=True)  # of another host's trial there is none
    np.save(answers, logits)
    probabilities = softmax(logits)
    mean = probabilities.mean(axis=1)
    return {
        "test": score(mean, labels, task.dataset.classes).as_json(),
        "mistakes": _mistakes(test, labels, mean),
        "one_view": score(probabilities[:, 0], labels, task.dataset.classes).as_json() if logits.shape[1] > 1 else None,
        "test_seconds": took,
    }


def _agreement(task: Task, recipe: Recipe, split: SplitModel, answers: Path, until: float) -> dict[str, int]:
    """Of how many test images ONNX and torch say the same, as far as the time goes."""
    test, said = samples_of_test(task), np.load(answers)[:, 0].argmax(axis=1)
    paths = [s.path for s in test[: len(said)]]
    eager = torch_classes(split.model, paths, preprocess_of(recipe.backbone, recipe.resolution), until=until)
    agree = int((eager == said[: len(eager)]).sum())
    return {"agree": agree, "images": len(eager), "test_images": len(test)}


def _final_weights(
    task: Task, recipe: Recipe, arguments: dict[str, Any], started: float, emit: Emit
) -> tuple[SplitModel, list[int], str]:
    """The split model with its final weights, the seeds behind them, and a sentence on how they came about.

    Runs that start from the same weights and differ in their seed alone end close to each other: the mean of their
    weights is as good as the mean of their answers at the price of one network (Wortsman et al. 2022, model soups).
    """
    own = Path(arguments["trial_folder"]) / STATE
    if lost := arguments["lost"]:
        return _with_weights(task, recipe, own), [], f"{OWN_WEIGHTS}: the retraining was lost, {lost}"
    rows = task.rows(Split.TRAIN, Split.VALIDATION)
    examples = Examples(task.labels, rows, np.empty(0, dtype=np.int64), len(task.dataset.classes))
    recipe = replace(recipe, patience=0)
    end, end_of_more = (started + arguments[name] for name in ("train_seconds", "more_train_seconds"))
    expected = arguments["expected_seconds"]  # of one run; known from the trial
    total: State | None = None
    seeds: list[int] = []
    failed = ""  # what became of a run that is not among them
    if not own.is_file():  # trained on another host: there is nothing to fall back to, so one run has to be
        end = max(end, time.monotonic() + FEWEST_OF_A_RUN * expected)
    for seed in range(recipe.seed, recipe.seed + MOST_SEEDS):
        wanted = len(seeds) < SEEDS
        # a run that is wanted drops epochs where it does not fit; one that is more than that has to fit whole
        until, needed = (end, FEWEST_OF_A_RUN * expected) if wanted else (end_of_more, WHOLE_WITH_SLACK * expected)
        if time.monotonic() + needed > until and (seeds or own.is_file()):
            break
        emit({"event": "stage", "stage": f"training the winner, seed {seed}"})
        began = time.monotonic()
        try:
            split, source = prepare(task, replace(recipe, seed=seed))
            run = train_backing_off(task, split, source, examples, replace(recipe, seed=seed), until, emit)
        except (ArithmeticError, RuntimeError, MemoryError) as error:  # diverged, or no room in memory
            if not seeds and not own.is_file():
                raise
            failed = f"; seed {seed} is left out: {type(error).__name__}: {error}"[:200]
            emit({"event": "stage", "stage": failed.removeprefix("; ")})
            break
        split, whole, took = run.split, run.trained.stopped == WHOLE, time.monotonic() - began
        recipe = replace(recipe, batch_size=run.recipe.batch_size)  # halved where memory ran out
        del run  # another model in memory
        if not (wanted or whole):
            break
        expected = took if whole else max(expected, took)
        total = _add(total, split.model.state_dict())
        seeds.append(seed)
    if total is None:
        return _with_weights(task, recipe, own), [], f"{OWN_WEIGHTS}: no retraining was completed{failed}"
    split.model.load_state_dict({k: v / len(seeds) if v.dtype.is_floating_point else v for k, v in total.items()})
    runs = f"mean weights of {len(seeds)} runs (seeds {', '.join(map(str, seeds))})" if len(seeds) > 1 else "one run"
    return split, seeds, f"trained again on train and validation: {runs}{failed}"


@torch.no_grad()
def _adjust(split: SplitModel, shift: Sequence[float], classes: Sequence[str]) -> dict[str, float]:
    """Add the trial's adjustment to the biases of the last layer, so that every runtime has it; {class: what}.

    Empty where there is none: nothing was gained by one on the trial's validation images.
    """
    if not any(shift):
        return {}
    split.head.bias.add_(torch.tensor(shift, dtype=split.head.bias.dtype, device=split.head.bias.device))
    return dict(zip(classes, map(float, shift), strict=True))


def _with_weights(task: Task, recipe: Recipe, file: Path) -> SplitModel:
    """The recipe's model with the weights in `file`."""
    model = build(
        recipe.backbone,
        len(task.dataset.classes),
        WeightsFrom(task.weights_folder, task.random_init),
        dropout=recipe.dropout,
    )
    model.load_state_dict(load_file(file))
    return split_model(model, FreezeDepth.parse(recipe.freeze))


def _add(total: State | None, state: State) -> State:
    if total is None:
        return {name: value.clone().cpu() for name, value in state.items()}
    return {k: total[k] + v.cpu() if v.dtype.is_floating_point else v.cpu() for k, v in state.items()}


def _mistakes(
    test: Sequence[Sample], labels: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float64]
) -> list[dict[str, Any]]:
    """The test images that the model got wrong with most confidence."""
    said = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(said != labels)
    worst = wrong[np.argsort(-probabilities[wrong, said[wrong]])][:MISTAKES]
    return [
        {
            "path": test[i].path,
            "label": int(labels[i]),
            "predicted": int(said[i]),
            "probability": float(probabilities[i, said[i]]),
        }
        for i in worst
    ]
