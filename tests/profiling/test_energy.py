from pathlib import Path

import pytest

from selector.hardware.machine import State, read_state
from selector.profiling.energy import Counter, Meter, meter
from selector.profiling.lifetime import Timing
from selector.profiling.protocol import Settings, Tracker


def zone(root: Path, name: str, uj: int, most: int = 10_000_000, what: str = "package-0") -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{what}\n")
    (folder / "energy_uj").write_text(f"{uj}\n")
    (folder / "max_energy_range_uj").write_text(f"{most}\n")
    return folder / "energy_uj"


def test_packages_are_added_and_neither_their_parts_nor_the_whole_board(tmp_path: Path) -> None:
    first = zone(tmp_path, "intel-rapl:0", 1_000_000)
    second = zone(tmp_path, "intel-rapl:1", 2_000_000, what="package-1-die-0")
    part = zone(tmp_path, "intel-rapl:0:0", 500_000, what="dram")
    board = zone(tmp_path, "intel-rapl:2", 9_000_000, what="psys")
    zone(tmp_path, "intel-rapl:3", 1, what="package-2").with_name("name").unlink()
    made = meter("cpu", tmp_path)
    assert len(made.counters) == 2
    before = made.read()
    first.write_text("1500000")
    second.write_text("2250000")
    part.write_text("900000")
    board.write_text("9999999")
    assert made.spent(before, made.read()) == pytest.approx(0.75)
    assert made.why is None


def test_a_counter_that_starts_again_loses_nothing(tmp_path: Path) -> None:
    file = zone(tmp_path, "intel-rapl:0", 9_900_000)
    made = meter("cpu", tmp_path)
    before = made.read()
    file.write_text("100000")
    assert made.spent(before, made.read()) == pytest.approx(0.2)


def test_what_cannot_be_read_is_not_measured_and_says_why(tmp_path: Path) -> None:
    made = meter("cpu", tmp_path / "nothing")
    assert made.read() is None
    assert made.spent(None, None) is None
    assert "not measured" in (made.why or "")


def test_a_counter_that_goes_away_gives_no_figure(tmp_path: Path) -> None:
    file = zone(tmp_path, "intel-rapl:0", 1)
    made = meter("cpu", tmp_path)
    before = made.read()
    file.unlink()
    assert made.spent(before, made.read()) is None


def test_energy_of_one_inference_counts_the_uncounted_one() -> None:
    spent = iter(range(10_000))
    calls = [0]

    def step() -> None:
        calls[0] += 1

    one_joule_a_window = Meter((Counter(lambda: float(next(spent)), None),))
    settings = Settings(window_s=0.001, deadline_s=0.2, warmup_cap_s=0.1, disturbance=1.0)
    timing = Timing(step, Tracker(settings), one_joule_a_window, 1)
    while not timing.tracker.finished:
        timing.take_window()
    figure = timing.measurement()
    assert figure.energy_mj == pytest.approx(1e3 * figure.windows / (figure.n + figure.windows))
    assert calls[0] == figure.n + figure.warmup_samples + len(timing.tracker.windows)


def test_a_disturbed_windows_energy_is_left_out() -> None:
    tracker = Tracker(Settings(tail_budget_s=0.0, target=0.5))
    timing = Timing(lambda: None, tracker, Meter(()), 1)
    for number in range(9):
        tracker.add([10.0, 10.0], 0.5 if number == 4 else 0.0)
        timing.spent.append((100.0 if number == 4 else 3.0, 3))
    assert timing.measurement().disturbed == 1
    assert timing.measurement().energy_mj == pytest.approx(1000.0)


def test_throttling_between_two_states_is_told() -> None:
    before = read_state()

    def state(events: int | None) -> State:
        return State(before.at, None, None, None, events, None)

    assert state(7).slowed_since(state(7)) is None
    assert state(None).slowed_since(state(7)) is None
    assert state(9).slowed_since(state(7)) == "the processor throttled 2 times for heat"
