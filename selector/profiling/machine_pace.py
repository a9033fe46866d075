"""The pace of this machine that figures are given at, so that those of a slow hour and of a fast one compare.

The first session keeps its pace as the machine's reference, in files under `SELECTOR_HOME/pace/`, one for each gauge
that it was read by (`gauges`); later ones give their figures at that pace, whatever the machine's was. It stays: a
reference that moved would move every figure with it. Who removes a file lets the next session take another one; figures
of the former and of the new do not compare.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from math import exp, hypot, isfinite
from pathlib import Path
from statistics import NormalDist
from typing import Any

from selector import resources
from selector.hardware.fingerprint import COMPARED, installed_version
from selector.hardware.machine import Machine
from selector.profiling.gauges import Gauge
from selector.profiling.jobs import ModelJob
from selector.profiling.keeping import write_whole
from selector.profiling.measurement import Measurement
from selector.profiling.pace import Pace, middle
from selector.profiling.protocol import Settings
from selector.profiling.runtimes import runtime
from selector.profiling.states import faster_paces

TOO_FAR = "the machine was too far from its reference pace"

P90_CONFIDENCE = 0.99
"""Of the bound of a 90th percentile (`intervals.p90_bound`)."""

ASTRAY = 1.8
"""How many times as much as its windows say a sensitivity is wrong by between two runs: another hour may be slow for
another reason than the moments of this one are. A choice; with it a usual model's is unsure by 0.15."""


@dataclass(frozen=True, slots=True)
class Reference:
    """The pace that figures are given at."""

    ms: Pace  # of the reference workloads
    readings: int
    at: str  # when it was taken, ISO 8601
    kept: bool = False  # whether later sessions will find it


