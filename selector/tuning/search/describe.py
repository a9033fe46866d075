"""What a handed over model says of itself: its card, and the record of how it was made."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from platform import platform, python_version
from typing import Any

from selector.hardware.fingerprint import installed_version
from selector.tuning.adjustment import told
from selector.tuning.card import CardFacts, model_card
from selector.tuning.jobs.common import Task
from selector.tuning.place import CARD, MODEL_FILES, RECORD, SETTINGS, WEIGHTS
from selector.tuning.recipe import Recipe
from selector.tuning.scores import Scores

LIBRARIES = ("backbone-selector", "torch", "torchvision", "timm", "onnxruntime", "optuna", "numpy", "pillow")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a model comes from: what card and record say beyond its figures."""

    recipe: Recipe
    predict_views: int
    adjustment: Sequence[float]  # by class, to the last layer's biases; empty or zeros: none
    command: str
    budget_s: float
    weights_digest: str  # of the pretrained weights
    folder: str  # that it is handed over in, without what lies above


def describe(folder: Path, task: Task, origin: Origin, result: Mapping[str, Any]) -> None:
    """Write README.md and reproduce.json of a model with the figures `result` into `folder`."""
    environment = {
        "system": f"{platform()}, {task.threads} threads",
        "python": python_version(),
        **{library: installed_version(library) or "not installed" for library in LIBRARIES},
    }
    card = model_card(_facts(task, origin, result, environment), Scores.from_json(result["test"]))
    (folder / CARD).write_text(card, encoding="utf-8")
    record = {
        "command": origin.command,
        "environment": environment,
        "recipe": origin.recipe.as_json(),
        "seeds": result["seeds"],
        "adjustment": result["adjustment"],
        "weights_digest": origin.weights_digest,
        "data_digest": task.dataset.split_digest,
        "random_init": task.random_init,
        "int8_left_out": result["int8"].get("left_out", ""),
    }
    (folder / RECORD).write_text(json.dumps(record, ensure_ascii=False, indent=2), encoding="utf-8")


def _facts(task: Task, origin: Origin, result: Mapping[str, Any], environment: Mapping[str, str]) -> CardFacts:
    agreement, int8 = result["onnx_agreement"], result["int8"]
    files = {
        WEIGHTS: f"weights of timm's {origin.recipe.backbone} with {len(task.dataset.classes)} outputs",
        SETTINGS: "classes, preprocessing and the views that an answer is averaged over",
        MODEL_FILES["fp32"]: "the network in fp32; input images [n, 3, r, r], output logits",
    }
    if "left_out" not in int8:
        lost = int8["macro_f1_lost"]
        files[MODEL_FILES["int8-static"]] = (
            f"the same in int8, macro-F1 lower by {lost['value']:.3f} ({lost['low']:.3f} – {lost['high']:.3f}) on the "
            "test split"
        )
    return CardFacts(
        backbone=origin.recipe.backbone,
        data_name=Path(task.dataset.root).name,
        frozen=result["frozen_blocks"],
        total=result["total_blocks"],
        budget=origin.budget_s,
        classes=task.dataset.classes,
        files=files,
        int8_left_out=int8.get("left_out", ""),
        folder=origin.folder,
        views=origin.predict_views,
        view_kind=origin.recipe.augmentation if origin.predict_views > 1 else "as it is",
        onnx_says=f"ONNX and torch give the same class to {agreement['agree']} of {agreement['images']} test images"
        + ("." if agreement["images"] == agreement["test_images"] else "; time allowed to compare no more."),
        training=f"Weights: {result['how']}.{_adjusted(result['adjustment'])}",
        recipe=origin.recipe.as_json(),
        command=origin.command,
        random_init=task.random_init,
        environment=environment,
        test_images=agreement["test_images"],
    )


def _adjusted(adjustment: Mapping[str, float]) -> str:
    """What the biases hold beside what was trained, for the card."""
    if not adjustment:
        return ""
    return (
        " To raise macro-F1, which counts every class the same, the odds of classes are shifted by what validation "
        f"images told ({told(adjustment)}). The last layer's biases hold it: probabilities are shifted with them, and "
        "accuracy may be lower for it."
    )
