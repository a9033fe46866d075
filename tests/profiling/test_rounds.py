from collections.abc import Iterator
from itertools import pairwise

import pytest

from selector.profiling.rounds import Told, in_rounds


class Worker:
    """A lane's worker that takes so many windows of each of its jobs."""

    def __init__(self, name: str, jobs: int, windows: int, *, cold: bool = True) -> None:
        self.name = name
        self.jobs = jobs
        self.windows = windows
        self.cold = cold
        self.ended = False

    def told(self) -> Told[str]:
        names = [f"{self.name}{i}" for i in range(self.jobs)]
        try:
            for name in names if self.cold else ():
                yield name, {"event": "turn"}
                yield name, {"event": "cold", "last": not self.windows}
            for n in range(self.windows):
                for name in names:
                    yield name, {"event": "turn"}
                    yield name, {"event": "measured" if n + 1 == self.windows else "window"}
        finally:
            self.ended = True


def windows(workers: list[Worker]) -> Iterator[str]:
    for job, event in in_rounds([(worker.told(), worker.jobs) for worker in workers]):
        if event["event"] in ("window", "measured"):
            yield job


def test_the_windows_of_each_lane_are_spread_over_all_rounds() -> None:
    workers = [Worker("a", 2, 6), Worker("b", 4, 6), Worker("c", 1, 6)]
    order = list(windows(workers))
    assert len(order) == (2 + 4 + 1) * 6
    for name in set(order):
        places = [place for place, job in enumerate(order) if job == name]
        assert len(places) == 6
        assert all(abs(b - a - 7) <= 2 for a, b in pairwise(places))  # a turn in each round
    assert all(worker.ended for worker in workers)


def test_lanes_alternate() -> None:
    order = "".join(job[0] for job in windows([Worker("a", 3, 3), Worker("b", 3, 3)]))
    assert "aaa" not in order
    assert "bbb" not in order


def test_no_window_is_taken_before_all_models_are_loaded_but_a_lanes_first() -> None:
    seen = []
    for job, event in in_rounds([(worker.told(), 3) for worker in (Worker("a", 3, 2), Worker("b", 3, 2))]):
        seen.append((job[0], event["event"]))
    kinds = [(lane, kind) for lane, kind in seen if kind != "turn"]
    assert kinds[:8] == [*[("a", "cold")] * 3, ("a", "window"), *[("b", "cold")] * 3, ("b", "window")]
    assert not any(kind == "cold" for _, kind in kinds[8:])


def test_an_announcement_does_not_hand_over() -> None:
    """Its worker runs on: another one let on beside it would disturb what it times."""
    told = list(in_rounds([(worker.told(), 2) for worker in (Worker("a", 2, 3), Worker("b", 2, 3))]))
    for (job, event), (following, _) in pairwise(told):
        if event["event"] == "turn":
            assert following == job


def test_lanes_without_windows_end_by_themselves() -> None:
    workers = [Worker("a", 2, 0), Worker("b", 2, 2, cold=False), Worker("c", 0, 0)]
    assert sorted(windows(workers)) == ["b0", "b0", "b1", "b1"]


def test_whoever_stops_listening_ends_all_workers() -> None:
    workers = [Worker("a", 2, 6), Worker("b", 2, 6)]
    rounds = in_rounds([(worker.told(), 2) for worker in workers])
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - the interruption comes amid the iteration
        for job, _ in rounds:
            if job.startswith("b"):
                raise KeyboardInterrupt
    rounds.close()  # type: ignore[attr-defined]  # a generator
    assert all(worker.ended for worker in workers)
