"""`tune`, from top to bottom: data, screening, search, winner, result; all within the budget."""

import json
import os
import time
from dataclasses import dataclass, field, replace
from typing import Any

import optuna

from selector.backbones.catalog import backbone as catalog_backbone
from selector.backbones.depth import FreezeDepth
from selector.errors import InvalidInput, MeasurementFailed, NoFeasibleCandidate, WeightsUnavailable
from selector.resources import home
from selector.tuning.data.dataset import Dataset, DataSummary, load_dataset
from selector.tuning.data.split import Split
from selector.tuning.info import BudgetUse, OnProgress, Progress, Screened, TrialInfo, TuneRequest, TuneResult, Winner
from selector.tuning.jobs.common import Task, save_dataset
from selector.tuning.recipe import Recipe
from selector.tuning.search.budget import Budget, Reserve, finishing_seconds
from selector.tuning.search.crew import Crew, WorkerBroken
from selector.tuning.search.pace import Pace
from selector.tuning.search.session import Known, Session, enqueue_first, expected_run_seconds, requeue_lost
from selector.tuning.search.space import SearchSpace
from selector.tuning.search.storage import fail_lost_trials, patiently, study_lock
from selector.tuning.search.study import (
    SCREENED,
    OpenStudy,
    best_trial,
    importances,
    open_study,
    study_folder,
    trial_infos,
)

SHORTEST_BUDGET_S = 20.0
MOST_VIEWS = 8
VIEWS_SHARE = 0.15
"""The part of the budget that caching the views of one depth may take; it sets their number, 2 to `MOST_VIEWS`."""

CALIBRATION_IMAGES = 96
LISTED = 20  # files left out that are named on the way


def tune(request: TuneRequest, on_progress: OnProgress = lambda progress: None) -> TuneResult:
    """Search within `request.budget_s` seconds and hand over the best model found, trained and tested.

    Raises InvalidInput for data that cannot be tuned on, a study that does not fit and a budget that is too short;
    WeightsUnavailable where no backbone has pretrained weights; NoFeasibleCandidate where none keeps the limits;
    MeasurementFailed where not a single trial could be completed.
    """
    return _Story(request, on_progress).tell_it()


