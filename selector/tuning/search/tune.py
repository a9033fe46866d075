"""`tune`, from top to bottom: data, screening, search, winner, result; all within the budget."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import optuna

from selector.backbones.catalog import backbone as catalog_backbone
from selector.errors import InvalidInput, MeasurementFailed
from selector.resources import home
from selector.tuning.data.dataset import Dataset, load_dataset
from selector.tuning.data.split import Split
from selector.tuning.data.told import sentences
from selector.tuning.info import (
    DEFAULT_FREEZES,
    BudgetUse,
    OnProgress,
    Progress,
    TrialInfo,
    TuneRequest,
    TuneResult,
    Winner,
)
from selector.tuning.jobs.common import Task, save_dataset
from selector.tuning.place import NO_ROOM, cannot_write, check_home
from selector.tuning.recipe import Recipe
from selector.tuning.search.budget import Budget, Reserve, faster_alone, finishing_seconds
from selector.tuning.search.caching import Caching
from selector.tuning.search.check import check
from selector.tuning.search.crew import Crew, WorkerBroken
from selector.tuning.search.finish import finish
from selector.tuning.search.limits import HeldLimits
from selector.tuning.search.pace import Pace
from selector.tuning.search.screening import Screening
from selector.tuning.search.session import Session, enqueue_first, expected_run_seconds, requeue_lost
from selector.tuning.search.space import SearchSpace
from selector.tuning.search.storage import fail_lost_trials, first_wins, patiently, study_lock
from selector.tuning.search.study import (
    OpenStudy,
    best_trial,
    count_trials,
    importances,
    open_study,
    study_folder,
    trial_infos,
)

MOST_VIEWS = 8
VIEWS_SHARE = 0.07
"""The part of the budget that caching the views of one depth may take; it sets their number, 2 to `MOST_VIEWS`."""

READING_SHARE = 0.5
"""A budget of which reading the images takes more than this is refused, as soon as `READING_SURE` of it is gone."""

READING_SURE = 0.1


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
    folder: Path | None = None  # the study's
    opened: OpenStudy | None = None
    screening: Screening = field(init=False)
    _read_image_s: float = 0.0  # of the data, on all cores

    def tell_it(self) -> TuneResult:
        self.budget = Budget(self.request.budget_s, time.monotonic() - self.request.spent_s)
        check(self.request)
        check_home(home())
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        cores = len(os.sched_getaffinity(0))
        threads = max(1, cores // self.request.workers)
        logs = home() / "studies" / ".starting" / str(os.getpid())
        try:
            with Crew(self.request.workers, threads, logs) as crew:  # torch is imported there while data is read here
                return self._with(crew, threads)
        except WorkerBroken as error:
            raise MeasurementFailed(str(error)) from error
        except OSError as error:
            if error.errno in NO_ROOM:
                raise cannot_write(Path(error.filename or home()), error) from error
            raise
        finally:
            self._put_away(logs)

    def _with(self, crew: Crew, threads: int) -> TuneResult:
        request = self.request
        with self.budget.phase("data"):
            began = time.monotonic()
            dataset = load_dataset(
                request.data, seed=request.seed, progress=lambda done, images: self._count(began, done, images)
            )
            self._read_image_s = (time.monotonic() - began) / max(1, len(dataset.samples))
            whole, *warnings = sentences(dataset)
            self._say(whole)
            for sentence in warnings:
                self._say(sentence, warns=True)
            name, folder = study_folder(request, dataset)
        with study_lock(folder), self._told_to_resume(name):
            opened = open_study(request, dataset, name, folder)
            save_dataset(dataset, folder / "data.json")
            self.opened, self.folder = opened, folder
            request = self.request = self._as_it_began(opened)
            self.screening = Screening(
                request, self.budget, self._resolutions, self._say, lambda says: self._say(says, passing=True)
            )
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
                self.screening.run(crew, task, opened)
            with self.budget.phase("search"):
                self.phase = "search"
                session = self._search(crew, task, opened, dataset)
            with self.budget.phase("winner"):
                self.phase = "winner"
                winner = finish(session)
                patiently(lambda: fail_lost_trials(opened.study, set(), alone=request.storage is None))
            return self._result(dataset, opened, session, winner)

    @contextmanager
    def _told_to_resume(self, name: str) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:
            self._say(f"stopped; study {name} keeps what was finished: go on with the same command and --resume")
            raise

    def _put_away(self, logs: Path) -> None:
        """What the workers said stays with the study; of a search that never got one, nothing."""
        if self.folder is None:
            shutil.rmtree(logs, ignore_errors=True)
        elif logs.is_dir():
            target = self.folder / "logs" / f"{time.time():.0f}-{os.getpid()}"
            with suppress(OSError):  # a full disk is told by what met it first
                target.parent.mkdir(exist_ok=True)
                logs.rename(target)

    def _as_it_began(self, opened: OpenStudy) -> TuneRequest:
        """The request, over what the study began with: a search that goes on does so in one space."""
        stored = patiently(lambda: opened.study.user_attrs).get("space")
        if stored is None:
            return self.request
        space = SearchSpace.from_json(json.loads(stored))
        for option, asked, began in (
            ("--backbones", () if self.request.advised else self.request.backbones, space.backbones),
            ("--freeze", self.request.freezes, space.freezes),
            ("--resolution", self.request.resolutions, space.resolutions),
        ):
            if set(asked) not in (set(), set(DEFAULT_FREEZES), set(began)):
                self._say(
                    f"the study goes on over what it began with, {', '.join(map(str, began))}: {option} is not heard"
                )
        return replace(self.request, backbones=space.backbones, freezes=space.freezes, resolutions=space.resolutions)

    # -- search ----------------------------------------------------------------------------------------------------

    def _search(self, crew: Crew, task: Task, opened: OpenStudy, dataset: Dataset) -> Session:
        train = len(dataset.positions(Split.TRAIN))
        pace = Pace(len(task.trainable), train, self._read_image_s)
        sides = {s.backbone: s.resolution for s in self.screening.screened}
        for name, (seconds, setup) in self.screening.seconds.items():
            if seconds:
                pace.learn_fill(Recipe(name, freeze="head", resolution=sides[name]), 1, seconds, setup)
        scored = [(max(s.probe, s.knn or 0.0), s.backbone) for s in self.screening.screened if s.probe is not None]
        ranked = [name for _, name in sorted(scored, reverse=True)]
        limits = HeldLimits(self.request.limits, self.screening.latency_ms)
        narrowed = limits.narrow(ranked, self._resolutions)
        for sentence in narrowed.said:
            self._say(sentence)
        ranked = narrowed.backbones
        space = self._space(ranked, narrowed.resolutions, pace, dataset)
        if strange := [name for name in space.backbones if name not in self.screening.known]:
            raise InvalidInput(
                f"the study searches over {', '.join(space.backbones)}, of which {', '.join(strange)} was not screened "
                "here; give the weights of all of them with --weights"
            )
        # another host may have begun with other backbones
        ranked = [name for name in ranked if name in space.backbones] or list(space.backbones)
        counts = [sum(c.values()) for c in dataset.summary().counts.values()]
        images_per_class = train / len(dataset.classes)
        upright = {s.backbone: s.upright for s in self.screening.screened}[ranked[0]]
        if upright is False:
            self._say("turned pictures are recognised as well as upright ones: all their mirror images are used")
        first = space.first_trials(
            ranked,
            images_per_class=images_per_class,
            imbalance=max(counts) / min(counts),
            budget_s=self.budget.asked_s,
            upright=upright,
            keeps=limits.keeps,
        )
        enqueue_first(opened, first)
        # a study that goes on may hold trials that were made under other limits
        opened = self.opened = replace(opened, excess=lambda params: limits.excess(space.recipe(params, 0)))
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
            caching=Caching(task, self.screening.known, space.freezes),
            constraints=limits.excess,
            reserve=reserve,
            tell=self._say,
            tell_passing=lambda says: self._say(says, passing=True),
        )
        session.run()
        return session

    def _space(self, ranked: list[str], sides: tuple[int, ...], pace: Pace, dataset: Dataset) -> SearchSpace:
        """The study's space: fixed by the first process that works on it, read by all others."""
        assert self.opened is not None
        study = self.opened.study
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
            resolutions=sides,
            augmentations=("none", "flip", "dihedral", "document"),
            views=views,
            batch_size=32 if len(dataset.positions(Split.TRAIN)) >= 256 else 16,
        )
        text = json.dumps({name: getattr(space, name) for name in SearchSpace.__dataclass_fields__})
        return SearchSpace.from_json(json.loads(first_wins(self.opened.storage, study, "space", text)))

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
        best = best_trial(opened)
        recipe = space.recipe(best.params, 0) if best else Recipe(space.backbones[0], resolution=space.resolutions[0])
        views = best.user_attrs.get("predict_views", 1) if best else 1  # that an answer is averaged over
        finishing_s, parity_s, int8_s = finishing_seconds(
            image_s=pace.image_seconds(recipe.backbone, recipe.resolution),
            test_images=tested,
            views=views,
            train_images=pace.train_images,
            start_s=pace.start_seconds,
        )
        run_s = expected_run_seconds(opened, pace, space, self.request.seed) / faster_alone(self.request.workers)
        return Reserve(finishing_s, parity_s, int8_s, run_s)

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
            screened=tuple(self.screening.screened),
            trials=infos,
            importances=importances(opened.study),
            winner=winner,
            budget=BudgetUse(self.request.budget_s, self.budget.used_s, session.stop_reason, dict(self.budget.phases)),
            random_init=self.request.random_init,
        )

    def _count(self, began: float, done: int, images: int) -> None:
        if done % 64 and done != images:
            return
        self._say(f"{done} of {images} images read", passing=True)
        whole = (time.monotonic() - began) * images / done
        asked = self.budget.asked_s
        if self.budget.used_s > READING_SURE * asked and whole > READING_SHARE * asked and done < images:
            raise InvalidInput(
                f"reading the {images} images takes about {whole:.0f} s of a budget of {asked:.0f} s for everything; "
                "give more with --budget, or fewer images"
            )

    def _say(self, says: str, passing: bool = False, *, warns: bool = False) -> None:
        best, trials = None, 0
        if self.opened is not None and self.phase != "data":
            found = best_trial(self.opened)
            best, trials = (found.value if found else None), count_trials(self.opened.study)
        self.on_progress(Progress(self.phase, trials, best, self.budget.left_s, says, passing, warns))