@dataclass(slots=True)
class MachinePace:
    """Hears the pace of a session's windows by one gauge, and gives figures at the machine's reference."""

    machine: Machine
    gauge: Gauge
    threads: int  # of the models, where the gauge goes with them
    heard: list[Pace] = field(default_factory=list)  # window by window
    _reference: Reference | None = None

    @property
    def place(self) -> Path:
        """The file that holds this machine's reference, or would."""
        text = json.dumps(self._of(), sort_keys=True)
        return resources.home() / "pace" / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"

    def hear(self, pace: Sequence[float] | None) -> None:
        """Take in the pace of a window, whose first times are this gauge's; None: not read, or disturbed."""
        if pace is not None:
            self.heard.append(tuple(pace)[: len(self.gauge.workloads)])

    def reference(self) -> Reference | None:
        """The pace that this session's figures are given at; None where nothing was heard and none is kept.

        The one that an earlier session has kept. Where there is none, the middle of what was heard when it is first
        asked for, kept from then on.
        """
        if self._reference is None:
            self._reference = self._kept() or (self._taken() if self.heard else None)
        return self._reference

    def kept(self) -> Pace | None:
        """The reference that an earlier session has kept, which this one then stays with."""
        self._reference = self._reference or self._kept()
        return self._reference.ms if self._reference else None

    def at_reference(self, figure: Measurement, settings: Settings) -> Measurement:
        """The figure as it would be at the reference, with an interval that allows for how uncertain that is.

        Unstable where that alone is more than `settings` allow. As it is where its pace was not read.
        """
        if figure.pace is None:
            return figure
        own = figure.pace
        if (reference := self.reference()) is None:  # no window was left alone: this session's own, which nobody keeps
            reference = self._reference = Reference(own.ms, figure.windows, _now())
        factor = own.sensitivity.factor(own.ms, reference.ms)
        doubt = own.sensitivity.doubt(own.ms, reference.ms, astray=ASTRAY)
        p50 = figure.p50 * factor
        reach = NormalDist().inv_cdf((1 + settings.confidence) / 2) * p50 * doubt
        high = p50 + hypot(figure.high * factor - p50, reach)
        p90 = None
        if figure.p90 is not None:  # a bound, so what the factor may be wrong by counts against it
            p90 = max(high, figure.p90 * factor * exp(NormalDist().inv_cdf(P90_CONFIDENCE) * doubt))
        stable, reason = figure.stable, figure.reason
        if reach > settings.farthest * p50:
            ran = " and ".join(f"{a / b:.2f}" for a, b in zip(own.ms, reference.ms, strict=True))
            stable, reason = False, "; ".join(filter(None, (reason, f"{TOO_FAR} ({ran} times it)")))
        return replace(
            figure,
            p50=p50,
            low=max(0.0, p50 - hypot(p50 - figure.low * factor, reach)),
            high=high,
            p90=p90,
            stable=stable,
            reason=reason,
            pace=replace(own, reference=reference.ms),
        )

    def as_json(self) -> dict[str, Any] | None:
        """What the session's document tells; None before a reference is there."""
        reference = self._reference
        if reference is None:
            return None
        return {
            "read_by": self.gauge.label(self.threads if self.gauge.threaded else None),
            **self._read_by(),
            "reference_ms": reference.ms,
            "reference_at": reference.at,
            "kept": str(self.place) if reference.kept else None,
            "session_ms": self._usual() if self.heard else None,
            "readings": len(self.heard),
        }

    def _usual(self) -> Pace:
        """The middle of what was heard, in the machine's faster state where it had two (`states`)."""
        return middle([self.heard[i] for i in faster_paces(self.heard)])

    def _of(self) -> dict[str, Any]:
        """What a reference follows from: the machine, and the library that computes the workloads."""
        machine, library = self.machine.as_json(), self.gauge.library
        return {
            **self._read_by(),
            library: installed_version(library),
            **{name: machine[name] for name in COMPARED},
        }

    def _read_by(self) -> dict[str, Any]:
        threads = {"threads": self.threads} if self.gauge.threaded else {}
        return {"workloads": self.gauge.workloads, **threads}

    def _kept(self) -> Reference | None:
        """What the file holds; None where there is none, or nothing that makes a pace."""
        with suppress(OSError, ValueError, TypeError, KeyError, OverflowError):
            kept = json.loads(self.place.read_text(encoding="utf-8"))
            told = kept["reference"]
            ms = tuple(map(float, told["ms"])) if isinstance(told["ms"], list) else ()
            sound = len(ms) == len(self.gauge.workloads) and all(isfinite(x) and x > 0 for x in ms)
            if sound and kept["of"] == json.loads(json.dumps(self._of())):
                return Reference(ms, int(told["readings"]), str(told["at"]), kept=True)
        return None

    def _taken(self) -> Reference:
        """A new reference, kept where it can be written; or one that another session has kept meanwhile."""
        found = Reference(self._usual(), len(self.heard), _now())
        data = {"of": self._of(), "reference": {"ms": found.ms, "readings": found.readings, "at": found.at}}
        place = self.place
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                write_whole(place, data, only_first=True)
            except FileExistsError:
                place.read_bytes()  # what cannot be read may be a good one, and stays
                if (other := self._kept()) is not None:
                    return other
                write_whole(place, data)
        except OSError:
            return found
        return replace(found, kept=True)


@dataclass(slots=True)
class Paces:
    """The paces of a session, by the gauges that its jobs' runtimes name."""

    machine: Machine
    _of: dict[tuple[Gauge, int], MachinePace] = field(default_factory=dict)

    def of(self, job: ModelJob) -> MachinePace:
        """By the gauge of the job's runtime, on its threads where those matter."""
        gauge = runtime(job.runtime).gauge
        key = gauge, job.threads if gauge.threaded else 1
        if key not in self._of:
            self._of[key] = MachinePace(self.machine, *key)
        return self._of[key]

    def as_json(self) -> list[dict[str, Any]]:
        """What the session's document tells: of each gauge that figures are given by."""
        return [told for pace in self._of.values() if (told := pace.as_json()) is not None]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
