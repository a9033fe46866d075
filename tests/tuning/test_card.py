from dataclasses import replace

import numpy as np

from selector.tuning.card import CardFacts, model_card
from selector.tuning.scores import score

CLASSES = ("完好", "可能|缺陷")
FACTS = CardFacts(
    backbone="tf_efficientnet_lite0",
    data_name="电池片",
    frozen=14,
    total=17,
    budget=120.0,
    classes=CLASSES,
    files={"model.onnx": "the network"},
    int8_left_out="",
    folder="模型",
    views=2,
    view_kind="flip",
    onnx_says="ONNX and torch give the same class to 9 of 9 test images.",
    training="Weights: one run.",
    recipe={"lr": 0.001},
    command="selector tune 电池片",
    random_init=False,
    environment={"python": "3.11"},
    test_images=40,
)


def card(facts: CardFacts) -> str:
    labels = np.arange(40) % 2
    probabilities = np.full((40, 2), 0.2)
    probabilities[np.arange(40), np.where(np.arange(40) < 8, 1 - labels, labels)] = 0.8
    return model_card(facts, score(probabilities, labels, CLASSES))


def test_a_card_holds_every_score_with_its_interval_and_how_to_do_it_again() -> None:
    text = card(FACTS)
    assert "base_model: timm/tf_efficientnet_lite0" in text
    assert "| accuracy | 0.800 | 0." in text
    (row,) = [line for line in text.splitlines() if line.startswith("| 可能")]
    assert row.startswith(r"| 可能\|缺陷 | 20 | 0.800 (0.")
    assert row.count("(") == 3
    assert "    selector tune 电池片\n" in text
    assert "Random weights" not in text


def test_a_card_says_that_weights_were_random() -> None:
    text = card(replace(FACTS, random_init=True))
    assert "**Random weights: nothing here says what a pretrained backbone would reach.**" in text
    assert "base_model" not in text


def test_a_card_says_why_there_is_no_int8_model() -> None:
    assert "int8" not in card(FACTS)
    text = card(replace(FACTS, int8_left_out="the job that was to make it was lost, killed"))
    assert "the network\n\nThere is no int8 model: the job that was to make it was lost, killed.\n\n## Use" in text


def test_a_card_says_where_not_all_test_images_were_looked_at() -> None:
    assert "## Scores on 40 test images that no choice was made on\n" in card(FACTS)
    text = card(replace(FACTS, test_images=90))
    assert "## Scores on 40 test images that no choice was made on, of 90: time allowed no more\n" in text


def test_a_card_says_over_how_many_classes_its_macro_f1_is() -> None:
    labels = np.zeros(9, dtype=np.int64)
    text = model_card(FACTS, score(np.tile([0.8, 0.2], (9, 1)), labels, CLASSES))
    assert "| macro-F1, over 1 of 2 classes: the others have no test image | 1.000 |" in text
    assert "macro-F1, over" not in card(FACTS)
