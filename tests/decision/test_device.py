from decision_samples import device, published, record

from selector.decision.device import Configuration, DeviceEvidence, held, macs
from selector.evidence.record import Provenance

RESNET50 = Configuration("resnet50", 224, "tflite", "fp32")


def test_a_published_figure_of_the_very_configuration_is_used_as_it_is() -> None:
    evidence = DeviceEvidence(device(published("resnet50", 289.0), published("resnet18", 120.0)))
    latency = evidence.latency(RESNET50)
    assert latency is not None
    assert (latency.p50.value, latency.p50.provenance) == (289.0, Provenance.PUBLISHED)
    assert "paper on resnet50" in latency.p50.source


def test_measured_beats_published_and_the_other_is_shown_as_a_conflict() -> None:
    evidence = DeviceEvidence(device(published("resnet50", 289.0)), [record("latency_ms_p50", 200.0, "resnet50")])
    latency = evidence.latency(RESNET50)
    assert latency is not None
    assert (latency.p50.value, latency.p50.provenance) == (200.0, Provenance.MEASURED)
    assert [c.values["value"] for c in latency.conflicts] == [289.0]


def test_the_newest_runtime_version_wins() -> None:
    evidence = DeviceEvidence(
        device(
            published("resnet50", 553.0, version="2.11"),
            published("resnet50", 1890.0, version="1.15"),
            published("resnet50", 600.0, version="2.2"),
        )
    )
    latency = evidence.latency(RESNET50)
    assert latency is not None
    assert latency.p50.value == 553.0
    assert [c.values["value"] for c in latency.conflicts] == [1890.0]


def test_measurements_with_the_most_threads_stand() -> None:
    slow = record("latency_ms_p50", 9.0, "resnet50", threads=1, minute=5)
    fast = record("latency_ms_p50", 5.0, "resnet50", threads=2, minute=1)
    latency = DeviceEvidence(device(), [slow, fast]).latency(RESNET50)
    assert latency is not None
    assert latency.p50.value == 5.0
    assert "2 threads" in latency.p50.source


def test_estimates_of_the_store_are_not_taken_for_evidence() -> None:
    stale = record("latency_ms_p50", 1.0, "resnet50", provenance=Provenance.ESTIMATED)
    latency = DeviceEvidence(device(), [stale]).latency(RESNET50)
    assert latency is not None
    assert latency.p50.value != 1.0
    assert "no figure of this device" in latency.p50.source  # made anew, from the specification alone


def test_a_runtime_without_figures_is_estimated_widely_and_not_known() -> None:
    evidence = DeviceEvidence(device(published("resnet50", 289.0)))
    latency = evidence.latency(Configuration("resnet50", 224, "openvino", "fp32"))
    assert latency is not None
    assert latency.p50.low is not None
    assert latency.p50.high is not None
    assert latency.p50.high > 3 * latency.p50.low
    assert evidence.knows("tflite", "fp32")
    assert not evidence.knows("tflite", "int8-static")


def test_time_per_sample_is_no_latency() -> None:
    figures = [
        published(name, 1.0, metric="ms_per_sample", batch_size=256, runtime="torch-eager")
        for name in ("resnet18", "resnet50")
    ]
    evidence = DeviceEvidence(device(*figures, kind="gpu"))
    configuration = Configuration("resnet50", 224, "torch-eager", "fp32")
    latency, in_batch = evidence.latency(configuration), evidence.per_sample(configuration)
    assert in_batch is not None
    assert in_batch.value == 1.0
    assert latency is not None
    assert latency.p50.provenance is Provenance.ESTIMATED
    assert latency.p50.value > 1.0
    assert "what a launch costs at batch 1" in latency.p50.source


def test_limits_are_held_against_the_p90_bound_or_the_upper_end_of_an_estimate() -> None:
    both = [published("resnet50", 289.0), published("resnet50", 310.0, metric="latency_ms_p90")]
    known = DeviceEvidence(device(*both)).latency(RESNET50)
    assert known is not None
    assert (held(known).value, held(known).metric.name) == (310.0, "latency_ms_p90")
    median_only = DeviceEvidence(device(both[0])).latency(RESNET50)
    assert median_only is not None
    assert held(median_only).value == 289.0
    estimate = DeviceEvidence(device(both[0])).latency(Configuration("resnet34", 224, "tflite", "fp32"))
    assert estimate is not None
    assert estimate.p50.high is not None
    assert held(estimate).value == estimate.p50.high > estimate.p50.value


def test_a_p90_of_another_origin_is_not_borrowed() -> None:
    mixed = [published("resnet50", 289.0), published("resnet50", 310.0, metric="latency_ms_p90", version="2.12")]
    latency = DeviceEvidence(device(*mixed)).latency(RESNET50)
    assert latency is not None
    assert latency.p90 is None


def test_macs_follow_the_resolution() -> None:
    assert 3.5 < macs("mobilenetv2_100", 224) / macs("mobilenetv2_100", 112) < 4.1


def test_mixed_precision_is_a_precision_like_any() -> None:
    mixed = record("latency_ms_p50", 20.0, "resnet18", runtime="torch-eager", precision="amp")
    evidence = DeviceEvidence(device(kind="x86-cpu"), [mixed])
    assert evidence.knows("torch-eager", "amp")
    assert not evidence.knows("torch-eager", "fp32")
    known = evidence.latency(Configuration("resnet18", 224, "torch-eager", "amp"))
    other = evidence.latency(Configuration("resnet34", 224, "torch-eager", "amp"))
    assert known is not None
    assert (known.p50.value, known.p50.provenance) == (20.0, Provenance.MEASURED)
    assert other is not None
    assert other.p50.provenance is Provenance.ESTIMATED
    assert 25.0 < other.p50.value < 50.0  # twice the layers