@dataclass
class _Story:
    request: TuneRequest
    on_progress: OnProgress
    budget: Budget = field(init=False)
    phase: str = "data"
    study: optuna.Study | None = None
    screened: list[Screened] = field(default_factory=list)
    known: dict[str, Known] = field(default_factory=dict)
    latency_ms: dict[str, float] = field(default_factory=dict)  # "backbone@resolution"
    screen_s: dict[str, tuple[float, float]] = field(default_factory=dict)

    def tell_it(self) -> TuneResult:
        self.budget = Budget(self.request.budget_s, time.monotonic() - self.request.spent_s)
        _check(self.request)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        cores = len(os.sched_getaffinity(0))
        threads = max(1, cores // self.request.workers)
        logs = home() / "studies" / ".starting" / str(os.getpid())
        with Crew(self.request.workers, threads, logs) as crew:  # torch is imported there while the data is read here
            try:
                return self._with(crew, threads)
            except WorkerBroken as error:
                raise MeasurementFailed(str(error)) from error

    def _with(self, crew: Crew, threads: int) -> TuneResult:
        request = self.request
        with self.budget.phase("data"):
            dataset = load_dataset(request.data, seed=request.seed, progress=self._count)
            self._tell_about(dataset)
            name, folder = study_folder(request, dataset)
        with study_lock(folder):
            save_dataset(dataset, folder / "data.json")
            opened = open_study(request, dataset, name, folder)
            self.study = opened.study
            task = Task(
                folder,
                request.weights,
                request.random_init,
                home() / "activations",
                request.cache_bytes,
                threads,
            )
            lost = requeue_lost(opened, alone=request.storage is None)
            if lost:
                self._say(f"{lost} trials of a process that ended are tried again")
            with self.budget.phase("screening"):
                self.phase = "screening"
                self._screen(crew, task, opened)
            with self.budget.phase("search"):
                self.phase = "search"
                session = self._search(crew, task, opened, dataset)
            with self.budget.phase("winner"):
                self.phase = "winner"
                winner = self._winner(crew, task, opened, session)
                patiently(lambda: fail_lost_trials(opened.study, set(), alone=request.storage is None))
            return self._result(dataset, opened, session, winner)

    # -- screening -------------------------------------------------------------------------------------------------

    def _screen(self, crew: Crew, task: Task, opened: OpenStudy) -> None:
        """Screen every backbone once in the study's life; what a former process found is taken over."""
        before: dict[str, Any] = json.loads(patiently(lambda: opened.study.user_attrs).get(SCREENED, "{}"))
        waiting = [name for name in self.request.backbones if name not in before]
        for name in self.request.backbones:
            if name in before:
                self._take(name, before[name])
        running: dict[int, str] = {}
        share = 0.35 * self.budget.asked_s  # later backbones are left unscreened rather than the search starved
        while waiting or running:
            while waiting and (idle := [n for n in crew.idle if n not in running]):
                name = waiting.pop(0)
                if self.known and self.budget.phases.get("data", 0) + share < self.budget.used_s:
                    self.screened.append(
                        Screened(name, self._plain(name), None, None, 0.0, "none", "no time to screen it")
                    )
                    continue
                running[idle[0]] = name
                crew.order(idle[0], "screen", task, self._screen_arguments(name))
            for number, event in crew.hear(1.0):
                if event["event"] == "progress":
                    says = f"{running.get(number, '')}: {event['done']} of {event['all']} images"
                    self._say(says, passing=True)
                elif event["event"] == "ended":
                    name = running.pop(number)
                    before[name] = {"kind": event["kind"], "detail": event["detail"], **event["result"]}
                    self._take(name, before[name])
                    if event["kind"] == "done":
                        patiently(lambda: opened.study.set_user_attr(SCREENED, json.dumps(before)))
        if not self.known:
            problems = [s.problem for s in self.screened]
            if any("WeightsUnavailable" in str(entry.get("error")) for entry in before.values()):
                raise WeightsUnavailable(problems)
            raise MeasurementFailed("no backbone could be screened. " + "; ".join(problems))

    def _screen_arguments(self, name: str) -> dict[str, Any]:
        limits = self.request.limits
        limited = limits.max_latency_ms is not None
        elsewhere = any(place.split("@")[0] == name for place in limits.latency_ms)
        unknown = [] if elsewhere else list(self._resolutions(name))
        return {
            "backbone": name,
            "resolution": self._plain(name),
            "depths": list(self.request.freezes),
            "latency_resolutions": unknown if limited else [],
        }

    def _take(self, name: str, found: dict[str, Any]) -> None:
        if found["kind"] != "done":
            self.screened.append(Screened(name, self._plain(name), None, None, 0.0, "none", found["detail"]))
            self._say(f"{name} is left out: {found['detail'].splitlines()[0]}")
            return
        self.known[name] = Known(found["digest"], found["total_blocks"])
        self.latency_ms.update(found["latency_ms"])
        self.screen_s[name] = (found["fill_seconds"], found["setup_seconds"])
        self.screened.append(
            Screened(name, self._plain(name), found["probe"], found["knn"], found["seconds"], found["runtime"])
        )
        self._say(f"{name}: a linear probe reaches macro-F1 {found['probe']:.3f}")

    # -- search ----------------------------------------------------------------------------------------------------

    def _search(self, crew: Crew, task: Task, opened: OpenStudy, dataset: Dataset) -> Session:
        train = len(dataset.positions(Split.TRAIN))
        pace = Pace(len(task.trainable), train)
        for name, (seconds, setup) in self.screen_s.items():
            if seconds:
                pace.learn_fill(Recipe(name, freeze="head", resolution=self._plain(name)), 1, seconds, setup)
        scored = [(max(s.probe, s.knn or 0.0), s.backbone) for s in self.screened if s.probe is not None]
        ranked = [name for _, name in sorted(scored, reverse=True)]
        self._check_limits(ranked)
        space = self._space(ranked, pace, dataset)
        if strange := [name for name in space.backbones if name not in self.known]:
            raise InvalidInput(
                f"the study searches over {', '.join(space.backbones)}, of which {', '.join(strange)} was not screened "
                "here; name the same ones with --backbones"
            )
        counts = [sum(c.values()) for c in dataset.summary().counts.values()]
        images_per_class = train / len(dataset.classes)
        first = space.first_trials(
            ranked, images_per_class=images_per_class, imbalance=max(counts) / min(counts), budget_s=self.budget.asked_s
        )
        enqueue_first(opened, first)
        tested = len(dataset.positions(Split.TEST))

        def reserve() -> Reserve:
            return self._reserve(opened, pace, space, tested)

        session = Session(
            opened=opened,
            space=space,
            request=self.request,
            task=task,
            crew=crew,
            budget=self.budget,
            pace=pace,
            backbones=self.known,
            constraints=self._constraints,
            reserve=reserve,
            tell=self._say,
        )
        session.run()
        return session

    def _space(self, ranked: list[str], pace: Pace, dataset: Dataset) -> SearchSpace:
        """The study's space: fixed by the first process that works on it, read by all others."""
        assert self.study is not None
        study = self.study
        attrs = patiently(lambda: study.user_attrs)
        if "space" in attrs:
            stored = json.loads(attrs["space"])
            return SearchSpace.from_json(stored)
        best = Recipe(ranked[0], resolution=self._plain(ranked[0]), freeze="last-3")
        a_view = pace.fill_seconds(best, 1) - pace.start_seconds - pace.setup_seconds
        views = int(min(MOST_VIEWS, max(2, VIEWS_SHARE * self.budget.asked_s / max(a_view, 1e-3))))
        space = SearchSpace(
            backbones=tuple(ranked),
            freezes=self.request.freezes,
            resolutions=self._resolutions(ranked[0]),
            augmentations=("none", "flip", "dihedral", "document"),
            views=views,
            batch_size=32 if len(dataset.positions(Split.TRAIN)) >= 256 else 16,
        )
        text = json.dumps({name: getattr(space, name) for name in SearchSpace.__dataclass_fields__})
        patiently(lambda: study.set_user_attr("space", text))
        return space

    def _resolutions(self, name: str) -> tuple[int, ...]:
        """The pretraining's resolution, and a third more where the budget may pay for it (P6)."""
        if self.request.resolutions:
            return self.request.resolutions
        plain = catalog_backbone(name).resolution
        larger = int(plain * 4 / 3 // 32 * 32)
        return (plain, larger) if self.budget.asked_s >= 600 else (plain,)

    def _plain(self, name: str) -> int:
        """The first resolution of a backbone: what it is screened at."""
        return self._resolutions(name)[0]

    def _reserve(self, opened: OpenStudy, pace: Pace, space: SearchSpace, tested: int) -> Reserve:
        best = best_trial(opened.study)
        recipe = space.recipe(best.params, 0) if best else Recipe(space.backbones[0], resolution=space.resolutions[0])
        views = recipe.augment().views if recipe.augmentation in ("flip", "dihedral") else 1
        finishing_s, parity_s, int8_s = finishing_seconds(
            image_s=pace.image_seconds(recipe.backbone, recipe.resolution),
            test_images=tested,
            views=views,
            calibration_images=min(CALIBRATION_IMAGES, pace.train_images),
            start_s=pace.start_seconds,
        )
        return Reserve(finishing_s, parity_s, int8_s, expected_run_seconds(opened, pace, space, self.request.seed))

    # -- limits ----------------------------------------------------------------------------------------------------

    def _constraints(self, recipe: Recipe) -> dict[str, float]:
        """How far a recipe is beyond each limit: zero or less keeps it. Known before training."""
        limits = self.request.limits
        found: dict[str, float] = {}
        if limits.max_latency_ms is not None:
            latency = self._latency(recipe.backbone, recipe.resolution)
            if latency is not None:
                found["latency_ms"] = latency - limits.max_latency_ms
        if limits.max_artifact_mb is not None:
            found["artifact_mb"] = _artifact_mb(recipe.backbone) - limits.max_artifact_mb
        return found

    def _latency(self, name: str, resolution: int) -> float | None:
        """Milliseconds of one inference where the model will run, or here where nothing else was given.

        What is known at another resolution alone is scaled by the area: an approximation, a little too high.
        """
        known = self.request.limits.latency_ms or self.latency_ms
        if (exact := known.get(f"{name}@{resolution}")) is not None:
            return exact
        sides = {int(place.split("@")[1]): ms for place, ms in known.items() if place.split("@")[0] == name}
        if not sides:
            return self.latency_ms.get(f"{name}@{resolution}")
        nearest = min(sides, key=lambda side: abs(side - resolution))
        return sides[nearest] * (resolution / nearest) ** 2

    def _check_limits(self, ranked: list[str]) -> None:
        over = {
            name: broken
            for name in ranked
            if (
                broken := {
                    k: v for k, v in self._constraints(Recipe(name, resolution=self._plain(name))).items() if v > 0
                }
            )
        }
        if len(over) == len(ranked):
            nearest = min(over, key=lambda name: sum(over[name].values()))
            says = ", ".join(f"{limit} by {excess:.3g}" for limit, excess in over[nearest].items())
            raise NoFeasibleCandidate(
                f"none of {', '.join(ranked)} keeps the limits; the nearest, {nearest}, is beyond {says}"
            )

    # -- winner ----------------------------------------------------------------------------------------------------

    def _winner(self, crew: Crew, task: Task, opened: OpenStudy, session: Session) -> Winner:
        best = best_trial(opened.study)
        if best is None:
            told = [
                f"trial {t.number}: {t.outcome}: {t.detail}"
                for t in trial_infos(opened.study, opened.folder, session.space, self.request.seed)
            ]
            raise MeasurementFailed("\n".join(["no trial could be completed within the budget", *told[:10]]))
        recipe = session.space.recipe(best.params, self.request.seed)
        folder = opened.folder / "trials" / str(best.number)
        file = folder / "result.json"
        result = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        recipe = replace(recipe, batch_size=result.get("batch_size", recipe.batch_size))
        reserve = session.reserve()
        save = self.request.save or opened.folder / "model"
        arguments = {
            "recipe": recipe.as_json(),
            "save": str(save.resolve()),
            "seconds": self.budget.left_s,
            "train_seconds": self.budget.left_s - reserve.after_training_s(self.budget.asked_s),
            "expected_seconds": reserve.run_s,
            "trial_folder": str(folder),
            "predict_views": result.get("predict_views", 1),
            "command": self.request.command,
            "budget_seconds": self.request.budget_s,
        }
        ended = crew.perform("winner", task, arguments, on_event=self._on_winner)
        if ended["kind"] != "done":
            raise MeasurementFailed(f"the winner (trial {best.number}) could not be finished: {ended['detail']}")
        return Winner(
            trial=best.number,
            recipe=recipe,
            predict_views=arguments["predict_views"],
            validation=result.get("scores", {}),
            result=ended["result"],
            folder=save,
        )

    def _on_winner(self, event: dict[str, Any]) -> None:
        if event["event"] == "stage":
            self._say(event["stage"])
        elif event["event"] == "epoch":
            self._say(f"training the winner, {event['progress']:.0%}", passing=True)

    # -- result ----------------------------------------------------------------------------------------------------

    def _result(self, dataset: Dataset, opened: OpenStudy, session: Session, winner: Winner) -> TuneResult:
        infos: tuple[TrialInfo, ...] = trial_infos(opened.study, opened.folder, session.space, self.request.seed)
        return TuneResult(
            study=opened.name,
            folder=opened.folder,
            storage="postgresql" if self.request.storage else str(opened.folder / "journal.log"),
            classes=dataset.classes,
            summary=dataset.summary(),
            left_out=dataset.left_out,
            notes=dataset.notes,
            screened=tuple(self.screened),
            trials=infos,
            importances=importances(opened.study),
            winner=winner,
            budget=BudgetUse(self.request.budget_s, self.budget.used_s, session.stop_reason, dict(self.budget.phases)),
            random_init=self.request.random_init,
        )

    def _count(self, done: int, images: int) -> None:
        if done % 64 == 0 or done == images:
            self._say(f"{done} of {images} images read", passing=True)

    def _tell_about(self, dataset: Dataset) -> None:
        summary = dataset.summary()
        counts = ", ".join(f"{name} {sum(splits.values())}" for name, splits in summary.counts.items())
        self._say(f"{summary.images} images in {len(dataset.classes)} classes ({counts}), {_sizes(summary)}")
        for note in dataset.notes:
            self._say(note)
        for item in dataset.left_out[:LISTED]:
            self._say(f"left out: {item.path}: {item.why}")
        if len(dataset.left_out) > LISTED:
            self._say(f"left out: {len(dataset.left_out) - LISTED} more; --json lists all")

    def _say(self, says: str, passing: bool = False) -> None:
        best, trials = None, 0
        if self.study is not None and self.phase != "data":
            found = best_trial(self.study)
            best, trials = (found.value if found else None), len(self.study.get_trials(deepcopy=False))
        self.on_progress(Progress(self.phase, trials, best, self.budget.left_s, says, passing))


def _check(request: TuneRequest) -> None:
    faults: list[str] = []
    if request.budget_s < SHORTEST_BUDGET_S:
        faults.append(f"a budget of {request.budget_s:g} s is too short; {SHORTEST_BUDGET_S:.0f} s is the least")
    if not request.backbones:
        faults.append("no backbone to search over; name some with --backbones")
    if request.workers < 1:
        faults.append(f"--workers {request.workers}: at least one")
    if request.workers > len(os.sched_getaffinity(0)):
        faults.append(f"--workers {request.workers}: this machine has {len(os.sched_getaffinity(0))} usable cores")
    for name in request.backbones:
        try:
            catalog_backbone(name)
        except InvalidInput as error:
            faults += error.faults
    faults += [f"resolution {r}: 32 pixels at least" for r in request.resolutions if r < 32]
    for depth in request.freezes:
        try:
            FreezeDepth.parse(depth)
        except InvalidInput as error:
            faults += error.faults
    if faults:
        raise InvalidInput(faults)


def _sizes(summary: DataSummary) -> str:
    smallest, largest = (f"{w}×{h}" for w, h in (summary.smallest, summary.largest))
    return f"{smallest} px" if smallest == largest else f"{smallest} to {largest} px"


def _artifact_mb(name: str) -> float:
    facts = catalog_backbone(name)
    return (facts.artifact_bytes - 4 * facts.classifier_params) / 1e6
