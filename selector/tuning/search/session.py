"""The search itself: trials are proposed, checked against limits and time, cached, trained, pruned and told."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from selector.tuning.info import TuneRequest
from selector.tuning.jobs.common import STATE, Task, write_whole
from selector.tuning.recipe import Recipe
from selector.tuning.search.budget import Budget, Reserve
from selector.tuning.search.caching import Caching
from selector.tuning.search.crew import Crew
from selector.tuning.search.pace import Pace
from selector.tuning.search.space import SPARED, SearchSpace
from selector.tuning.search.storage import OWNER, SEEN, ask, fail_lost_trials, owner, patiently
from selector.tuning.search.study import OpenStudy, best_trial

FILL_SHARE = 0.5
"""The most of the time that is left which one trial may spend on caching."""

OVERRUN = 0.04
"""The part of the budget that a trial may be late by before it is stopped: the winner's retraining makes up for it."""

FEWEST_EPOCHS = 3
SIGN_OF_LIFE_S = 30.0
PULSE_S = 1.0
GIVE_UP_AFTER = 12
"""So many proposals in a row that do not fit the time or break a limit end the search."""


Limit = Callable[[Recipe], dict[str, float]]


@dataclass
class _Running:
    """A trial on a worker."""

    trial: optuna.Trial
    recipe: Recipe
    began: float
    spared: bool  # not to be pruned
    stage: str = "fill"  # fill, then trial
    stage_began: float = 0.0
    fill: dict[str, Any] = field(default_factory=dict)
    reach: str = ""  # the deepest freeze depth that its pass over the images made
    epochs: list[dict[str, Any]] = field(default_factory=list)
    pruned: bool = False
    doing: str = "starting"


