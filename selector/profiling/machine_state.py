"""The fastest state that this machine was found in (`states`): a run that saw a slower one alone is not trusted.

A runtime's `state_gauge` tells the state beside its models. What it took in the fastest state is kept in a file under
`SELECTOR_HOME/pace/`, one for each version of the runtime and number of threads. No figure is moved by it, since every
model goes with a state as it likes: figures of a slower one are marked unstable. Who removes a file, as after a lasting
change of the machine, lets the next session begin with its own.
"""

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any

from selector import resources
from selector.hardware.fingerprint import COMPARED
from selector.hardware.machine import Machine
from selector.profiling.jobs import ModelJob
from selector.profiling.keeping import write_whole
from selector.profiling.measurement import Measurement
from selector.profiling.runtimes import runtime

SLOWER_STATE = "the machine was in a slower state than it can be"

SLOWER = 1.25
"""How many times as long what tells the state takes in a slower one at least: more than one state's moments differ by
on days that are not alike."""

FASTER = 0.9
"""Of the fastest time, what a faster one is at most: the best of many moments is no state."""


@dataclass(slots=True)
class MachineState:
    """Judges the figures of a runtime on so many threads by the state that the machine was in."""

    machine: Machine
    runtime: str
    threads: int
    _here: float | None = None  # the fastest that this session knows, milliseconds

    @property
    def place(self) -> Path:
        """The file that holds the fastest state, or would."""
        text = json.dumps(self._of(), sort_keys=True)
        return resources.home() / "pace" / f"state-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"

    def fastest(self) -> float | None:
        """Milliseconds of the fastest state that any session found; None where none did."""
        known = [ms for ms in (self._here, self._kept()) if ms is not None]
        return min(known, default=None)

    def judged(self, figure: Measurement) -> Measurement:
        """The figure, marked unstable where the machine has been in a faster state.

        A stable one that was clearly faster than any before makes its state the fastest.
        """
        found = figure.pace.state_at_reference(runtime(self.runtime).gauge.powers) if figure.pace else None
        if figure.pace is None or found is None:
            return figure
        fastest, seen = self.fastest(), max(found, figure.pace.state[0])  # no faster than it was
        if figure.stable and (fastest is None or seen <= FASTER * fastest):
            self._keep(seen)
        if fastest is None or (times := found / fastest) < SLOWER:
            return figure
        why = f"{SLOWER_STATE} ({times:.2f} times)"
        return replace(figure, stable=False, reason="; ".join(filter(None, (figure.reason, why))))

    def as_json(self) -> dict[str, Any] | None:
        """What the session's document tells; None where nothing tells the state, or nobody has found any."""
        gauge, fastest = runtime(self.runtime).state_gauge, self.fastest()
        if gauge is None or fastest is None:
            return None
        kept = str(self.place) if self._kept() is not None else None
        return {"read_by": gauge.label(self.threads), "fastest_ms": fastest, "kept": kept}

    def _of(self) -> dict[str, Any]:
        """What a state's time follows from: the machine, and the runtime."""
        machine, kind = self.machine.as_json(), runtime(self.runtime)
        return {
            "runtime": self.runtime,
            "workloads": kind.state_gauge.workloads if kind.state_gauge else (),
            "threads": self.threads,
            "version": kind.version(),
            **{name: machine[name] for name in COMPARED},
        }

    def _kept(self) -> float | None:
        """What the file holds; None where there is none, or nothing that is a time."""
        with suppress(OSError, ValueError, TypeError, KeyError, OverflowError):
            kept = json.loads(self.place.read_text(encoding="utf-8"))
            ms = float(kept["fastest_ms"])
            if isfinite(ms) and ms > 0 and kept["of"] == json.loads(json.dumps(self._of())):
                return ms
        return None

    def _keep(self, ms: float) -> None:
        self._here = ms
        at = datetime.now(UTC).isoformat(timespec="seconds")
        with suppress(OSError):  # this session knows it all the same
            self.place.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self.place, {"of": self._of(), "fastest_ms": ms, "at": at})


@dataclass(slots=True)
class MachineStates:
    """The states of a session, by runtime and threads."""

    machine: Machine
    _of: dict[tuple[str, int], MachineState] = field(default_factory=dict)

    def of(self, job: ModelJob) -> MachineState:
        """By what tells the state beside the job's model."""
        key = job.runtime, job.threads
        if key not in self._of:
            self._of[key] = MachineState(self.machine, *key)
        return self._of[key]

    def as_json(self) -> list[dict[str, Any]]:
        """What the session's document tells: of each runtime whose state was found."""
        return [told for state in self._of.values() if (told := state.as_json()) is not None]
