"""Turns between the worker processes of several runtimes: one runs, the others are stopped.

A worker times its own models in turns, one window each (`turns`). Here its windows alternate with those of the other
workers, so that the windows of every configuration are spread over the whole measurement and not over its runtime's
part of it.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

OVER = ("measured", "saturated", "failed")
"""Events after which nothing more comes of a job."""

J = TypeVar("J")


Told = Generator[tuple[J, dict[str, Any]], None, None]
"""What workers tell of a lane's jobs, each event with its job.

The worker runs while the next event is waited for, and is stopped at each but announcements ("turn"). Closing the
generator ends it.
"""


def in_rounds(told: Sequence[tuple[Told[J], int]]) -> Iterator[tuple[J, dict[str, Any]]]:
    """All that is told by lanes of so many jobs each, in turns.

    First each lane up to its first window: models are loaded, and their first moments told, lane after lane. Then
    window by window: next is always the lane whose models have had the fewest turns each. Leaving the iteration ends
    all workers.
    """
    with ExitStack() as stack:
        waiting = [_Lane(stack.enter_context(closing(events)), jobs) for events, jobs in told]
        for lane in waiting:
            yield from lane.until_window()
        while waiting := [lane for lane in waiting if not lane.done]:
            yield from min(waiting, key=lambda lane: lane.turns).go_on()


@dataclass(slots=True)
class _Lane(Generic[J]):
    """A lane, and how far it is."""

    told: Told[J]
    jobs: int  # that are not over
    turns: float = 0.0  # windows so far, of each of its jobs
    done: bool = False

    def until_window(self) -> Iterator[tuple[J, dict[str, Any]]]:
        """Everything up to the first window."""
        while not (self.done or self.turns):
            yield from self.go_on()

    def go_on(self) -> Iterator[tuple[J, dict[str, Any]]]:
        """Everything up to the next event at which the worker is stopped."""
        for job, event in self.told:
            yield job, event
            if event["event"] in ("window", "measured"):
                self.turns += 1 / max(1, self.jobs)
            if event["event"] in OVER or event.get("last"):
                self.jobs -= 1
            if event["event"] != "turn":
                return
        self.done = True
