"""What is expected of a configuration from its relatives, and how wide intervals have to be."""

import numpy as np

from selector.estimation.configuration import Configuration, Subject
from selector.estimation.features import TERMS
from selector.estimation.kinship import CPU, GPU, relatedness
from selector.estimation.knowledge import Fitted, rate_prior
from selector.estimation.leave_out import Prediction, widening
from selector.estimation.physical import Promise
from selector.estimation.residual import Residuals

NAMES = [name for name, _ in TERMS]
PROMISE = Promise(100.0, 10.0, 0.02, 4)


def test_dense_convolutions_that_nobody_knows_run_at_the_rate_of_pointwise_ones() -> None:
    target = Configuration("new", "board", "tflite", "2.11", "fp32")
    ignorant = _fitted("other", "tflite", pointwise=-0.5, known=("pointwise", "stem"))
    prior = rate_prior(target, PROMISE, [ignorant], CPU)
    dense, pointwise = NAMES.index("dense"), NAMES.index("pointwise")
    assert abs(prior.mean[dense] - prior.mean[pointwise]) < 0.1
    deviations = np.sqrt(np.diag(prior.covariance))
    assert prior.covariance[dense, pointwise] / deviations[dense] / deviations[pointwise] > 0.4
    assert np.linalg.eigvalsh(prior.covariance).min() > 0
    expert = _fitted("other", "tflite", pointwise=-0.5, known=("pointwise", "dense"))
    assert abs(rate_prior(target, PROMISE, [expert], CPU).mean[dense]) < 0.1  # its own rate, which is 0


def test_pytorchs_runtimes_share_their_arithmetic() -> None:
    eager, compiled, other = (Configuration("new", "gpu", r, "", "fp16") for r in ("torch-eager", "torch-compile", "x"))
    assert relatedness(eager, compiled, GPU, arithmetic=True) > relatedness(eager, compiled, GPU)
    assert relatedness(eager, other, GPU, arithmetic=True) == relatedness(eager, other, GPU)


def test_few_devices_ask_for_wider_intervals_where_a_level_is_one_draw() -> None:
    few, many = ([_prediction(f"device-{n}", 1.0) for n in range(count)] for count in (2, 20))
    narrow, wide = widening(many, many)["arm"], widening(few, few)["arm"]
    assert wide["0"] > narrow["0"] > narrow["8"]
    assert wide["8"] == narrow["8"]  # with figures of its own, a device tells its level


def test_groups_of_devices_count_alike_for_one_that_has_few() -> None:
    boards = [_prediction(f"board-{n}", 4.0) for n in range(20)]
    cards = [_prediction("card", 1.0, kind="gpu")]
    table = widening([*boards, *cards], [*boards, *cards])
    assert table["gpu"]["8"] < 0.6 * table["arm"]["8"]
    assert table["x86"]["8"] > table["gpu"]["8"]  # of which nothing is known: the mean of the others


def _fitted(device: str, runtime: str, *, pointwise: float, known: tuple[str, ...]) -> Fitted:
    configuration = Configuration(device, "board", runtime, "2.11", "fp32")
    theta = np.where(np.array(NAMES) == "pointwise", pointwise, 0.0)
    information = np.where(np.isin(NAMES, known), 1000.0, 0.01)
    return Fitted(theta, information, Residuals(configuration, (Subject("resnet18", 224),), np.zeros(1)))


def _prediction(device: str, error: float, *, kind: str = "board") -> Prediction:
    subjects = (Subject("resnet18", 224), Subject("resnet50", 224))
    configuration = Configuration(device, kind, "tflite", "2.11", "fp32")
    return Prediction(configuration, (), subjects, np.full(2, error), np.zeros(2), np.ones(2))
