"""Sources in Chinese: our own sentences are said, citations stay."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from selector.advisor import recommend
from selector.decision.answer import Answer
from selector.evidence.record import FreezePoint, Record
from selector.evidence.store import open_store
from selector.hardware.loading import load_profiles
from selector.profiling.jobs import InferenceJob, TrainingJob
from selector.profiling.machine_pace import TOO_FAR
from selector.profiling.machine_state import SLOWER_STATE
from selector.profiling.measurement import Measurement, OwnPace
from selector.profiling.pace import Sensitivity
from selector.profiling.results import ColdResult, Scribe, TrainingResult
from selector.reporting.cited import OWN, PREFIX, _patterns, cited, parts, recognised
from selector.reporting.sources import sources


@pytest.mark.parametrize(
    ("source", "chinese"),
    [
        ("batch 1", "批大小 1"),
        (
            "prior of published transfer studies for any images; ImageNet top-1 76.5 % (ra_in1k; a/b c.csv); armnn 22",
            "已发表迁移研究的先验,适用于任意图像; ImageNet top-1 76.5 %(ra_in1k; a/b c.csv); armnn 22",
        ),
        ("estimated: estimated from layers, rates and residuals of related devices | measured: batch 1",
         "估计:由各层估计,依据相近设备的速率与残差 | 实测:批大小 1"),
        ("A study of posix threads", "A study of posix threads"),
        ("mlcommons/inference_results_v2.1 open/x/log.txt", "mlcommons/inference_results_v2.1 open/x/log.txt"),
    ],
)  # fmt: skip
def test_our_own_sentences_are_said_and_citations_stay(source: str, chinese: str) -> None:
    assert cited(source, "zh") == chinese
    assert cited(source, "en") == source


def test_brackets_keep_a_part_together() -> None:
    assert parts("a (b; c); d; ") == ["a (b; c)", "d", ""]


def _measured_here() -> list[Record]:
    """What `selector profile` writes: latency that settled and that did not, load and memory, a training step."""
    settled = Measurement(10.0, 9.9, 10.1, 11.0, 70, 7, 20, True, None)
    unsettled = Measurement(10.0, 8.0, 12.0, None, 30, 3, 20, False, "the median's interval is wider than ±3.5%")
    sensitive = Sensitivity((0.4, -0.1), ((0.0, 0.0), (0.0, 0.0)))
    pace = OwnPace((0.1, 0.3), sensitive, 10.4, p90_as_timed=11.5, reference=(0.09, 0.25), state=(0.24,))
    at_pace = replace(settled, pace=pace)
    too_far = replace(at_pace, stable=False, reason=f"{TOO_FAR} (1.11 and 1.20 times it)")
    other_state = replace(at_pace, stable=False, reason=f"{SLOWER_STATE} (1.63 times)")
    left_out = replace(settled, disturbed=2, slower=3, slower_times=1.6)
    rare = replace(left_out, stable=False, reason="20 of 30 windows took 1.60 times as long as the rest")
    job = InferenceJob("resnet18", "onnxruntime", "fp32", 224, 2)
    step = TrainingJob("resnet18", FreezePoint("head", 9, 9), "fp32", 224, 2, 8)
    crowded = replace(unsettled, reason="other work or the hypervisor took 12% of its processors")
    cold = ColdResult(100.0, 20.0, 10**8, 10**7, agreement_top1=98.0, cosine_logits=0.99, build_ms=10.0)
    scribe = Scribe("0123456789ab")
    return [
        *scribe.records(job, "1.0", settled),
        *scribe.records(InferenceJob("resnet34", "onnxruntime", "fp32", 224, 2), "1.0", unsettled),
        *scribe.records(InferenceJob("resnet50", "onnxruntime", "fp32", 224, 2), "1.0", at_pace),
        *scribe.records(InferenceJob("resnet50", "torch-eager", "fp32", 224, 2), "1.0", at_pace),
        *scribe.records(InferenceJob("resnet18", "openvino", "fp32", 224, 2), "1.0", left_out),
        *scribe.records(InferenceJob("resnet34", "openvino", "fp32", 224, 2), "1.0", rare),
        *scribe.records(InferenceJob("vgg13", "openvino", "fp32", 224, 2), "1.0", other_state),
        *scribe.records(InferenceJob("vgg16", "onnxruntime", "fp32", 224, 2), "1.0", too_far),
        *scribe.records(InferenceJob("vgg11", "openvino", "fp32", 224, 2), "1.0", crowded),
        *scribe.records(job, "1.0", cold),
        *scribe.records(step, "2.0", TrainingResult(settled, 1.0, 10**6, 10**8)),
    ]


@pytest.mark.parametrize("hardware", ["edge", "gpu", "cpu", "mobile", "local"])
def test_every_sentence_of_ours_in_an_answer_is_recognised(hardware: str, tmp_path: Path) -> None:
    store = tmp_path / "evidence.sqlite"
    with open_store(store) as opened:
        opened.add(_measured_here())
    answer = recommend(hardware, 5000, classes=10, domain="natural", store=store)
    left = {part for source in _sources(answer) for part in _unrecognised(source)}
    assert not left, "no citation, so say it in reports/templates/words/*/source.toml"


def test_every_sentence_of_ours_in_the_shipped_profiles_is_recognised() -> None:
    published = {f.source for profile in load_profiles().values() for f in profile.published}
    assert not {part for source in published for part in _unrecognised(source)}


def _sources(answer: Answer) -> list[str]:
    used = [use.source for use in sources(answer).uses]
    return [*used, *(c.source for c in answer.claims), *(cell.source for cell in answer.document_table)]


def _unrecognised(source: str) -> list[str]:
    """Parts that are neither a sentence of ours nor a citation: a path, a runtime with its version."""
    found = []
    for part in (p for each in source.split(" | ") for p in parts(each)):
        inner = re.sub(r"^(measured|published|estimated): ", "", part)
        citation = "/" in inner or re.fullmatch(r"[\w.-]+ ?[\w.+-]*", inner)
        if (key := recognised(inner)) is None:
            found += [] if citation else [inner]
        else:
            found += [left for own in _own_gaps(key, inner) for left in _unrecognised(own)]
    return found


def _own_gaps(key: str, part: str) -> list[str]:
    """What stands in those gaps of a sentence that hold other sentences of ours."""
    (pattern,) = (pattern for other, pattern in _patterns(PREFIX) if other == key)
    match = pattern.fullmatch(part)
    assert match is not None
    return [text for gap, text in match.groupdict().items() if gap.startswith(OWN)]