@dataclass
class Session:
    """One process's work on a study until the time, the trials or the proposals run out."""

    opened: OpenStudy
    space: SearchSpace
    request: TuneRequest
    task: Task
    crew: Crew
    budget: Budget
    pace: Pace
    caching: Caching
    constraints: Limit  # by name, at most zero where kept
    reserve: Callable[[], Reserve]
    tell: Callable[[str], None]
    tell_passing: Callable[[str], None] = lambda says: None
    stop_reason: str = "budget"
    _running: dict[int, _Running] = field(default_factory=dict)
    _misfits: int = 0
    _broken: int = 0  # of the misfits, those that break a limit
    _unfit: int = 0
    _seen: float = 0.0
    _pulsed: float = 0.0
    _started: int = 0

    def run(self) -> None:
        """Search until the reserve is reached."""
        while True:
            while self._may_start() and (idle := [n for n in self.crew.idle if n not in self._running]):
                self._start(idle[0])
            if not self._running:
                break
            left = self.search_left_s
            for number, event in self.crew.hear(min(max(left, 0.0), 1.0) if left > 0 else 0.2):
                self._handle(number, event)
            if self.search_left_s < -OVERRUN * self.budget.asked_s:
                self._stop_all()
            self._sign_of_life()
            self._pulse()
        if self.stop_reason == "limits":
            self.tell(
                f"of {self._misfits} proposed trials in a row {self._broken} broke the limits and no other fitted the "
                "time: nothing else is looked for"
            )
        if self._unfit:
            self.tell(f"{self._unfit} proposed trials would not have fitted the time that was left")

    @property
    def search_left_s(self) -> float:
        """Seconds until the search has to end. Before there is a result, a third of what is left is the search's."""
        left = self.budget.left_s - self.reserve().total_s(self.budget.asked_s)
        return left if best_trial(self.opened) else max(left, self.budget.left_s / 3)

    def _may_start(self) -> bool:
        if self.request.max_trials is not None and self._started >= self.request.max_trials:
            self.stop_reason = "trials"
            return False
        if self._misfits >= GIVE_UP_AFTER:
            self.stop_reason = "limits" if 2 * self._broken > self._misfits else "budget"
            return False
        if self.search_left_s <= self.pace.start_seconds:
            self.stop_reason = "budget"
            return False
        return True

    def _start(self, number: int) -> None:
        study = self.opened.study
        trial = ask(study, self.space.distributions())
        recipe = self.space.recipe(trial.params, self.request.seed)
        origin = trial.user_attrs.get("origin", "sampled")
        for name, value in ((OWNER, owner()), (SEEN, time.time()), ("origin", origin)):
            self._note(trial, name, value)
        broken = False
        for name, value in self.constraints(recipe).items():
            patiently(lambda name=name, value=value: trial.set_constraint(name, value))  # type: ignore[misc]
            broken |= value > 0
        if broken:
            if origin == "sampled":  # what a former process queued, before there were these limits, tells nothing
                self._misfits += 1
                self._broken += 1
            self._end(trial, TrialState.PRUNED, "infeasible", "breaks a limit on latency or size; not trained")
            return
        missing = self.caching.missing_views(recipe)
        depths = self.caching.depths(recipe, recipe.augment().views) if missing else ()
        reach = str(max(depths, default=0))
        fill_s = self.pace.fill_seconds(replace(recipe, freeze=reach), missing)
        epoch_s = self.pace.epoch_seconds(recipe, cached=self.caching.usable(recipe))
        left = self.search_left_s
        # a cache can be made with fewer views, a run with fewer epochs: only less than that does not fit
        least = self.pace.start_seconds + fill_s / max(missing, 1) + min(FEWEST_EPOCHS, recipe.epochs) * epoch_s
        if least > left:
            self._misfits += 1
            detail = f"caching and {FEWEST_EPOCHS} epochs would take about {least:.0f} s, {max(left, 0):.0f} s are left"
            self._end(trial, TrialState.PRUNED, "no-time", detail)
            self._unfit += 1  # told together at the end: near it most proposals are too long
            return
        self._misfits = self._broken = 0
        self._started += 1
        now = time.monotonic()
        self._running[number] = running = _Running(trial, recipe, now, origin in SPARED, stage_began=now)
        self.tell(
            f"trial {trial.number}: {recipe.backbone}, {recipe.freeze}, {recipe.resolution} px, {recipe.augmentation}"
        )
        if missing:
            running.reach = reach
            arguments = {"recipe": recipe.as_json(), "depths": depths, "seconds": max(FILL_SHARE * left, 1.0)}
            self.crew.order(number, "fill", self.task, arguments)
        else:
            self._train(number, running)

    def _train(self, number: int, running: _Running) -> None:
        running.stage, running.stage_began, running.doing = "trial", time.monotonic(), "training"
        seconds = max(self.search_left_s - self.pace.start_seconds, 1.0)
        arguments = {
            "recipe": running.recipe.as_json(),
            "seconds": seconds,
            "folder": str(self._folder(running.trial.number)),
            "views_allowed": self.views_allowed(running.recipe),
        }
        self.crew.order(number, "trial", self.task, arguments)

    def _handle(self, number: int, event: dict[str, Any]) -> None:
        running = self._running.get(number)
        if running is None:
            return
        if event["event"] == "progress":
            running.doing = f"{event['done']} of {event['all']} images cached"
        elif event["event"] == "epoch":
            self._on_epoch(number, running, event)
        elif event["event"] == "batch-halved":
            self._note(running.trial, "batch_size", event["batch_size"])
        elif event["event"] == "ended" and running.stage == "fill":
            self._on_filled(number, running, event)
        elif event["event"] == "ended" and event["kind"] == "out-of-memory" and running.recipe.batch_size >= 8:
            # the kernel ended it: its batch was too much for this machine
            running.recipe = replace(running.recipe, batch_size=running.recipe.batch_size // 2)
            self._note(running.trial, "batch_size", running.recipe.batch_size)
            self._train(number, running)
        elif event["event"] == "ended":
            del self._running[number]
            self._on_trained(running, event)

    def _on_filled(self, number: int, running: _Running, event: dict[str, Any]) -> None:
        if event["kind"] == "stopped":
            del self._running[number]
            self._end(running.trial, TrialState.PRUNED, "no-time", "the time ended while features were cached")
            self.tell(f"trial {running.trial.number}: the time ended while features were cached")
            return
        if event["kind"] == "done":
            running.fill = event["result"]
            if self.caching.note(running.recipe, running.fill):
                views = running.fill["views"]
                self.tell(f"trial {running.trial.number}: {views or 'no'} views are cached: {running.fill['why']}")
            deepest = replace(running.recipe, freeze=running.reach)
            self.pace.learn_fill(deepest, running.fill["made"], running.fill["seconds"], running.fill["setup_seconds"])
        else:  # training computes its features anew; the reason stands with the trial
            self._note(running.trial, "cache_failed", f"{event['kind']}: {event['detail']}"[:500])
        self._train(number, running)

    def _on_epoch(self, number: int, running: _Running, event: dict[str, Any]) -> None:
        epoch = {k: v for k, v in event.items() if k != "event"}
        running.epochs.append(epoch)
        running.doing = f"{epoch['progress']:.0%} trained"
        if epoch["validation_macro_f1"] is not None:
            running.doing += f", macro-F1 {epoch['validation_macro_f1']:.3f}"
        if running.pruned or epoch["validation_macro_f1"] is None:
            return
        step = max(1, round(100 * epoch["progress"]))
        patiently(lambda: running.trial.report(epoch["validation_macro_f1"], step))
        if epoch["progress"] >= 1 or not self.space.may_be_pruned(running.recipe):
            return
        if patiently(running.trial.should_prune) and not running.spared:
            running.pruned = True
            self.crew.stop(number)

    def _on_trained(self, running: _Running, event: dict[str, Any]) -> None:
        trial, kind, result = running.trial, event["kind"], event["result"]
        seconds = time.monotonic() - running.began
        self._note(trial, "seconds", round(seconds, 2))
        self._note(trial, "epochs", running.epochs)
        if running.pruned:
            self._end(trial, TrialState.PRUNED, "pruned", "in the worse half after as many epochs")
            self.tell(f"trial {trial.number}: pruned after {seconds:.0f} s")
        elif kind == "done":
            self._note(trial, "cached", result["cached"])
            # another host may have to make the winner
            for name in ("predict_views", "adjustment", "adjustment_one_view"):
                self._note(trial, name, result[name])
            self.pace.learn_train(running.recipe, result["step_seconds"], result["batch_size"], cached=result["cached"])
            worked = result["seconds"] + result["fit_seconds"]
            self.pace.learn_start(max(0.1, time.monotonic() - running.stage_began - worked))
            result["fill"] = running.fill
            write_whole(self._folder(trial.number) / "result.json", json.dumps(result))
            former = best_trial(self.opened)
            self._end(trial, TrialState.COMPLETE, "complete", result["stopped"], result["macro_f1"])
            self._drop_weights({trial.number, *(() if former is None else (former.number,))})
            self.tell(f"trial {trial.number}: macro-F1 {result['macro_f1']:.3f} after {seconds:.0f} s")
        elif kind == "stopped":
            self._end(trial, TrialState.PRUNED, "no-time", "the time ended during training")
            self.tell(f"trial {trial.number}: the time ended during training")
        else:
            self._end(trial, TrialState.FAIL, kind, event["detail"])

    def _end(
        self, trial: optuna.Trial, state: TrialState, outcome: str, detail: str, value: float | None = None
    ) -> None:
        self._note(trial, "outcome", outcome)
        self._note(trial, "detail", detail[:500])
        # told twice where the answer to the first was lost with the connection: the second finds it done
        patiently(lambda: self.opened.study.tell(trial.number, value, state, skip_if_finished=True))
        if outcome not in ("complete", "pruned", "no-time"):
            self.tell(f"trial {trial.number}: {outcome}: {detail[:200]}")

    def _note(self, trial: optuna.Trial, name: str, value: Any) -> None:
        patiently(lambda: trial.set_user_attr(name, value))

    def _stop_all(self) -> None:
        for number in self._running:
            if number not in self.crew.idle:
                self.crew.stop(number)

    def _pulse(self) -> None:
        """Between the lines that stay, what each trial is at: the time that is left goes on with it."""
        if time.monotonic() - self._pulsed > PULSE_S and self._running:
            self._pulsed = time.monotonic()
            self.tell_passing("; ".join(f"trial {r.trial.number}: {r.doing}" for r in self._running.values()))

    def _sign_of_life(self) -> None:
        if time.monotonic() - self._seen > SIGN_OF_LIFE_S:
            self._seen = time.monotonic()
            for running in self._running.values():
                self._note(running.trial, SEEN, time.time())
            mine = {running.trial.number for running in self._running.values()}
            patiently(lambda: fail_lost_trials(self.opened.study, mine, alone=self.request.storage is None))

    def _folder(self, trial: int) -> Path:
        return self.opened.folder / "trials" / str(trial)

    def _drop_weights(self, trials: set[int]) -> None:
        """Only the best trial's weights may be needed: those of sixty VGGs would fill a disk."""
        best = best_trial(self.opened)
        for number in trials - {-1 if best is None else best.number}:
            (self._folder(number) / STATE).unlink(missing_ok=True)

    def views_allowed(self, recipe: Recipe) -> int:
        """How many views an answer may be averaged over within the limit on latency: each costs a whole inference."""
        room = self.constraints(recipe).get("latency_ms")
        limit = self.request.limits.max_latency_ms
        if room is None or limit is None:
            return recipe.views
        return max(1, int(limit / max(limit + room, 1e-9)))


def enqueue_first(opened: OpenStudy, trials: list[tuple[str, dict[str, Any]]]) -> None:
    """Queue the trials to begin with, once in the study's life, whatever a run with another budget would begin with."""
    held = {trial.user_attrs.get("origin") for trial in patiently(lambda: opened.study.get_trials(deepcopy=False))}
    for origin, params in trials:
        if origin in held:
            continue
        patiently(lambda p=params, o=origin: opened.study.enqueue_trial(p, {"origin": o}, skip_if_exists=True))  # type: ignore[misc]


def requeue_lost(opened: OpenStudy, *, alone: bool) -> int:
    """Fail the trials whose process is gone and queue their parameters again; returns how many there were."""
    lost = patiently(lambda: fail_lost_trials(opened.study, set(), alone=alone))
    for trial in lost:
        if trial.params:
            origin = trial.user_attrs.get("origin", "sampled")
            patiently(lambda t=trial, o=origin: opened.study.enqueue_trial(t.params, {"origin": o}))  # type: ignore[misc]
    return len(lost)


def expected_run_seconds(opened: OpenStudy, pace: Pace, space: SearchSpace, seed: int) -> float:
    """Seconds of one retraining of the best trial on train and validation; 0 before there is one."""
    best = best_trial(opened)
    if best is None:
        return 0.0
    file = opened.folder / "trials" / str(best.number) / "result.json"
    if not file.is_file():  # trained on another host
        recipe = replace(space.recipe(best.params, seed))
        return pace.epoch_seconds(recipe, cached=True) * recipe.epochs
    seconds = float(json.loads(file.read_text(encoding="utf-8"))["seconds"])
    return seconds * pace.images / pace.train_images + pace.start_seconds
