"""Inference of several models in turns: each loaded once, in a process of its own, and timed there window by window.

The worker imports the runtime's library and forks for each model. A fork loads its model, tells its first moments, and
waits; later it is given turns of one window each. So a load is the first in its process, each peak of memory is one
model's, the thread pool of a model knows no other model, and whatever becomes of one process is one configuration's
outcome. One runs at a time; the others are stopped. So are the workers of other runtimes, which take turns with this
one (`rounds`).

Some runtimes have their models side by side: a fork tells the first moments and ends, and the models are loaded once
more in the worker. On a GPU, because a CUDA context per model would take some hundred megabytes of the GPU's memory
each, and exclusive GPUs grant only one. PyTorch's eager mode, because it allocates every activation anew: with a heap
per model, two runs of the same twelve models lay up to 16 % apart and took up to three times the samples, in one heap
up to 3 % (2 cores, torch 2.14); and its second load is quick.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from selector.profiling import forks, runtimes
from selector.profiling.agreement import (
    WITHOUT,
    Agreement,
    agreement,
    answers,
    keep_agreement,
    kept_agreement,
)
from selector.profiling.channel import Channel
from selector.profiling.forks import Forked, Outcome
from selector.profiling.images import ImageSet
from selector.profiling.lifetime import Wanted, life
from selector.profiling.memory import mapped_library_pages
from selector.profiling.protocol import Settings
from selector.profiling.runtimes.base import Logits, Runtime

RELEASE_S = 30.0
"""A model that is not let go of within this time is ended."""

Events = Callable[[], Iterator[dict[str, Any]]]


class InProcess:
    """What `Forked` is, without a process of its own."""

    def __init__(self, events: Events) -> None:
        self._events = events()

    def ask(self, *, patience_s: float) -> Outcome:
        """The next event. A hang is for the parent to notice."""
        del patience_s
        try:
            return Outcome("done", next(self._events))
        except Exception as error:  # noqa: BLE001 - a configuration's failure is an outcome to record, whatever it is
            kind, detail = forks.classify_error(error)
            return Outcome(kind, {}, detail)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the model."""
        self._events.close()  # type: ignore[attr-defined]  # a generator


@dataclass(frozen=True, slots=True)
class Turn:
    """A loaded model among those that are timed in turn. `close` lets go of it."""

    id: int
    model: Forked | InProcess
    close: Callable[[], None]


def inference(channel: Channel, task: dict[str, Any]) -> None:
    """Measure each model's first moments, then all models in turns."""
    runtime = runtimes.load(task["runtime"])
    runtime.prepare_process(task["threads"])
    settings, patience_s = Settings(**task["settings"]), task["patience_s"]
    side_by_side = runtime.side_by_side
    with ExitStack() as stack:
        hall = Hall(channel, runtime, settings, patience_s, mapped_library_pages(), stack, crowded=task["crowded"])
        entered = []
        for item in task["items"]:
            stays = item["steady"] and not side_by_side
            if (item["cold"] or stays) and not hall.enter(item, Forked, stays=stays):
                continue
            entered.append(item)
        if side_by_side:
            for item in entered:
                if item["steady"]:
                    hall.enter({**item, "cold": False}, InProcess, stays=True)
        take_turns(channel, hall.turns, patience_s=patience_s, crowded=task["crowded"])


