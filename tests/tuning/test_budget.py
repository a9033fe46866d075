import pytest

from selector.tuning.recipe import Recipe
from selector.tuning.search.budget import RETRAINING_SHARE, Reserve, faster_alone, finishing_seconds
from selector.tuning.search.pace import Pace

from .conftest import BACKBONE


def test_three_retrainings_are_kept_back_as_far_as_their_share_goes() -> None:
    assert Reserve(20.0, 6.0, 4.0, 50.0).total_s(1200.0) == pytest.approx(20 + 10 + 3 * 50)
    assert Reserve(20.0, 6.0, 4.0, 50.0).total_s(300.0) == pytest.approx(20 + 10 + 2 * 50)
    assert Reserve(20.0, 6.0, 4.0, 500.0).total_s(300.0) == pytest.approx(20 + 10 + RETRAINING_SHARE * 300)
    assert Reserve(20.0, 6.0, 4.0, 0.0).total_s(300.0) == pytest.approx(30)


def test_parity_and_the_int8_model_give_way_in_a_short_budget() -> None:
    reserve = Reserve(20.0, 14.0, 20.0, 0.0)  # parity takes 10 s more than the slack of 4
    assert reserve.after_training_s(70.0) == pytest.approx(24)
    assert reserve.after_training_s(96.0) == pytest.approx(24 + 10)  # no room for int8, and some for the other
    assert reserve.after_training_s(100.0) == pytest.approx(24 + 20)
    assert reserve.after_training_s(120.0) == pytest.approx(24 + 20 + 10)
    assert Reserve(20.0, 14.0, 90.0, 0.0).after_training_s(120.0) == pytest.approx(24 + 10)


def test_seeds_beyond_what_is_wanted_leave_room_for_parity_and_an_int8_model_that_is_kept_for() -> None:
    reserve = Reserve(20.0, 14.0, 20.0, 0.0)
    assert reserve.after_more_training_s(50.0) == pytest.approx(24 + 10)
    assert reserve.after_more_training_s(100.0) == pytest.approx(24 + 20 + 10)
    assert reserve.after_more_training_s(100.0) > reserve.after_training_s(100.0)


def test_a_run_alone_is_taken_to_be_faster_but_not_by_all_the_cores_that_it_gains() -> None:
    assert faster_alone(1) == 1
    assert 1 < faster_alone(2) < 2
    assert faster_alone(2) < faster_alone(8) < 8


def test_finishing_grows_with_test_images_and_views() -> None:
    few = finishing_seconds(image_s=0.006, test_images=100, views=1, train_images=400, start_s=1.0)
    many = finishing_seconds(image_s=0.006, test_images=1000, views=8, train_images=400, start_s=1.0)
    assert all(a < b for a, b in zip(few, many, strict=True))


def test_large_photographs_take_their_reading_however_small_the_network_and_whatever_was_learnt() -> None:
    slow = Pace(images=1000, train_images=800, read_image_s=0.04)
    assert slow.image_seconds(BACKBONE, 224) > 0.04  # nothing was cached in this run
    quick = Pace(images=1000, train_images=800)
    assert quick.image_seconds(BACKBONE, 224) < 0.02
    for pace in (slow, quick):
        pace.learn_fill(Recipe(BACKBONE, freeze="head", resolution=224), 1, 100.0, setup=4.0)  # 0.1 s an image
    assert slow.image_seconds(BACKBONE, 224) == quick.image_seconds(BACKBONE, 224) > 0.1  # reading is in it


def test_pace_predicts_what_it_has_measured_and_scales_the_rest() -> None:
    pace = Pace(images=1000, train_images=800)
    head = Recipe(BACKBONE, freeze="head", resolution=224)
    pace.learn_fill(head, 1, 10.0, setup=4.0)
    pace.learn_start(1.0)
    assert pace.fill_seconds(head, 2) == pytest.approx(1 + 4 + 20, rel=0.1)
    larger = Recipe(BACKBONE, freeze="head", resolution=320)
    assert pace.fill_seconds(larger, 1) == pytest.approx(5 + 10 * (320 / 224) ** 2, rel=0.15)
    last, deeper = Recipe(BACKBONE, freeze="last-1"), Recipe(BACKBONE, freeze="last-5")
    pace.learn_train(last, 0.113, 32, cached=True)
    assert pace.epoch_seconds(last, cached=True) == pytest.approx(800 * 0.113 / 32 * 1.15)
    assert pace.epoch_seconds(deeper, cached=True) > 1.5 * pace.epoch_seconds(last, cached=True)
    assert pace.epoch_seconds(last, cached=False) > pace.epoch_seconds(last, cached=True)
