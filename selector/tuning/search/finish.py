"""The end of a search: its best trial becomes the model that is handed over."""

import json
from dataclasses import replace
from typing import Any

from selector.errors import MeasurementFailed
from selector.tuning.info import Winner
from selector.tuning.jobs.common import STATE
from selector.tuning.search.session import Session
from selector.tuning.search.study import best_trial, trial_infos


def finish(session: Session) -> Winner:
    """Train the best trial's recipe again, test it and save it; where that job is lost, the trial's own weights.

    Raises MeasurementFailed where no trial is complete and keeps the limits, and where the model cannot be made.
    """
    opened, request, budget = session.opened, session.request, session.budget
    best = best_trial(opened)
    if best is None:
        raise MeasurementFailed(_why_there_is_none(session))
    recipe = session.space.recipe(best.params, request.seed)
    folder = opened.folder / "trials" / str(best.number)
    file = folder / "result.json"
    result = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    kept = {**best.user_attrs, **result}
    recipe = replace(recipe, batch_size=kept.get("batch_size", recipe.batch_size))
    views, validation = kept.get("predict_views", 1), result.get("scores", {})
    if views > session.views_allowed(recipe):  # this run's limit on latency is tighter than the trial's was
        views, validation = 1, result.get("one_view") or {}
    reserve = session.reserve()
    save = request.save or opened.folder / "model"
    arguments = {
        "recipe": recipe.as_json(),
        "save": str(save.resolve()),
        "seconds": budget.left_s,
        "train_seconds": budget.left_s - reserve.after_training_s(budget.asked_s),
        "more_train_seconds": budget.left_s - reserve.whole_finishing_s,
        "expected_seconds": reserve.run_s,
        "trial_folder": str(folder),
        "predict_views": views,
        "command": request.command,
        "weights_digest": session.caching.backbones[recipe.backbone].digest,
        "budget_seconds": request.budget_s,
    }
    task = session.crew.alone(session.task)
    ended = session.crew.perform("winner", task, arguments, on_event=lambda event: _hear(session, event))
    if ended["kind"] != "done" and (folder / STATE).is_file():
        lost = f"{ended['kind']}: {' '.join(ended['detail'].split())}"[:200]
        session.tell(f"making the winner was lost, {lost}; the trial's own weights are taken")
        arguments |= {"lost": lost, "seconds": budget.left_s}
        ended = session.crew.perform("winner", task, arguments, on_event=lambda event: _hear(session, event))
    if ended["kind"] != "done":
        raise MeasurementFailed(f"the winner (trial {best.number}) could not be finished: {ended['detail']}")
    return Winner(best.number, recipe, views, validation, ended["result"], save)


def _hear(session: Session, event: dict[str, Any]) -> None:
    if event["event"] == "stage":
        session.tell(event["stage"])
    elif event["event"] == "epoch":
        session.tell_passing(f"training the winner, {event['progress']:.0%}")


def _why_there_is_none(session: Session) -> str:
    infos = trial_infos(session.opened.study, session.opened.folder, session.space, session.request.seed)
    broken = sum(t.outcome == "complete" for t in infos)
    says = "no trial could be completed within the budget"
    if broken:
        says = f"no trial that keeps the limits could be completed within the budget; {broken} complete ones break them"
    return "\n".join([says, *[f"trial {t.number}: {t.outcome}: {t.detail}" for t in infos][:10]])
