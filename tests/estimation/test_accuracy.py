import numpy as np
import pytest

from selector.estimation.accuracy import (
    Setup,
    Task,
    accuracy_draws,
    assumption,
    domains,
    log_odds,
    published,
    top1_slope,
)


def setup(top1: float | None = 76.13, frozen: float = 0.0, *, name: str = "resnet50", resolution: float = 1.0) -> Setup:
    return Setup(name, top1, 74.0, resolution, frozen)


def means(*setups: Setup, task: Task, seed: int = 0) -> list[float]:
    return [float(m) for m in accuracy_draws(setups, task, seed=seed).mean(axis=1)]


def test_every_figure_and_every_assumption_says_where_it_comes_from() -> None:
    assert all(figure.source and 0 < figure.accuracy < 100 for figure in published())
    for name in ("zone_points", "source_sd", "partial_exponent", "resolution_log_odds", "gap_per_log_images"):
        assert assumption(name) is not None


def test_gaps_are_pairs_within_one_source() -> None:
    protocols: dict[tuple[str, str, str], set[str]] = {}
    for figure in published():
        if figure.role == "gap":
            protocols.setdefault((figure.source, figure.dataset, figure.model), set()).add(figure.protocol)
    assert protocols
    assert all(found == {"finetune", "linear"} for found in protocols.values())


def test_imagenet_order_carries_over_with_a_positive_slope() -> None:
    fitted = top1_slope()
    assert all(slope > 0 for slope in fitted.slopes)
    assert 0.05 < fitted.residual_sd < 0.3
    low, high = means(setup(70.0, name="a"), setup(82.0, name="b"), task=Task(5000, 10))
    assert high > low + 2


def test_what_freezing_costs_is_set_by_the_domain_more_than_by_the_number_of_images() -> None:
    def cost(task: Task) -> float:
        tuned, probed = means(setup(), setup(frozen=1.0), task=task)
        return tuned - probed

    fine, natural = cost(Task(5000, 50, "fine-grained")), cost(Task(5000, 50, "natural"))
    assert fine > natural + 3
    assert abs(cost(Task(5000, 50, "natural")) - cost(Task(2500, 50, "natural"))) < fine - natural


def test_few_images_a_class_favour_freezing() -> None:
    def odds_of_the_probe(data_size: int) -> float:
        draws = accuracy_draws([setup(), setup(frozen=1.0)], Task(data_size, 50, "natural"), seed=0)
        return float((draws[1] > draws[0]).mean())

    assert odds_of_the_probe(150) > odds_of_the_probe(50_000)


def test_a_depth_between_lies_between() -> None:
    tuned, partly, probed = means(setup(), setup(frozen=0.8), setup(frozen=1.0), task=Task(5000, 50, "fine-grained"))
    assert probed < partly < tuned


def test_more_images_and_smaller_images() -> None:
    few, many = (means(setup(), task=Task(n, 100, "fine-grained"))[0] for n in (1000, 10_000))
    assert many > few + 5
    large, small = means(setup(), setup(resolution=0.5), task=Task(5000, 10))
    assert large > small + 1


def test_the_level_is_uncertain_and_the_differences_less() -> None:
    draws = accuracy_draws([setup(name="a"), setup(80.0, name="b")], Task(5000, 10), seed=0)
    level = np.quantile(draws[0], 0.9) - np.quantile(draws[0], 0.1)
    difference = np.quantile(draws[1] - draws[0], 0.9) - np.quantile(draws[1] - draws[0], 0.1)
    assert level > 2 * difference


def test_the_same_seed_gives_a_backbone_the_same_draws_in_any_company() -> None:
    task = Task(5000, 10)
    alone = accuracy_draws([setup()], task, seed=3)
    among = accuracy_draws([setup(name="other"), setup()], task, seed=3)
    assert np.array_equal(alone[0], among[1])
    assert not np.array_equal(alone, accuracy_draws([setup()], task, seed=4))


def test_never_below_chance() -> None:
    draws = accuracy_draws([setup(55.0, frozen=1.0)], Task(4, 2), seed=0)
    assert draws.min() >= 50.0
    assert draws.max() <= 100.0


def test_an_unknown_top1_is_the_familys_median_with_more_doubt() -> None:
    known, unknown = accuracy_draws([setup(74.0, name="x"), setup(None, name="x")], Task(5000, 10), seed=0)
    assert known.mean() == pytest.approx(unknown.mean(), abs=1.5)
    assert (log_odds(unknown) - log_odds(known)).std() > 0.2


def test_industrial_images_have_no_published_study() -> None:
    assert domains()["industrial"].datasets == ()
    same = accuracy_draws([setup()], Task(5000, 10, "industrial"), seed=0)
    assert np.array_equal(same, accuracy_draws([setup()], Task(5000, 10), seed=0))
    assert set(domains()) == {"fine-grained", "industrial", "medical", "natural", "remote-sensing", "texture"}
