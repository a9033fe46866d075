"""The end of a search: its best trial becomes the model that is handed over."""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from selector.errors import MeasurementFailed, OutputFailed
from selector.tuning.data.split import Split
from selector.tuning.info import Winner
from selector.tuning.jobs.common import ANSWERS, STATE, Task
from selector.tuning.place import MODEL_FILES, draft_of, hand_over, hand_over_more, new_draft
from selector.tuning.search.budget import CLOSING_S, int8_seconds
from selector.tuning.search.describe import Origin, describe
from selector.tuning.search.session import Session
from selector.tuning.search.study import best_trial, trial_infos

LATE_SHARE = 0.5
"""The part of what a budget may be late by that goes into a test which would not be whole without it."""

INT8_TRIED_FROM = 0.8
"""The part of an int8 model's expected seconds from which on it is tried: it is stopped where it does not fit."""

NOT_YET = "the run ended before it was made"  # what lies there says so as long as the int8 model is in the making


def finish(session: Session) -> Winner:
    """Train the best trial's recipe again, test it, hand it over, and add an int8 model to it where the time allows.

    A job that is lost costs what it was at: what it has finished is gone on with, and where that is no training, the
    trial's own weights are. Raises MeasurementFailed where no trial is complete and keeps the limits, and where the
    model cannot be made; OutputFailed where it cannot be written.
    """
    best = best_trial(session.opened)
    if best is None:
        raise MeasurementFailed(_why_there_is_none(session))
    request, began = session.request, time.monotonic()
    recipe = session.space.recipe(best.params, request.seed)
    folder = session.opened.folder / "trials" / str(best.number)
    file = folder / "result.json"
    result = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    kept = {**best.user_attrs, **result}
    recipe = replace(recipe, batch_size=kept.get("batch_size", recipe.batch_size))
    views, validation = kept.get("predict_views", 1), result.get("scores", {})
    adjustment = kept.get("adjustment", [])
    if views > session.views_allowed(recipe):  # this run's limit on latency is tighter than the trial's was
        views, validation = 1, result.get("one_view") or {}
        adjustment = kept.get("adjustment_one_view", [])
    save = request.save or session.opened.folder / "model"
    digest = session.caching.backbones[recipe.backbone].digest
    place = save.resolve()
    origin = Origin(recipe, views, adjustment, request.command, request.budget_s, digest, place.name)
    ending = _Ending(session, session.crew.alone(session.task), best.number, folder, place, origin)
    made = ending.make()
    ending.hand_over(made)
    files = sorted(file for file in place.iterdir() if file.is_file())
    made["artefacts"] = [{"path": str(file), "bytes": file.stat().st_size} for file in files]
    made["seconds"] = time.monotonic() - began
    return Winner(best.number, recipe, views, validation, made, save)


