import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from selector.advisor import compare, recommend
from selector.backbones.catalog import Family
from selector.decision.answer import Answer
from selector.decision.request import AskedLimits, command_of
from selector.errors import InvalidInput, NoFeasibleCandidate
from selector.evidence.record import Conditions, FreezePoint, Provenance, Record
from selector.evidence.store import open_store


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SELECTOR_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SELECTOR_STORE", raising=False)
    monkeypatch.delenv("SELECTOR_HARDWARE_PROFILES", raising=False)


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Answer:
    return recommend("edge", 5000, store=tmp_path_factory.mktemp("store") / "none.sqlite")


def _without_store(answer: Answer) -> Answer:
    """The answer with commands that do not name the store."""
    steps = (replace(step, command=re.sub(r" --store \S+", "", step.command)) for step in answer.next_measurements)
    command = re.sub(r" --store \S+", "", answer.command)
    return replace(answer, command=command, next_measurements=tuple(steps))


def measured(
    metric: str, value: float, backbone: str, *, batch_size: int = 1, freeze: FreezePoint | None = None
) -> Record:
    conditions = Conditions(backbone, "local", "onnxruntime", "1.20", "fp32", 224, batch_size, 2, freeze)
    return Record.of(
        metric,
        value,
        conditions,
        provenance=Provenance.MEASURED,
        source="protocol 1",
        low=0.98 * value,
        high=1.02 * value,
        n=100,
        stable=True,
        fingerprint="0123456789ab",
        protocol="1",
        recorded_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def test_the_recommendation_is_feasible_and_leads_the_candidates(edge: Answer) -> None:
    chosen = edge.recommendation.candidate
    assert chosen is edge.candidates[0]
    assert chosen.feasible
    assert chosen.tied
    assert edge.reference.name == edge.profile.reference_devices[0]
    feasible = [c.feasible for c in edge.candidates]
    assert feasible == sorted(feasible, reverse=True)
    assert True in feasible
    assert False in feasible


def test_it_is_the_cheapest_of_those_that_cannot_be_told_apart(edge: Answer) -> None:
    tied = [c for c in edge.candidates if c.tied]
    assert len(tied) > 1
    latencies = [c.latency.value for c in tied if c.latency is not None]
    chosen = edge.recommendation.candidate.latency
    assert chosen is not None
    assert chosen.value == min(latencies)


def test_odds_sum_to_one_and_no_figure_lacks_a_source(edge: Answer) -> None:
    assert sum(c.probability_best or 0.0 for c in edge.candidates) == pytest.approx(1.0)
    for c in edge.candidates:
        for figure in (c.accuracy, c.latency, c.artifact, c.memory, c.train_seconds):
            assert figure is None or figure.source
    assert all(v.figure is not None for c in edge.candidates for v in c.violations if v.limit.name != "latency_ms")


def test_what_is_published_for_the_reference_is_used(edge: Answer) -> None:
    known = {
        (p.backbone, p.resolution, p.runtime, p.precision, p.value)
        for p in edge.reference.published
        if p.metric == "latency_ms_p50"
    }
    used = [c for c in edge.candidates if c.latency is not None and c.latency.provenance is Provenance.PUBLISHED]
    assert used
    for c in used:
        assert c.latency is not None
        assert (c.backbone, c.resolution, c.runtime, c.precision, c.latency.value) in known


def test_every_family_and_every_named_depth_is_considered(edge: Answer) -> None:
    assert {c.family for c in edge.candidates} == set(Family)
    assert {c.freeze.name for c in edge.candidates} == {"none", "last-3", "80%", "head"}


def test_it_says_that_data_size_alone_settles_no_depth(edge: Answer) -> None:
    keys = [note.key for note in edge.notes]
    assert "note.data_size" in keys
    assert "note.no_domain" in keys
    assert any("--domain" in step.command for step in edge.next_measurements)


def test_the_same_question_has_the_same_answer(edge: Answer, tmp_path: Path) -> None:
    again = recommend("edge", 5000, store=tmp_path / "none.sqlite")
    assert _without_store(again) == _without_store(edge)


def test_backbones_keep_their_figures_in_smaller_company(edge: Answer) -> None:
    alone = recommend("edge", 5000, backbones=["mobilenetv2_100"])
    whole = {(c.freeze.name, c.runtime, c.resolution): c for c in edge.candidates if c.backbone == "mobilenetv2_100"}
    for c in alone.candidates:
        same = whole[c.freeze.name, c.runtime, c.resolution]
        assert (c.accuracy, c.latency) == (same.accuracy, same.latency)


def test_nothing_feasible_names_the_nearest_and_the_limit() -> None:
    with pytest.raises(NoFeasibleCandidate, match=r"nearest is \w+ .*latency_ms .* at most 0.001") as caught:
        recommend("edge", 5000, limits=AskedLimits(latency_ms=0.001))
    assert caught.value.exit_code == 3


def test_unknown_hardware_is_told_with_all_other_faults() -> None:
    with pytest.raises(InvalidInput) as caught:
        recommend("egde", -1, domain="cats")
    assert "'edge'" in caught.value.faults[0]
    assert len(caught.value.faults) == 3


def test_measurements_of_this_machine_are_its_evidence(tmp_path: Path) -> None:
    place = tmp_path / "store.sqlite"
    freeze = FreezePoint("none", 0, 18)
    with open_store(place) as store:
        store.add(
            [
                measured("latency_ms_p50", 4.6, "mobilenetv2_100"),
                measured("latency_ms_p50", 14.0, "efficientnet_b0"),
                measured("train_step_ms", 900.0, "mobilenetv2_100", batch_size=32, freeze=freeze),
            ]
        )
    answer = recommend("local", 1000, classes=4, runtimes=["onnxruntime"], store=place)
    by_name = {(c.backbone, c.freeze.name): c for c in answer.candidates}
    known = by_name["mobilenetv2_100", "none"]
    assert known.latency is not None
    assert (known.latency.value, known.latency.provenance) == (4.6, Provenance.MEASURED)
    scaled = by_name["mobilenetv2_140", "none"]
    assert scaled.latency is not None
    assert scaled.latency.provenance is Provenance.ESTIMATED
    assert known.train_seconds is not None
    assert known.train_seconds.value == pytest.approx(0.9 / 32 * 1000 * 50)
    assert scaled.train_seconds is not None


def test_a_training_step_here_times_training_for_any_hardware(tmp_path: Path) -> None:
    place = tmp_path / "store.sqlite"
    with open_store(place) as store:
        step = measured("train_step_ms", 900.0, "mobilenetv2_100", batch_size=32, freeze=FreezePoint("none", 0, 18))
        store.add([step])
    assert recommend("edge", 1000, store=place).recommendation.candidate.train_seconds is not None


def test_without_a_measured_step_training_time_is_not_stated(edge: Answer) -> None:
    assert all(c.train_seconds is None for c in edge.candidates)
    assert "note.training_unknown" in [note.key for note in edge.notes]


def test_lossy_precisions_win_only_where_asked_for(edge: Answer) -> None:
    assert {c.precision for c in edge.candidates} == {"fp32"}
    assert any(step.what.key == "next.lossy" for step in edge.next_measurements)
    asked = recommend("edge", 5000, precisions=["int8-static"], backbones=["mobilenetv2_100"])
    assert {c.precision for c in asked.candidates} == {"int8-static"}
    assert "note.lossy_considered" in [note.key for note in asked.notes]


def test_a_gpu_known_by_its_throughput_states_a_wide_latency_and_says_so() -> None:
    answer = recommend("gpu", 5000, backbones=["resnet50"])
    latency = answer.recommendation.candidate.latency
    assert latency is not None
    assert latency.low is not None
    assert latency.high is not None
    assert latency.high > 3 * latency.low >= 0.9
    assert "note.batch_one" in [note.key for note in answer.notes]


def test_the_command_asks_the_same_question() -> None:
    answer = recommend("edge", 5000, classes=4, limits=AskedLimits(latency_ms=80), runtimes=["tflite"], seed=7)
    assert answer.command == (
        "selector recommend --hardware edge --data-size 5000 --classes 4 --max-latency-ms 80 --runtime tflite --seed 7"
    )
    assert command_of(answer.request) == answer.command


def test_the_command_names_the_evidence_that_was_named_without_its_password(tmp_path: Path) -> None:
    answer = recommend("edge", 5000, store=tmp_path / "own.db", profile_folder=tmp_path)
    assert answer.command.endswith(f"--hardware-profiles {tmp_path} --store {tmp_path / 'own.db'}")
    told = command_of(answer.request, store="postgresql://me:secret@host/evidence")
    assert told.endswith("--store 'postgresql://me:***@host/evidence'")


def test_compare_answers_for_each_pair() -> None:
    answers = compare(["edge", "cpu"], [500, 5000])
    asked = [(a.request.hardware, a.request.data_size) for a in answers]
    assert asked == [("edge", 500), ("edge", 5000), ("cpu", 500), ("cpu", 5000)]
