"""Refusals and what screening met, in Chinese: the sentences are those that the code itself makes."""

import re
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from sample_study import make_study

from selector.advisor import recommend
from selector.backbones import weights
from selector.decision.infeasible import NothingFeasible
from selector.decision.request import AskedLimits
from selector.errors import NoFeasibleCandidate, WeightsUnavailable
from selector.findings import SearchedInVain
from selector.profiling.forks import classify_exit
from selector.reporting.cited import told
from selector.reporting.document import refusal
from selector.reporting.study import study_view
from selector.tuning.info import DeployLimits, Screened, TuneRequest
from selector.tuning.search.budget import Budget
from selector.tuning.search.limits import HeldLimits
from selector.tuning.search.screening import Screening, _Pass


def english_left(sentence: str) -> list[str]:
    """Words of English in a row, outside of commands, paths and options."""
    bare = re.sub(r"`[^`]+`|/\S+", " ", sentence)
    return re.findall(r"\b[a-z]{2,} [a-z]{2,}\b", bare)


def refused(tmp_path: Path, hardware: str = "edge", **asked: object) -> NothingFeasible:
    with pytest.raises(NothingFeasible) as caught:
        recommend(hardware, 5000, store=tmp_path / "none.sqlite", **asked)  # type: ignore[arg-type]
    return caught.value


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (AskedLimits(latency_ms=8.0, accuracy=99.9), ("延迟不超过 8:排除", "准确率不低于 99.9:排除", "允许不超过 8")),
        (AskedLimits(artifact_mb=0.1), ("模型文件为", "允许不超过 0.1")),
        (AskedLimits(memory_mb=0.1), ("内存为", "(仅模型文件)")),
        (AskedLimits(latency_ms=0.01), ("(第 90 百分位数)",)),
    ],
)
def test_why_no_candidate_keeps_the_limits_is_said_in_chinese(
    tmp_path: Path, limits: AskedLimits, words: tuple[str, ...]
) -> None:
    error = refused(tmp_path, limits=limits)
    said = refusal(error, "zh")["why_none"]
    assert len(said) == len(str(error).splitlines())
    assert [english_left(line) for line in said] == [[]] * len(said)
    assert all(word in "".join(said) for word in words), said
    assert error.found.nearest[0].backbone in said[0]
    assert refusal(error, "en")["why_none"] == str(error).splitlines()


def test_what_estimates_and_unknown_latencies_are_held_to_is_said_in_chinese(tmp_path: Path) -> None:
    estimated = refused(tmp_path, limits=AskedLimits(latency_ms=1.0), backbones=("resnet50",))
    assert re.search(r"延迟为 \d+\.\d+\(其区间的上端\),允许不超过 1; 模型文件为", told(str(estimated), "zh"))
    asked = {"runtimes": ("tensorrt",), "limits": AskedLimits(latency_ms=5.0)}
    unknown = refused(tmp_path, hardware="nvidia-rtx-4090", **asked)
    assert "延迟在该处未知,而限制为 5" in told(str(unknown), "zh")
    nothing = NothingFeasible(replace(unknown.found, candidates=()))
    assert told(str(nothing), "zh").startswith("nvidia-rtx-4090 上没有符合这些运行时与精度的候选;它提供 ")


@pytest.mark.parametrize("views", [1, 4])
def test_a_refusal_after_a_search_names_study_and_model_in_chinese(tmp_path: Path, views: int) -> None:
    study = make_study(tmp_path)
    study = replace(study, winner=replace(study.winner, predict_views=views))
    error = SearchedInVain(refused(tmp_path, limits=AskedLimits(accuracy=99.9)).found, study)
    said = refusal(error, "zh", study=study)["why_none"]
    assert [english_left(line) for line in said] == [[]] * len(said)
    assert said[-1].startswith(f"训练所得没有丢失:研究 cells-1a2b3c 位于 {tmp_path};")
    assert said[-1].endswith(f"位于 {study.winner.folder}")
    assert ("4 个视图" in said[-1]) == (views == 4)


def test_the_limits_of_a_search_that_nothing_keeps_are_told_in_chinese() -> None:
    held = HeldLimits(DeployLimits(max_latency_ms=5.0, max_artifact_mb=1.0), {"resnet18@224": 17.0, "vgg16@224": 90.0})
    with pytest.raises(NoFeasibleCandidate) as caught:
        held.narrow(["vgg16", "resnet18"], lambda name: (224,))
    said = told(str(caught.value), "zh")
    assert said.startswith("vgg16, resnet18 都不满足限制;最接近的是 resnet18:延迟超出 12,模型文件超出 ")
    assert refusal(caught.value, "zh")["why_none"] == [said]


def screening_problems(tmp_path: Path) -> list[str]:
    """Everything of ours that screening says of a backbone that it could not screen."""
    screening = Screening(
        TuneRequest(tmp_path, 60, ("resnet18",)), Budget(60), lambda name: (224,), lambda says: None, lambda says: None
    )
    passes = [_Pass("resnet18", left_s=left, done=3, images=images) for left in (0.0, 90.0) for images in (0, 80)]
    ends = [classify_exit(code, None)[2] for code in (-signal.SIGKILL, -signal.SIGSEGV, 3)]
    with pytest.raises(WeightsUnavailable) as caught:
        weights.create("resnet18", weights=tmp_path)
    return [
        *map(screening._too_long, passes),
        *ends,
        f"its latency could not be measured: the worker process ended: {ends[0]}",
        "the kernel killed the process because memory ran out",
        "no time to screen it",
        str(caught.value),
    ]


def test_why_a_backbone_was_not_screened_is_said_in_chinese(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    study = make_study(tmp_path)
    for problem in screening_problems(tmp_path):
        unscreened = replace(study, screened=(Screened("resnet18", 224, None, None, 0.0, "none", problem),))
        (said,) = [s for s in study_view(unscreened, "zh").says if "未搜索 resnet18" in s]
        assert told(problem, "zh") in said
        assert told(problem, "zh") != problem
        places = re.sub(r"查找过.*?。请", "", said)  # where the hub's client looked, in its own words
        assert not english_left(places), said


def test_words_of_others_stay() -> None:
    assert told("RuntimeError: no such operator", "zh") == "RuntimeError: no such operator"
    assert told("its latency could not be measured: ValueError: x", "zh") == "无法测得其延迟:ValueError: x"
