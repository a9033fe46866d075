"""The model card of a winner: a README.md in the hub's format. Needs huggingface_hub, and nothing of the network."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from selector.tuning.scores import Score, Scores

_TEMPLATE = """---
{{ card_data }}
---

# {{ backbone }} fine-tuned on {{ data_name }}

{{ warning }}{{ backbone }} with its first {{ frozen }} of {{ total }} blocks frozen, tuned by `selector tune` within
{{ budget }} seconds. Classes: {{ classes }}.

## Scores on {{ images }} test images that no choice was made on{{ of_them }}

| score | value | 95 % interval (bootstrap over images) |
|---|---|---|
{{ score_rows }}

| class | images | precision | recall | F1 |
|---|---|---|---|---|
{{ class_rows }}

In brackets the 95 % interval. It says how the figure would move with other test images, not with another training run.

## Files

{{ files }}
{{ int8_left_out }}
## Use

    selector predict {{ folder }} IMAGE…

An answer is the mean over {{ views }} view(s) of the image ({{ view_kind }}). {{ onnx_says }}

## Training

{{ training }}

| setting | value |
|---|---|
{{ recipe_rows }}

## Limits

Trained and tested on {{ data_name }} alone; images from another source, camera or time were not looked at.
Preprocessing is the pretraining's, stored in preprocessing.json; other preprocessing changes the answers.

## Reproduce

    {{ command }}

How far a search gets within its time depends on the machine; reproduce.json holds the settings, seeds and the digests
of weights and data that this model was made with.

{{ environment }}
"""


_RANDOM = "Random weights: nothing here says what a pretrained backbone would reach."


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What a card says beyond the scores."""

    backbone: str
    data_name: str
    frozen: int
    total: int
    budget: float
    classes: tuple[str, ...]
    files: Mapping[str, str]  # name → what it is
    int8_left_out: str  # why there is no int8 model; empty where there is
    folder: str
    views: int
    view_kind: str
    onnx_says: str
    training: str
    recipe: Mapping[str, Any]
    command: str
    random_init: bool
    environment: Mapping[str, str]
    test_images: int  # that there are; the scores may be of fewer, where the time allowed no more


def model_card(facts: CardFacts, scores: Scores) -> str:
    """The text of the card: front matter for machines, then sentences and tables for people."""
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    data = ModelCardData(
        base_model=None if facts.random_init else f"timm/{facts.backbone}",
        library_name="timm",
        pipeline_tag="image-classification",
        tags=["image-classification", "backbone-selector"],
        model_name=f"{facts.backbone} on {facts.data_name}",
        eval_results=[
            EvalResult(
                task_type="image-classification",
                dataset_type="local",
                dataset_name=facts.data_name,
                dataset_split="test",
                metric_type=name,
                metric_value=round(value, 4),
            )
            for name, value in _headline(scores).items()
        ],
    )
    card = ModelCard.from_template(
        data,
        template_str=_TEMPLATE,
        warning=f"**{_RANDOM}**\n\n" if facts.random_init else "",
        backbone=facts.backbone,
        data_name=facts.data_name,
        frozen=facts.frozen,
        total=facts.total,
        budget=f"{facts.budget:.0f}",
        classes=", ".join(facts.classes),
        images=scores.images,
        of_them="" if scores.images == facts.test_images else f", of {facts.test_images}: time allowed no more",
        score_rows="\n".join(_score_rows(scores)),
        class_rows="\n".join(_class_rows(scores)),
        files="\n".join(f"- `{name}`: {says}" for name, says in facts.files.items()),
        int8_left_out=f"\nThere is no int8 model: {facts.int8_left_out}.\n" if facts.int8_left_out else "",
        folder=facts.folder,
        views=facts.views,
        view_kind=facts.view_kind,
        onnx_says=facts.onnx_says,
        training=facts.training,
        recipe_rows="\n".join(f"| {name} | {value} |" for name, value in facts.recipe.items()),
        command=facts.command,
        environment="\n".join(f"- {name} {value}" for name, value in facts.environment.items()),
    )
    return str(card)


def _headline(scores: Scores) -> dict[str, float]:
    named = {"accuracy": scores.accuracy, "f1": scores.macro_f1, "roc_auc": scores.auc}
    return {name: score.value for name, score in named.items() if score.value is not None}


def _score_rows(scores: Scores) -> list[str]:
    n, k = len(scores.classes), scores.scored_classes
    over = "" if k == n else f", over {k} of {n} classes: the others have no test image"
    named = {
        "accuracy": scores.accuracy,
        f"macro-F1{over}": scores.macro_f1,
        f"AUC, one against the rest{over}": scores.auc,
        "calibration error": scores.calibration_error,
    }
    return [
        f"| {name} | {_number(score.value)} | {_number(score.low)} – {_number(score.high)} |"
        for name, score in named.items()
    ]


def _class_rows(scores: Scores) -> list[str]:
    return [
        f"| {_cell(c.name)} | {c.images} | {_with_interval(c.precision)} | {_with_interval(c.recall)} "
        f"| {_with_interval(c.f1)} |"
        for c in scores.classes
    ]


def _with_interval(score: Score) -> str:
    return _number(score.value) if score.value is None else f"{score.value:.3f} ({score.low:.2f} – {score.high:.2f})"


def _cell(text: str) -> str:
    """Text that does not end its cell of a table."""
    return text.replace("|", "\\|")


def _number(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"