@dataclass(frozen=True, slots=True)
class _Ending:
    """What is known of the winner before it is made."""

    session: Session
    task: Task
    trial: int
    folder: Path  # the trial's
    save: Path
    origin: Origin

    def make(self) -> dict[str, Any]:
        """Have the model's files made in the draft beside `save`; its figures.

        A job that is lost is gone on with from the last step that it told; what is lost there again fails.
        """
        budget, reserve = self.session.budget, self.session.reserve()
        with self._writing():
            new_draft(self.save)
        made: dict[str, Any] = {}  # step → figures, whatever becomes of the job after it
        arguments = {
            "recipe": self.origin.recipe.as_json(),
            "draft": str(self.draft),
            "train_seconds": budget.left_s - reserve.after_training_s(budget.asked_s),
            "more_train_seconds": budget.left_s - reserve.after_more_training_s(budget.asked_s),
            "late_seconds": LATE_SHARE * budget.late_s,
            "expected_seconds": reserve.run_s,
            "trial_folder": str(self.folder),
            "predict_views": self.origin.predict_views,
            "adjustment": self.origin.adjustment,
            "made": made,
            "lost": "",
        }

        def hear(event: dict[str, Any]) -> None:
            if event["event"] == "made":
                made[event["step"]] = event["figures"]
            else:
                self._hear(event)

        lost_at: set[int] = set()
        while True:
            arguments["seconds"] = budget.left_s
            ended = self.session.crew.perform("winner", self.task, arguments, on_event=hear)
            if ended["kind"] == "done":
                return {name: value for figures in made.values() for name, value in figures.items()}
            if len(made) in lost_at or not (made or (self.folder / STATE).is_file()):
                raise MeasurementFailed(f"the winner (trial {self.trial}) could not be finished: {ended['detail']}")
            lost_at.add(len(made))
            arguments["lost"] = _how(ended)
            taken = f"what it had finished is kept ({', '.join(made)})" if made else "the trial's own weights are taken"
            self.session.tell(f"making the winner was lost, {arguments['lost']}; {taken}")

    def hand_over(self, made: dict[str, Any]) -> None:
        """Hand over the model with the figures `made`; then have an int8 one made and add it, files and figures.

        Whatever becomes of that, and of this process, the model lies there whole.
        """
        made["int8"] = {"left_out": self._why_no_int8(made) or NOT_YET}
        with self._writing():
            describe(self.draft, self.task, self.origin, made)
            hand_over(self.draft, self.save)  # the former model is only given up for a whole new one
        if made["int8"]["left_out"] != NOT_YET:
            return
        self.session.tell(f"the model is in {self.save}; an int8 one is made of it")
        try:
            made["int8"] = self._int8()
            describe(self.draft, self.task, self.origin, made)
            hand_over_more(self.draft, self.save)
        except OSError as error:  # card and record go on saying what they said before
            made["int8"] = {"left_out": f"it could not be written: {error.strerror or error}"}
            self.session.tell(f"the int8 model is left out: {made['int8']['left_out']}")
            (self.save / MODEL_FILES["int8-static"]).unlink(missing_ok=True)
            shutil.rmtree(self.draft, ignore_errors=True)

    def _why_no_int8(self, made: dict[str, Any]) -> str:
        """Why an int8 model is not even tried; empty where it is."""
        answers = made["test"]["images"] * self.origin.predict_views
        needed = int8_seconds(made["test_seconds"], answers, len(self.task.rows(Split.TRAIN)))
        left = self._int8_left_s
        if left < INT8_TRIED_FROM * needed:
            return f"quantising and testing takes about {needed:.0f} s, {max(left, 0):.0f} s were left"
        return ""

    def _int8(self) -> dict[str, Any]:
        """The int8 model's figures, its file in the draft; or {"left_out": why}. OSError: there was no room."""
        new_draft(self.save)
        arguments = {
            "backbone": self.origin.recipe.backbone,
            "resolution": self.origin.recipe.resolution,
            "folder": str(self.save),
            "draft": str(self.draft),
            "answers": str(self.folder / ANSWERS),
        }
        crew, left = self.session.crew, self._int8_left_s
        ended = crew.perform("int8", self.task, arguments, on_event=self._hear, seconds=left)
        figures: dict[str, Any] = ended["result"]
        if ended["kind"] == "stopped":
            figures = {"left_out": f"quantising and testing took longer than the {left:.0f} s that were left"}
        elif ended["kind"] != "done":
            figures = {"left_out": f"the job that was to make it was lost, {_how(ended)}"}
        if "left_out" in figures:
            (self.draft / MODEL_FILES["int8-static"]).unlink(missing_ok=True)
        return figures

    @property
    def _int8_left_s(self) -> float:
        return self.session.budget.left_s - CLOSING_S

    @property
    def draft(self) -> Path:
        """Where files lie until they are whole."""
        return draft_of(self.save)

    def _hear(self, event: dict[str, Any]) -> None:
        if event["event"] == "stage":
            self.session.tell(event["stage"])
        elif event["event"] == "epoch":
            self.session.tell_passing(f"training the winner, {event['progress']:.0%}")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputFailed(
                f"cannot write the model to {self.save}: {error.strerror or error}; make room there, or go on with "
                "--resume and another folder in --save"
            ) from error


def _how(ended: dict[str, Any]) -> str:
    """How a job was lost, in a line."""
    return f"{ended['kind']}: {' '.join(ended['detail'].split())}"[:200]


def _why_there_is_none(session: Session) -> str:
    infos = trial_infos(session.opened.study, session.opened.folder, session.space, session.request.seed)
    broken = sum(t.outcome == "complete" for t in infos)
    says = "no trial could be completed within the budget"
    if broken:
        says = f"no trial that keeps the limits could be completed within the budget; {broken} complete ones break them"
    return "\n".join([says, *[f"trial {t.number}: {t.outcome}: {t.detail}" for t in infos][:10]])
