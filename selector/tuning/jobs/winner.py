"""The winner: trained again on train and validation, scored once on the test split, saved. Needs torch."""

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from platform import platform, python_version
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file

from selector.backbones.depth import FreezeDepth
from selector.hardware.fingerprint import installed_version
from selector.tuning.artefacts import CALIBRATION_IMAGES, measure_latency, quantise, save_model, torch_classes
from selector.tuning.card import CardFacts, model_card
from selector.tuning.data.dataset import Sample
from selector.tuning.data.split import Split
from selector.tuning.jobs.common import STATE, Emit, Task, preprocess_of
from selector.tuning.jobs.trial import prepare, train_backing_off
from selector.tuning.model import SplitModel, WeightsFrom, build, split_model
from selector.tuning.place import MODEL_FILES, hand_over
from selector.tuning.predict import Predictor, softmax
from selector.tuning.preprocess import Augmentation
from selector.tuning.recipe import Recipe
from selector.tuning.scores import Scores, macro_f1_lost, score
from selector.tuning.search.budget import MOST_SEEDS, SEEDS
from selector.tuning.trainer import WHOLE, Examples

LIBRARIES = ("backbone-selector", "torch", "torchvision", "timm", "onnxruntime", "optuna", "numpy", "pillow")
MISTAKES = 24
CLOSING_S = 1.5  # writing the card, and telling the parent

FEWEST_OF_A_RUN = 0.6
"""Less than this part of a retraining is not worth having."""

WHOLE_WITH_SLACK = 1.15
"""Of what a retraining took, what has to be left for another one that is to be whole."""

OWN_WEIGHTS = "the best trial's own weights, trained on the training split"

State = dict[str, torch.Tensor]


