import io

import pytest
from rich.console import Console

from selector.cli import profile_progress
from selector.cli.profile_progress import SHORT_S, Progress, Reading
from selector.evidence.record import FreezePoint
from selector.profiling.jobs import Failure, InferenceJob, ThroughputJob, TrainingJob
from selector.profiling.measurement import Measurement
from selector.profiling.results import ColdResult, Rate, Scribe

SCRIBE = Scribe("0123456789ab")
FIGURE = Measurement(2.0, 1.96, 2.03, 2.2, 64, 6, 9, True, None)
MEASURED = InferenceJob("resnet18", "onnxruntime", "fp32", 224, 2)
UNDERWAY = InferenceJob("resnet50", "onnxruntime", "fp32", 224, 2)
BROKEN = InferenceJob("vgg16", "onnxruntime", "fp32", 224, 2)
BATCHES = ThroughputJob("resnet18", "onnxruntime", "fp32", 224, 2)
TRAINED = TrainingJob("resnet18", FreezePoint("head", 9, 9), "fp32", 224, 2, 8)


def drawn(progress: Progress, rows: int = 16, *, width: int = 120) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(progress.table(rows))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def filled(console: Console, *, shown: bool = True) -> Progress:
    progress = Progress(console, shown=shown)
    progress.failures = [Failure(BROKEN, "out-of-memory", "too large")]
    progress.planned(8)
    progress.at(UNDERWAY, "timing", 0.45)
    progress.at(TRAINED, "training steps", 0.1)
    progress.finished(SCRIBE.records(MEASURED, "1.0", ColdResult(10.0, 5.0, 10**8, 10**7)))
    progress.finished(SCRIBE.records(MEASURED, "1.0", FIGURE))
    progress.finished(SCRIBE.records(BATCHES, "1.0", Rate(4, FIGURE)))
    progress.done(3)
    return progress


def test_each_configuration_has_a_row_with_what_is_known_of_it() -> None:
    lines = drawn(filled(Console(file=io.StringIO())))
    (measured,) = (line for line in lines if "onnxruntime fp32 " in line and "resnet18" in line)
    assert "2.00 ±2.0%" in measured
    assert "100.0" in measured  # megabytes
    (underway,) = (line for line in lines if "resnet50" in line)
    assert "45%" in underway
    (broken,) = (line for line in lines if "vgg16" in line)
    assert "out-of-memory" in broken
    assert any("onnxruntime fp32, batch 4" in line and "0.5000 ±2.0%/image" in line for line in lines)
    assert any("torch-eager fp32, training head" in line and "10%" in line for line in lines)


def test_a_row_is_one_line_on_a_narrow_terminal() -> None:
    narrow, wide = (drawn(filled(Console(file=io.StringIO())), width=width) for width in (70, 120))
    assert len(narrow) == len(wide)
    assert any("2.00 ±2.0%" in line for line in narrow)


def test_the_newest_rows_stay_where_there_is_no_room_for_all() -> None:
    lines = drawn(filled(Console(file=io.StringIO())), 2)
    assert any(line.strip() == "…" for line in lines)
    assert any("batch 4" in line for line in lines)
    assert not any("vgg16" in line for line in lines)


def test_it_is_drawn_on_a_terminal_and_nowhere_else() -> None:
    for terminal in (True, False):
        console = Console(file=io.StringIO(), force_terminal=terminal, width=120, height=40)
        with Progress(console, shown=True) as progress:
            progress.planned(2)
            progress.finished(SCRIBE.records(MEASURED, "1.0", FIGURE))
        assert isinstance(console.file, io.StringIO)
        assert ("2.00 ±2.0%" in console.file.getvalue()) is terminal


def test_quiet_draws_nothing() -> None:
    console = Console(file=io.StringIO(), force_terminal=True)
    with filled(console, shown=False):
        pass
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == ""


@pytest.mark.parametrize(
    ("terminal", "shown", "seconds", "drawn"),
    [
        (True, True, SHORT_S, True),
        (True, True, 0.0, False),
        (True, False, SHORT_S, False),
        (False, True, SHORT_S, False),
    ],
)
def test_reading_files_has_a_bar_where_it_takes_long(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, shown: bool, seconds: float, drawn: bool
) -> None:
    now = [100.0]
    monkeypatch.setattr(profile_progress.time, "monotonic", lambda: now[0])
    console = Console(file=io.StringIO(), force_terminal=terminal, width=120)
    with Reading(console, shown=shown) as reading:
        reading.told(0, 320)
        now[0] += seconds
        reading.told(57, 320)
    assert isinstance(console.file, io.StringIO)
    assert ("57/320" in console.file.getvalue()) is drawn
    assert bool(console.file.getvalue()) is drawn
