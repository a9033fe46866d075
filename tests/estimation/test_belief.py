"""What is believed of a configuration: priors, figures, intervals."""

from dataclasses import replace

import numpy as np
import pytest

from selector.estimation.belief import Belief, RatePrior
from selector.estimation.configuration import Configuration, Series, Subject
from selector.estimation.features import TERMS
from selector.estimation.fit import fit
from selector.estimation.kinship import Settings, correlation, relatedness
from selector.estimation.knowledge import Knowledge, as_json, from_json
from selector.estimation.physical import Promise, fit_rates, log_latency
from selector.estimation.plan import most_informative
from selector.estimation.residual import SharedResidual
from selector.estimation.specification import promise

BACKBONES = (
    "resnet18", "resnet50", "resnet101", "vgg11", "vgg16_bn", "mobilenetv2_050", "mobilenetv2_100",
    "mobilenetv3_large_100", "mobilenetv3_small_100", "efficientnet_b0", "efficientnet_b2", "efficientnet_lite0",
    "tf_efficientnet_b0", "tf_efficientnetv2_b0", "mobilenetv1_100", "resnet34",
)  # fmt: skip
SUBJECTS = tuple(Subject(b, r) for b in BACKBONES for r in (160, 224))
SETTINGS = Settings()
EVERYWHERE = {"gpu": SETTINGS, "x86": SETTINGS, "arm": SETTINGS}


def configuration(device: str, **other: str) -> Configuration:
    return Configuration(device, "board", other.get("runtime", "tflite"), "2.11", other.get("precision", "fp32"))


def promised(of: Configuration) -> Promise:
    return promise(of, {"cores": 4.0, "clock_ghz": 2.0})


def made_up(device: str, seed: int, *, noise: float = 0.01) -> Series:
    """A device whose true rates are a random few around a common mean."""
    rng = np.random.default_rng(seed)
    at = configuration(device)
    theta = 1.0 + 0.4 * rng.standard_normal(len(TERMS)) + 0.5 * rng.standard_normal()
    logs, _ = log_latency(promised(at).costs(SUBJECTS), theta)
    return Series(at, SUBJECTS, np.exp(logs + noise * rng.standard_normal(len(SUBJECTS))))


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    series = [made_up(f"board-{n}", n) for n in range(4)]
    return Knowledge(
        fit(series, {s.configuration: promised(s.configuration) for s in series}, EVERYWHERE), EVERYWHERE, {}
    )


def belief(knowledge: Knowledge, series: Series, given: list[int]) -> Belief:
    at = series.configuration
    prior, shared = knowledge.prior(at, promised(at)), knowledge.shared(at)
    return Belief(prior, shared, SETTINGS, [series.subjects[i] for i in given], series.logs[given])


def test_rates_are_found_again() -> None:
    series = made_up("board", 7, noise=0.0)
    costs = promised(series.configuration).costs(SUBJECTS)
    theta = fit_rates(costs, series.logs, np.ones(len(TERMS)), 0.01 * np.eye(len(TERMS)), 0.01)
    np.testing.assert_allclose(log_latency(costs, theta)[0], series.logs, atol=0.02)


def test_eight_figures_predict_the_rest_of_a_device(knowledge: Knowledge) -> None:
    series = made_up("new", 21)
    blind = belief(knowledge, series, [])
    given = most_informative(*blind.covariance(SUBJECTS), 8)
    means, deviations = belief(knowledge, series, given).predict(SUBJECTS)
    error = np.abs(np.exp(means - series.logs) - 1)
    before, wide = blind.predict(SUBJECTS)
    assert error.mean() < 0.05
    assert error.mean() < np.abs(np.exp(before - series.logs) - 1).mean()
    assert deviations.mean() < 0.3 * wide.mean()


def test_figures_of_its_own_are_believed(knowledge: Knowledge) -> None:
    series = made_up("new", 22)
    means, _ = belief(knowledge, series, [3, 11, 20]).predict([SUBJECTS[i] for i in (3, 11, 20)])
    np.testing.assert_allclose(means, series.logs[[3, 11, 20]], atol=0.06)


def test_an_erratic_device_shows_itself_by_its_wide_interval(knowledge: Knowledge) -> None:
    steady, erratic = made_up("new", 23), made_up("new", 23, noise=0.5)
    given = list(range(0, len(SUBJECTS), 3))
    rest = [s for i, s in enumerate(SUBJECTS) if i not in given]
    _, narrow = belief(knowledge, steady, given).predict(rest)
    _, wide = belief(knowledge, erratic, given).predict(rest)
    assert wide.mean() > 3 * narrow.mean()


def test_an_erratic_device_tells_others_little() -> None:
    at = configuration("new")
    steady, erratic = (made_up("board", 31, noise=n) for n in (0.01, 0.5))
    levels = []
    for other in (steady, erratic):
        fitted = fit([other], {other.configuration: promised(other.configuration)}, EVERYWHERE)
        prior = Knowledge(fitted, EVERYWHERE, {}).prior(at, promised(at))
        levels.append(np.diag(prior.covariance).mean())
    assert levels[1] > 1.2 * levels[0]


def test_a_backbone_that_relatives_find_slow_is_expected_slow() -> None:
    at, relative = configuration("new"), made_up("board-0", 0, noise=0.0)
    logs = relative.logs + 0.3 * np.array([s.backbone == "resnet50" for s in SUBJECTS])
    series = Series(relative.configuration, SUBJECTS, np.exp(logs))
    fitted = fit([series], {relative.configuration: promised(relative.configuration)}, EVERYWHERE)
    mean, _ = SharedResidual(at, [f.residuals for f in fitted], SETTINGS)([Subject("resnet50", 224), SUBJECTS[0]])
    assert mean[0] > 0.02
    assert mean[0] > mean[1]


def test_without_any_relative_the_prior_stands_alone() -> None:
    at = configuration("alone")
    empty = Knowledge((), EVERYWHERE, {})
    means, deviations = Belief(empty.prior(at, promised(at)), empty.shared(at), SETTINGS).predict(SUBJECTS)
    assert np.all(np.isfinite(means))
    assert np.all(deviations > 0.5)


def test_kin_is_nearer_in_every_respect() -> None:
    own = configuration("a")
    alike, other = configuration("b"), configuration("b", runtime="armnn")
    quantised = configuration("b", precision="int8-static")
    assert relatedness(own, alike, SETTINGS) == 1
    assert relatedness(own, other, SETTINGS) < relatedness(own, alike, SETTINGS) > relatedness(own, quantised, SETTINGS)
    assert relatedness(own, replace(alike, version="1.15"), SETTINGS) < relatedness(own, alike, SETTINGS)
    assert correlation(own, own, SETTINGS) == 1
    assert (
        correlation(own, other, SETTINGS) < correlation(own, quantised, SETTINGS) <= correlation(own, alike, SETTINGS)
    )


def test_knowledge_comes_back_from_plain_data(knowledge: Knowledge) -> None:
    again = from_json(as_json(knowledge))
    series = made_up("new", 24)
    here, _ = belief(knowledge, series, [0, 5, 9]).predict(SUBJECTS)
    there, _ = belief(again, series, [0, 5, 9]).predict(SUBJECTS)
    np.testing.assert_allclose(here, there, atol=2e-3)
    assert as_json(again) == as_json(from_json(as_json(again)))


def test_the_prior_is_positive_definite(knowledge: Knowledge) -> None:
    at = configuration("new")
    prior: RatePrior = knowledge.prior(at, promised(at))
    assert np.linalg.eigvalsh(prior.covariance).min() > 0