def make_winner(task: Task, arguments: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """Retrain `recipe` as far as `train_seconds` go, save the model into `save`, score it on the test split.

    Further retrainings are done as far as `more_train_seconds` go. Where not even one fits, the trial's own weights in
    `trial_folder` are taken. Everything has to be done within `seconds`; the int8 model is left out, and the result
    says so, where there is no time for it. `lost`: how a former job for this very winner was lost; nothing is trained
    or quantised then.
    """
    started = time.monotonic()
    recipe = Recipe.from_json(arguments["recipe"])
    save = Path(arguments["save"])
    torch.set_num_threads(task.threads)
    split, seeds, how = _final_weights(task, recipe, arguments, started, emit)
    emit({"event": "stage", "stage": "saving and testing"})
    preprocess = preprocess_of(recipe.backbone, recipe.resolution)
    count = arguments["predict_views"]
    views = Augmentation.of(recipe.augmentation if count > 1 else "none", 1.0, count, 0)
    draft = save.parent / f".{save.name}.part"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    files = save_model(split.model, draft, classes=task.dataset.classes, preprocess=preprocess, views=views)
    test = [s for s in task.dataset.samples if s.split == Split.TEST]
    labels = np.array([s.label for s in test], dtype=np.int64)
    paths = [s.path for s in test]
    began = time.monotonic()
    logits = _onnx_logits(draft, "fp32", paths, task.threads)
    pass_s = time.monotonic() - began
    probabilities = softmax(logits).mean(axis=1)
    scores = score(probabilities, labels, task.dataset.classes)
    latency = measure_latency(files[2], recipe.resolution, task.threads)
    # the test itself has to be whole; how many images ONNX and torch are compared on may give way to the budget
    eager = torch_classes(split.model, paths, preprocess, until=started + arguments["seconds"] - CLOSING_S)
    agree = int((eager == logits[: len(eager), 0].argmax(axis=1)).sum())
    result: dict[str, Any] = {
        "how": how,
        "seeds": seeds,
        "test": scores.as_json(),
        "onnx_agreement": {"agree": agree, "images": len(eager), "test_images": len(test)},
        "latency_ms": asdict(latency),
        "mistakes": _mistakes(test, labels, probabilities),
        "one_view": score(softmax(logits[:, 0]), labels, task.dataset.classes).as_json() if count > 1 else None,
        "frozen_blocks": split.frozen_blocks,
        "total_blocks": split.total_blocks,
        "lost": arguments.get("lost", ""),
    }
    left = arguments["seconds"] - (time.monotonic() - started)
    needed = 6.0 + 1.5 * pass_s + 5 * CALIBRATION_IMAGES * pass_s / max(1, len(paths) * views.views)
    why = _why_no_int8(arguments.get("lost", ""), left, needed)
    result["int8"] = {"left_out": why} if why else _int8(task, draft, recipe, paths, labels, probabilities, emit)
    _describe(task, draft, save, arguments, recipe, result, scores)
    hand_over(draft, save)  # the former model is only given up for a whole new one
    result["artefacts"] = [
        {"path": str(file), "bytes": file.stat().st_size} for file in sorted(save.iterdir()) if file.is_file()
    ]
    result["seconds"] = time.monotonic() - started
    return result


def _final_weights(
    task: Task, recipe: Recipe, arguments: dict[str, Any], started: float, emit: Emit
) -> tuple[SplitModel, list[int], str]:
    """The split model with its final weights, the seeds behind them, and a sentence on how they came about.

    Runs that start from the same weights and differ in their seed alone end close to each other: the mean of their
    weights is as good as the mean of their answers at the price of one network (Wortsman et al. 2022, model soups).
    """
    if lost := arguments.get("lost", ""):
        return _own_weights(task, recipe, arguments), [], f"{OWN_WEIGHTS}: the retraining was lost, {lost}"
    rows = task.rows(Split.TRAIN, Split.VALIDATION)
    examples = Examples(task.labels, rows, np.empty(0, dtype=np.int64), len(task.dataset.classes))
    recipe = replace(recipe, patience=0)
    end, end_of_more = (started + arguments[name] for name in ("train_seconds", "more_train_seconds"))
    expected = arguments["expected_seconds"]  # of one run; known from the trial
    total: State | None = None
    seeds: list[int] = []
    failed = ""  # what became of a run that is not among them
    own = Path(arguments["trial_folder"]) / STATE
    if not own.is_file():  # trained on another host: there is nothing to fall back to, so one run has to be
        end = max(end, time.monotonic() + FEWEST_OF_A_RUN * expected)
    split, source = prepare(task, recipe)
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
        state = load_file(own)
        split.model.load_state_dict(state)
        return split, [], f"{OWN_WEIGHTS}: no retraining was completed{failed}"
    split.model.load_state_dict({k: v / len(seeds) if v.dtype.is_floating_point else v for k, v in total.items()})
    runs = f"mean weights of {len(seeds)} runs (seeds {', '.join(map(str, seeds))})" if len(seeds) > 1 else "one run"
    return split, seeds, f"trained again on train and validation: {runs}{failed}"


def _own_weights(task: Task, recipe: Recipe, arguments: dict[str, Any]) -> SplitModel:
    """The trial's model with the weights that it ended with."""
    model = build(
        recipe.backbone,
        len(task.dataset.classes),
        WeightsFrom(task.weights_folder, task.random_init),
        dropout=recipe.dropout,
    )
    model.load_state_dict(load_file(Path(arguments["trial_folder"]) / STATE))
    return split_model(model, FreezeDepth.parse(recipe.freeze))


def _add(total: State | None, state: State) -> State:
    if total is None:
        return {name: value.clone().cpu() for name, value in state.items()}
    return {k: total[k] + v.cpu() if v.dtype.is_floating_point else v.cpu() for k, v in state.items()}


def _onnx_logits(folder: Path, precision: str, paths: Sequence[str], threads: int) -> npt.NDArray[np.float32]:
    """Logits [n, views, classes] of a saved model, images side by side on `threads` threads."""
    from concurrent.futures import ThreadPoolExecutor

    from selector.tuning.data.images import read_rgb

    predictor = Predictor(folder, precision=precision, threads=1)

    def one(path: str) -> npt.NDArray[np.float32]:
        views = predictor.views.render(
            read_rgb(Path(path)), predictor.preprocess, name="", first=0, last=predictor.views.views
        )
        return predictor.logits(np.stack(list(views)))

    with ThreadPoolExecutor(threads) as pool:
        return np.stack(list(pool.map(one, paths)))


def _why_no_int8(lost: str, left_s: float, needed_s: float) -> str:
    """Why an int8 model is not even tried; empty where it is."""
    if lost:
        return f"the job that was to make it was lost, {lost}"
    if left_s < needed_s:
        return f"quantising and testing takes about {needed_s:.0f} s, {max(left_s, 0):.0f} s were left"
    return ""


def _int8(
    task: Task,
    draft: Path,
    recipe: Recipe,
    paths: Sequence[str],
    labels: npt.NDArray[np.int64],
    fp32: npt.NDArray[np.float64],
    emit: Emit,
) -> dict[str, Any]:
    """The int8-static model with its own test score and latency; or {"left_out": why}. `fp32`: that one's answers."""
    emit({"event": "stage", "stage": "quantising"})
    started = time.monotonic()
    preprocess = preprocess_of(recipe.backbone, recipe.resolution)
    graph, target = draft / MODEL_FILES["fp32"], draft / MODEL_FILES["int8-static"]
    rows = task.rows(Split.TRAIN)
    chosen = np.random.default_rng(0).permutation(rows)[:CALIBRATION_IMAGES]
    doing = "quantiser failed"
    try:
        quantise(graph, target, [task.trainable[i].path for i in chosen], preprocess)
        doing = "int8 graph could not be tested"
        logits = _onnx_logits(draft, "int8-static", paths, task.threads)
        probabilities = softmax(logits).mean(axis=1)
        return {
            "test": score(probabilities, labels, task.dataset.classes).as_json(),
            "macro_f1_lost": macro_f1_lost(fp32, probabilities, labels).as_json(),
            "latency_ms": asdict(measure_latency(target, recipe.resolution, task.threads)),
            "calibration_images": len(chosen),
            "seconds": time.monotonic() - started,
        }
    except Exception as error:  # noqa: BLE001 - ONNX Runtime raises anything; the fp32 model is whole without it
        target.unlink(missing_ok=True)
        says = " ".join(f"ONNX Runtime's {doing}: {type(error).__name__}: {error}".split())
        return {"left_out": says[:300]}


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


def _describe(
    task: Task,
    draft: Path,
    save: Path,
    arguments: dict[str, Any],
    recipe: Recipe,
    result: dict[str, Any],
    scores: Scores,
) -> None:
    """Write the model card and reproduce.json."""
    environment = {
        "system": f"{platform()}, {task.threads} threads",
        "python": python_version(),
        **{library: installed_version(library) or "not installed" for library in LIBRARIES},
    }
    agreement = result["onnx_agreement"]
    files = {
        "model.safetensors": f"weights of timm's {recipe.backbone} with {len(task.dataset.classes)} outputs",
        "preprocessing.json": "classes, preprocessing and the views that an answer is averaged over",
        "model.onnx": "the network in fp32; input images [n, 3, r, r], output logits",
    }
    left_out = result["int8"].get("left_out", "")
    if not left_out:
        lost = result["int8"]["macro_f1_lost"]
        files["model.int8.onnx"] = (
            f"the same in int8, macro-F1 lower by {lost['value']:.3f} ({lost['low']:.3f} – {lost['high']:.3f}) on the "
            "test split"
        )
    facts = CardFacts(
        backbone=recipe.backbone,
        data_name=Path(task.dataset.root).name,
        frozen=result["frozen_blocks"],
        total=result["total_blocks"],
        budget=arguments["budget_seconds"],
        classes=task.dataset.classes,
        files=files,
        int8_left_out=left_out,
        folder=save.name,
        views=arguments["predict_views"],
        view_kind=recipe.augmentation if arguments["predict_views"] > 1 else "as it is",
        onnx_says=f"ONNX and torch give the same class to {agreement['agree']} of {agreement['images']} test images"
        + ("." if agreement["images"] == agreement["test_images"] else "; time allowed to compare no more."),
        training=f"Weights: {result['how']}.",
        recipe=recipe.as_json(),
        command=arguments["command"],
        random_init=task.random_init,
        environment=environment,
    )
    (draft / "README.md").write_text(model_card(facts, scores), encoding="utf-8")
    reproduce = {
        "command": arguments["command"],
        "environment": environment,
        "recipe": recipe.as_json(),
        "seeds": result["seeds"],
        "weights_digest": arguments["weights_digest"],
        "data_digest": task.dataset.split_digest,
        "random_init": task.random_init,
        "int8_left_out": left_out,
    }
    text = json.dumps(reproduce, ensure_ascii=False, indent=2)
    (draft / "reproduce.json").write_text(text, encoding="utf-8")
