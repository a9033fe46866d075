"""Screening: what one frozen pass tells of each backbone, once in the study's life, within a share of the budget."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from selector.errors import InvalidInput, MeasurementFailed, WeightsUnavailable
from selector.tuning.info import Screened, TuneRequest
from selector.tuning.jobs.common import Task
from selector.tuning.search.budget import Budget
from selector.tuning.search.caching import Known
from selector.tuning.search.crew import Crew
from selector.tuning.search.storage import patiently
from selector.tuning.search.study import SCREENED, OpenStudy

LATER_START = 0.35
"""Later backbones are not begun after this part of the budget: the search is not starved for them."""

LATER_END, FIRST_END = 0.5, 0.8
"""A pass that would last beyond this part of the budget is stopped: of a further backbone, and of the first."""

LOST = ("killed", "out-of-memory", "crashed")
"""Ends of a job that tell nothing about its backbone. Where none could be screened, these are tried once more."""

LOOKS_FROM_S = 300.0
"""Shorter budgets do not look whether pictures have an upright side, which takes some seconds."""


@dataclass
class _Pass:
    """A backbone on a worker. The pace of its pass is known from its second sign of life on."""

    name: str
    first: tuple[float, int] | None = None  # when, and after how many images
    left_s: float = 0.0
    done: int = 0
    images: int = 0
    stopped: bool = False

    def hear(self, done: int, images: int) -> None:
        now, self.done, self.images = time.monotonic(), done, images
        if self.first is None:
            self.first = now, done
        elif done > self.first[1]:
            self.left_s = (now - self.first[0]) / (done - self.first[1]) * (images - done)


@dataclass
class Screening:
    """Screens backbones, or takes over what a former process of the study found. `resolutions` of a backbone: the
    first is the one that it is screened at.
    """

    request: TuneRequest
    budget: Budget
    resolutions: Callable[[str], tuple[int, ...]]
    say: Callable[[str], None]
    say_passing: Callable[[str], None]
    screened: list[Screened] = field(default_factory=list)
    known: dict[str, Known] = field(default_factory=dict)
    latency_ms: dict[str, float] = field(default_factory=dict)  # here, by "backbone@resolution"
    seconds: dict[str, tuple[float, float]] = field(default_factory=dict)  # of the pass, and of its setting up
    _failed: dict[str, str] = field(default_factory=dict)  # backbone → the kind of error
    _again: set[str] = field(default_factory=set)  # backbones whose job was lost, and is done once more

    def run(self, crew: Crew, task: Task, opened: OpenStudy) -> None:
        """Screen what is not screened yet. Raises WeightsUnavailable, InvalidInput or MeasurementFailed where not one
        backbone could be, and InvalidInput where the study was made with other weights.
        """
        before: dict[str, Any] = json.loads(patiently(lambda: opened.study.user_attrs).get(SCREENED, "{}"))
        waiting = [name for name in self.request.backbones if not self._enough(before.get(name), task, name)]
        for name in self.request.backbones:
            if name not in waiting:
                self._take(name, before[name])
        running: dict[int, _Pass] = {}
        lost: dict[str, tuple[_Pass, dict[str, Any]]] = {}
        while waiting or running:
            while waiting and (idle := [n for n in crew.idle if n not in running]):
                name = waiting.pop(0)
                if self.known and self.budget.phases.get("data", 0) + LATER_START * self.budget.asked_s < (
                    self.budget.used_s
                ):
                    self.screened.append(self._unscreened(name, "no time to screen it"))
                    continue
                running[idle[0]] = _Pass(name)
                crew.order(idle[0], "screen", task, self._arguments(name))
            for number, event in crew.hear(1.0):
                if event["event"] == "progress":
                    running[number].hear(event["done"], event["all"])
                    self.say_passing(f"{running[number].name}: {event['done']} of {event['all']} images")
                elif event["event"] == "ended":
                    passed = running.pop(number)
                    if event["kind"] in LOST and passed.name not in self._again:
                        lost[passed.name] = passed, event
                    else:
                        self._on_ended(passed, event, before, task, opened)
            if lost and not (waiting or running):
                if not self.known:  # nothing else could be screened: these are worth another try
                    waiting = self._once_more(lost)
                else:
                    for passed, event in lost.values():
                        self._on_ended(passed, event, before, task, opened)
                lost = {}
            self._stop_what_takes_too_long(running, crew)
        self._time(crew, task, before, opened)
        if not self.known:
            self._raise()

    def _once_more(self, lost: "dict[str, tuple[_Pass, dict[str, Any]]]") -> list[str]:
        for name, (_, event) in lost.items():
            self.say(f"{name}: its screening was lost ({event['detail']}); it is tried once more")
        self._again |= set(lost)
        return list(lost)

    def _on_ended(
        self, passed: _Pass, event: dict[str, Any], before: dict[str, Any], task: Task, opened: OpenStudy
    ) -> None:
        name = passed.name
        found = {"kind": event["kind"], "detail": event["detail"], **event["result"]}
        if found["kind"] == "stopped":
            found["error"], found["detail"] = "InvalidInput", self._too_long(passed)
        found |= {"resolution": self.resolutions(name)[0], "weights": str(task.weights_folder)}
        if found["kind"] == "done":
            if name in before and before[name].get("digest") != found["digest"]:
                raise InvalidInput(f"the study {opened.name!r} was made with other weights of {name}")
            before[name] = found
            patiently(lambda: opened.study.set_user_attr(SCREENED, json.dumps(before)))
        self._take(name, found)

    def _enough(self, found: dict[str, Any] | None, task: Task, name: str) -> bool:
        """Whether a former process found all that is asked for now, with the same weights."""
        if found is None or found["kind"] != "done":
            return False
        return bool(found.get("weights", str(task.weights_folder)) == str(task.weights_folder))

    def _time(self, crew: Crew, task: Task, before: dict[str, Any], opened: OpenStudy) -> None:
        """Time an inference of each backbone where a limit asks for it: one after the other, alone on all cores."""
        limits = self.request.limits
        for name in list(self.known):
            elsewhere = any(place.split("@")[0] == name for place in limits.latency_ms)
            missing = [side for side in self.resolutions(name) if f"{name}@{side}" not in self.latency_ms]
            if elsewhere or limits.max_latency_ms is None or not missing:
                continue
            self.say_passing(f"{name}: an inference is timed")
            ended = crew.perform(
                "latency", crew.alone(task), {"backbone": name, "resolutions": missing}, on_event=lambda event: None
            )
            if ended["kind"] != "done":
                self._leave_out(name, f"its latency could not be measured: {ended['detail'] or ended['kind']}")
                continue
            self.latency_ms.update(ended["result"]["latency_ms"])
            before[name]["latency_ms"] = {**before[name].get("latency_ms", {}), **ended["result"]["latency_ms"]}
            patiently(lambda: opened.study.set_user_attr(SCREENED, json.dumps(before)))

    def _arguments(self, name: str) -> dict[str, Any]:
        return {
            "backbone": name,
            "resolution": self.resolutions(name)[0],
            "depths": list(self.request.freezes),
            "look_upright": self.budget.asked_s >= LOOKS_FROM_S,
        }

    def _take(self, name: str, found: dict[str, Any]) -> None:
        if found["kind"] != "done":
            self._failed[name] = str(found.get("error"))
            self.screened.append(self._unscreened(name, found["detail"]))
            self.say(f"{name} is left out: {(found['detail'] or found['kind']).splitlines()[0]}")
            return
        self.known[name] = Known(found["digest"], found["total_blocks"])
        self.latency_ms.update(found.get("latency_ms", {}))
        self.seconds[name] = (found["fill_seconds"], found["setup_seconds"])
        resolution = found.get("resolution", self.resolutions(name)[0])
        self.screened.append(
            Screened(
                *(name, resolution, found["probe"], found["knn"], found["seconds"], found["runtime"]),
                upright=found.get("upright"),
            )
        )
        self.say(f"{name}: a linear probe reaches macro-F1 {found['probe']:.3f}")
        if why := found.get("uncached"):
            self.say(f"{name}: its features are not cached: {why}")

    def _leave_out(self, name: str, problem: str) -> None:
        """Take back what was screened: whether it keeps the limit is not known."""
        del self.known[name]
        self._failed[name] = "MeasurementFailed"
        self.screened = [self._unscreened(name, problem) if s.backbone == name else s for s in self.screened]
        self.say(f"{name} is left out: {problem.splitlines()[0]}")

    def _unscreened(self, name: str, problem: str) -> Screened:
        return Screened(name, self.resolutions(name)[0], None, None, 0.0, "none", problem)

    def _stop_what_takes_too_long(self, running: dict[int, _Pass], crew: Crew) -> None:
        end = (LATER_END if self.known else FIRST_END) * self.budget.asked_s
        for number, passed in running.items():
            if not passed.stopped and self.budget.used_s + passed.left_s > end:
                passed.stopped = True
                crew.stop(number)

    def _too_long(self, passed: _Pass) -> str:
        seconds = f"about {passed.left_s:.0f} s more" if passed.left_s else "too long"
        seen = f" after {passed.done} of {passed.images} images" if passed.images else ""
        return (
            f"{passed.name}: looking at each image once would take {seconds}{seen}, of a budget of "
            f"{self.budget.asked_s:.0f} s for everything; give more with --budget, fewer images, or a smaller "
            "--resolution"
        )

    def _raise(self) -> None:
        problems = [s.problem for s in self.screened]
        kinds = set(self._failed.values())
        if "WeightsUnavailable" in kinds:
            raise WeightsUnavailable(problems)
        if kinds == {"InvalidInput"}:
            raise InvalidInput(problems)
        raise MeasurementFailed("no backbone could be screened. " + "; ".join(problems))
