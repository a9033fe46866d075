from pathlib import Path

import pytest
from session_parts import QUICK, SMALL, Ear, medians

from selector.evidence.record import Conditions, Provenance, Record
from selector.hardware.machine import detect
from selector.profiling.jobs import Job, ThroughputJob, job_from_json, job_to_json
from selector.profiling.session import Session, Thoroughness
from selector.profiling.tables import tables
from selector.profiling.throughput import LARGEST, Ending, ending, marks, next_batch, saturation


def sizes(times: dict[int, float]) -> list[int]:
    """The sizes that are tried where an image takes so long at each."""
    known: dict[int, float] = {}
    while (size := next_batch(known)) is not None:
        known[size] = times[size]
    return list(known)


def test_sizes_double_while_something_is_gained() -> None:
    assert sizes({1: 8, 2: 5, 4: 4, 8: 3.95, 16: 3.9}) == [1, 2, 4, 8, 16]
    assert sizes({1: 8, 2: 8, 4: 8}) == [1, 2, 4]


def test_one_size_without_a_gain_is_not_the_end() -> None:
    assert sizes({1: 8, 2: 8.1, 4: 6, 8: 6, 16: 6}) == [1, 2, 4, 8, 16]


def test_no_batch_is_too_large_or_takes_too_long() -> None:
    ever_faster = {2**i: 1.0 / 2**i for i in range(12)}
    assert sizes(ever_faster)[-1] == LARGEST
    assert sizes({1: 900.0, 2: 500.0, 4: 300.0}) == [1, 2, 4]  # eight would take 2.4 s


def test_saturation_is_the_smallest_size_close_to_the_best() -> None:
    assert saturation({1: 8, 2: 5, 4: 4.1, 8: 4.0, 16: 4.2}) == 4
    with pytest.raises(ValueError, match="at least one"):
        saturation({})


@pytest.mark.parametrize(
    ("known", "why", "marked"),
    [
        ({1: 8, 2: 5, 4: 4, 8: 3.95, 16: 3.9}, Ending.SATURATED, {4: "enough"}),
        ({2**i: 1.0 / 2**i for i in range(7)}, Ending.LARGEST, {64: "largest tried: limit 64"}),
        ({1: 900.0, 2: 500.0, 4: 300.0}, Ending.TOO_LONG, {4: "largest tried: next over 2 s"}),
        ({1: 8, 2: 5, 4: 4, 8: 3.95}, Ending.BROKEN_OFF, {8: "largest tried: broken off"}),
        ({1: 8}, Ending.BROKEN_OFF, {1: "largest tried: broken off"}),
        # at the limit and saturated: that it would have ended anyway is no reason
        ({1: 8, 2: 5, 4: 4, 8: 3, 16: 2, 32: 2, 64: 2}, Ending.SATURATED, {16: "enough"}),
    ],
)
def test_enough_is_said_of_what_has_saturated_alone(known: dict[int, float], why: Ending, marked: object) -> None:
    assert ending(known) is why
    assert marks(known) == marked
    with pytest.raises(ValueError, match="at least one"):
        ending({})


def test_the_table_says_why_no_larger_batch_was_measured() -> None:
    def rate(size: int, ms: float) -> Record:
        at = Conditions("resnet18", "local", "onnxruntime", "1.0", "fp32", 64, size, 1)
        return Record.of("ms_per_sample", ms, at, provenance=Provenance.MEASURED, source="a test", low=ms, high=ms)

    for sizes, marked in (
        ({1: 8.0, 2: 5.0, 4: 4.0, 8: 4.0, 16: 4.0}, ["", "", "enough", "", ""]),
        ({1: 8.0, 2: 5.0}, ["", "largest tried: broken off"]),
    ):
        (table,) = tables([rate(size, ms) for size, ms in sizes.items()])
        assert list(table.figures[-1][1]) == marked


def test_a_job_travels() -> None:
    job = ThroughputJob("resnet18", "onnxruntime", "fp32", 64, 1)
    assert job_from_json(job_to_json(job)) == job


def test_real_batches_are_measured_and_gone_on_with(home: Path) -> None:
    jobs: list[Job] = [ThroughputJob(SMALL, "onnxruntime", "fp32", 32, 1)]
    made = Session(detect(), lambda records: None, Ear(), Thoroughness(QUICK, QUICK, QUICK, 100.0))
    made.run(jobs)
    assert made.failures == []
    assert not medians(made.records)  # no latency: nobody asked
    found = {r.conditions.batch_size: r for r in made.records}
    assert list(found)[:3] == [1, 2, 4]
    for record in made.records:
        assert record.figure.metric.name == "ms_per_sample"
        assert record.figure.low is not None
        assert record.figure.high is not None
        assert 0 < record.figure.low <= record.figure.value <= record.figure.high
    assert len(list(tables(made.records))) == 1
    later = Session(detect(), lambda records: None, Ear(), Thoroughness(QUICK, QUICK, QUICK, 100.0))
    later.resume(jobs, made.records[:2])
    later.run(jobs)
    assert [r.conditions.batch_size for r in later.records][:3] == [1, 2, 4]
    assert isinstance(later.listener, Ear)
    assert later.listener.steps == later.listener.total == 2
