from dataclasses import replace

import optuna
import pytest

from selector.tuning.model import WeightsFrom, build
from selector.tuning.recipe import Recipe
from selector.tuning.search.space import SearchSpace, sampler

SPACE = SearchSpace(
    ("resnet50", "vgg16"), ("head", "last-1", "last-5"), (224, 288), ("none", "flip", "dihedral", "document"), 4, 32
)


@pytest.mark.parametrize(
    "space", [SPACE, replace(SPACE, freezes=("none",)), replace(SPACE, freezes=("80%",), augmentations=("none",))]
)
@pytest.mark.parametrize("budget_s", [60.0, 1200.0])
def test_every_first_trial_lies_in_the_space(space: SearchSpace, budget_s: float) -> None:
    study = optuna.create_study(direction="maximize", sampler=sampler(0))
    first = space.first_trials(["vgg16", "resnet50"], images_per_class=50, imbalance=5, budget_s=budget_s)
    for origin, params in first:
        study.enqueue_trial(params, {"origin": origin})
    for origin, params in first:
        trial = study.ask(space.distributions())
        assert trial.params == params
        assert trial.user_attrs["origin"] == origin
        assert isinstance(space.recipe(trial.params, 0), Recipe)
        study.tell(trial, 0.5)


def test_the_documents_two_modes_are_among_the_first_trials_as_it_states_them() -> None:
    space = replace(SPACE, freezes=("head", "80%", "last-3"))
    first = dict(space.first_trials(["resnet50"], images_per_class=50, imbalance=5, budget_s=1200))
    assert first["document-P1"]["freeze"] == "80%"
    assert (first["document-P1"]["optimiser"], first["document-P1"]["lr"]) == ("sgd", 0.01)
    assert first["document-P1"]["linear_scaling"]
    assert (first["document-P2"]["freeze"], first["document-P2"]["lr"]) == ("last-3", 1e-4)
    for params in (first["document-P1"], first["document-P2"]):
        assert (params["head_factor"], params["label_smoothing"], params["dropout"]) == (10.0, 0.1, 0.3)
        assert (params["augmentation"], params["strength"], params["class_weights"]) == ("document", 1.0, "balanced")


def test_a_document_mode_that_the_space_lacks_is_not_called_the_documents() -> None:
    heads = replace(SPACE, freezes=("head",))
    first = dict(heads.first_trials(["resnet50"], images_per_class=50, imbalance=5, budget_s=1200))
    assert "document-P1" not in first
    assert first["document-P1, adapted"]["freeze"] == first["document-P2, adapted"]["freeze"] == "head"
    some = replace(SPACE, freezes=("head", "last-3"))
    first = dict(some.first_trials(["resnet50"], images_per_class=50, imbalance=5, budget_s=1200))
    assert {origin for origin in first if origin.startswith("document")} == {"document-P1, adapted", "document-P2"}


def test_a_vgg_is_said_to_train_with_the_dropout_that_its_head_has() -> None:
    (_, params), *_ = SPACE.first_trials(["vgg16"], images_per_class=50, imbalance=5, budget_s=1200)
    sampled = {**params, "dropout": 0.1}
    recipe = SPACE.recipe(sampled, 0)
    model = build("vgg16", 4, WeightsFrom(random_init=True), dropout=recipe.dropout)
    assert recipe.dropout == model.head.drop.p == 0.5
    assert SPACE.recipe({**sampled, "backbone": "resnet50"}, 0).dropout == 0.1


def test_what_is_stored_with_the_study_is_read_back() -> None:
    stored = {name: getattr(SPACE, name) for name in SearchSpace.__dataclass_fields__}
    assert SearchSpace.from_json(stored) == SPACE


def test_blocks_are_not_held_against_heads() -> None:
    head, block = Recipe("vgg16", freeze="head"), Recipe("vgg16", freeze="last-1")
    assert not SPACE.may_be_pruned(head)
    assert SPACE.may_be_pruned(block)
    assert replace(SPACE, freezes=("head",)).may_be_pruned(head)


def test_few_images_a_class_make_the_rules_careful() -> None:
    asked = [(20, 1), (5000, 9)]
    few, many = (
        dict(SPACE.first_trials(["vgg16"], images_per_class=n, imbalance=i, budget_s=1200))["rule-based"]
        for n, i in asked
    )
    assert few["class_weights"] == "none"
    assert many["class_weights"] == "sqrt"
    assert many["augmentation"] == "document"


def test_what_screening_has_cached_is_trained_before_anything_is_waited_for() -> None:
    for budget_s in (300.0, 1200.0):
        first = SPACE.first_trials(["vgg16"], images_per_class=50, imbalance=5, budget_s=budget_s)
        assert [(p["freeze"], p["augmentation"]) for _, p in first[:2]] == [("head", "none"), ("last-1", "none")]
        assert all(p["augmentation"] != "none" for _, p in first[2:])


def test_two_minutes_are_for_heads() -> None:
    first = SPACE.first_trials(["vgg16"], images_per_class=50, imbalance=5, budget_s=120.0)
    assert first[0][1]["freeze"] == "head"
    assert "last-1" not in {p["freeze"] for _, p in first}


def test_pictures_without_an_upright_side_are_turned_from_the_first_trial_on() -> None:
    asked = {"images_per_class": 50.0, "imbalance": 1.0, "budget_s": 1200.0}
    for upright, augmentation in ((None, "flip"), (True, "flip"), (False, "dihedral")):
        first = dict(SPACE.first_trials(["vgg16"], upright=upright, **asked))
        assert first["rule-based"]["augmentation"] == augmentation
    assert ("rule-based, dihedral" in first) is False
    assert "rule-based, dihedral" in dict(SPACE.first_trials(["vgg16"], upright=None, **asked))
