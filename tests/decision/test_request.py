import pytest
from decision_samples import device

from selector.decision.request import AskedLimits, Hardware, check
from selector.errors import InvalidInput
from selector.hardware.profiles import Limits

BOARD = device(
    offers=(("tflite", ("fp32", "int8-static")),), limits=Limits(latency_ms=100.0, artifact_mb=25.0, why="w")
)
HARDWARE = Hardware(BOARD, BOARD)


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        check(
            "bord",
            HARDWARE,
            0,
            classes=1,
            domain="cats",
            limits=AskedLimits(latency_ms=0.0, artifact_mb=-1.0, memory_mb=float("nan"), accuracy=101.0),
            runtimes=["tflight"],
            backbones=["resnet5"],
            seed=-1,
            faults=["no hardware 'bord'"],
        )
    told = "\n".join(caught.value.faults)
    for word in (
        *("'bord'", "--data-size", "--classes", "fine-grained", "--max-latency-ms", "--max-artifact-mb"),
        *("--max-memory-mb", "--min-accuracy", "it offers: tflite", "'resnet50'", "--seed"),
    ):
        assert word in told
    assert len(caught.value.faults) == 11


def test_a_precision_that_the_runtime_does_not_offer_is_refused() -> None:
    with pytest.raises(InvalidInput, match="int8-static"):
        check("board", HARDWARE, 10, precisions=["int8"])


def test_more_classes_than_images_are_refused() -> None:
    with pytest.raises(InvalidInput, match="each class needs one image"):
        check("board", HARDWARE, 10, classes=11)


def test_one_image_is_no_classification() -> None:
    with pytest.raises(InvalidInput, match="2 classes at least"):
        check("board", HARDWARE, 1)
    assert check("board", HARDWARE, 2).data_size == 2


def test_a_wrong_runtime_does_not_hide_a_wrong_precision() -> None:
    for runtimes, hardware in ((["tflight"], HARDWARE), (["tflight"], None), (["tflite", "tflight"], HARDWARE)):
        with pytest.raises(InvalidInput) as caught:
            check("board", hardware, 10, runtimes=runtimes, precisions=["fp23"])
        runtime, precision = caught.value.faults
        assert "no runtime 'tflight'" in runtime
        assert runtime.endswith("did you mean 'tflite'?")
        assert "no precision 'fp23'" in precision
        assert precision.endswith("did you mean 'fp32'?")


def test_a_limit_of_the_user_replaces_the_default_and_says_so() -> None:
    limits = check("board", HARDWARE, 10, limits=AskedLimits(latency_ms=7.0, accuracy=80.0)).limits
    assert [(limit.name, limit.bound, limit.sense, limit.origin.key) for limit in limits] == [
        ("latency_ms", 7.0, "at most", "limit.asked"),
        ("artifact_mb", 25.0, "at most", "limit.device"),
        ("accuracy", 80.0, "at least", "limit.asked"),
    ]


def test_a_class_offers_what_its_reference_offers_too() -> None:
    reference = device(offers=(("tflite", ("fp32",)), ("armnn", ("fp32",))))
    both = Hardware(device(offers=(("tflite", ("fp32", "fp16")), ("openvino", ("fp32",)))), reference)
    assert both.offers == {"tflite": ("fp32",)}
    assert Hardware(device(offers=()), reference).offers == {"tflite": ("fp32",), "armnn": ("fp32",)}