@dataclass(slots=True)
class Hall:
    """Where loaded models wait for their turns."""

    channel: Channel
    runtime: type[Runtime]
    settings: Settings
    patience_s: float
    libraries: NDArray[np.int64]
    stack: ExitStack  # ends all that are still there
    crowded: bool = False  # whether other workers hold models, too
    turns: list[Turn] = field(default_factory=list)

    def enter(self, item: dict[str, Any], kind: Callable[[Events], Forked | InProcess], *, stays: bool) -> bool:
        """Load a model, and tell its first moments where they are wanted. Whether that went well.

        With `stays` it is kept for the turns.
        """
        id_ = item["id"]
        self.channel.announce("turn", id=id_)
        wanted = Wanted.of({**item, "steady": stays})
        own = self.stack.enter_context(ExitStack())
        model = kind(partial(life, self.runtime, wanted, self.settings, self.libraries))
        own.enter_context(model)
        outcome = model.ask(patience_s=self.patience_s)
        if not stays:
            if outcome.kind == "done":  # it may let go of the model: some runtimes keep what they compiled then
                self.channel.announce("turn", id=id_)
                model.ask(patience_s=min(RELEASE_S, self.patience_s))
            own.close()  # its memory, and a GPU's context, before another process of the same model begins
        if outcome.kind == "done" and wanted.cold and item.get("reference"):
            self.channel.announce("turn", id=id_)  # a new patience begins
            outcome = self._with_agreement(id_, outcome.result, wanted, item["reference"])
        if outcome.kind != "done":
            own.close()
            fail(self.channel, id_, outcome, beside=self._beside)
            return False
        if wanted.cold:
            self.channel.tell(**outcome.result, id=id_, last=not item["steady"])
        if stays:
            self.turns.append(Turn(id_, model, own.close))
        return True

    @property
    def _beside(self) -> bool:
        """Whether other models are loaded."""
        return self.crowded or bool(self.turns)

    def _with_agreement(self, id_: int, cold: dict[str, Any], wanted: Wanted, reference: dict[str, Any]) -> Outcome:
        """A model's first moments with its agreement with fp32, measured where nobody has kept it.

        In a process of its own: it would leave another heap behind than a model has whose agreement is known. Where
        that fails, the parent is told so and the first moments come without.
        """
        place, of = Path(reference["kept"]), reference["of"]
        found = kept_agreement(place, of)
        if found is None:
            work = partial(_agreement, self.runtime, wanted, reference)
            outcome = forks.in_steps(
                work,
                patience_s=self.patience_s,
                told=lambda progress: self.channel.announce("turn", id=id_, progress=progress),
            )
            if outcome.kind == "out-of-memory" and self._beside:
                return outcome  # it may find room without the others
            if outcome.kind != "done":
                detail = f"{WITHOUT}{outcome.detail}"
                self.channel.tell("no-agreement", id=id_, outcome=outcome.kind, detail=detail)
                return Outcome("done", cold)
            found = Agreement(**outcome.result)
            keep_agreement(place, of, found)
        both = {"agreement_top1": found.top1, "cosine_logits": found.cosine}
        return Outcome("done", {**cold, "result": {**cold["result"], **both}})


def _agreement(runtime: type[Runtime], wanted: Wanted, reference: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A step after each image, and at last the agreement: a slow model's images may take longer than any patience."""
    images = ImageSet("agreement", reference["images"])
    found: list[Logits] = []
    with runtime(wanted.file, precision=wanted.job.precision, threads=wanted.job.threads) as loaded:
        for logits in answers(loaded, images):
            found.append(logits)
            yield {"progress": len(found) / images.count}
    yield asdict(agreement(np.load(reference["logits"]), np.concatenate(found)))


def take_turns(channel: Channel, turns: Sequence[Turn], *, patience_s: float, crowded: bool = False) -> None:
    """Time all models window by window in turns, each until its figure is good enough.

    In turns, so that a spell of noise on the machine falls on all and not on one, and each is seen at several times.
    `crowded`: other workers hold models, too, whose windows the parent lets come in between.
    """
    active = list(turns)
    while active:
        for turn in list(active):
            channel.announce("turn", id=turn.id)
            outcome = turn.model.ask(patience_s=patience_s)
            if outcome.kind == "done":
                channel.tell(**outcome.result, id=turn.id)
                if outcome.result["event"] != "measured":
                    continue
            else:
                fail(channel, turn.id, outcome, beside=crowded or len(active) > 1)
            active.remove(turn)
            turn.close()


def fail(channel: Channel, id_: int, outcome: Outcome, *, beside: bool = False) -> None:
    """Tell the parent that nothing more comes of an item; `beside`: other models were loaded at that moment."""
    channel.tell("failed", id=id_, outcome=outcome.kind, detail=outcome.detail, beside=beside)
