"""Every error that the product raises on purpose, in one tree.

    SelectorError                   exit 1   the tool failed
    ├── InvalidInput                exit 2   usage or bad input; carries all faults of one input at once
    │   ├── UnknownName             exit 2   a backbone, hardware, runtime … that does not exist; suggests the nearest
    │   ├── InvalidProfile          exit 2   a hardware profile with faults
    │   ├── InvalidEvidence         exit 2   a file of figures with faults, each with its line
    │   └── WeightsUnavailable      exit 2   pretrained weights asked for and not reachable
    ├── OutputFailed                exit 1   a result could not be written (folder missing, disk full, no permission)
    ├── StoreFailed                 exit 1   the evidence store could not be opened, read or written
    ├── MeasurementFailed           exit 1   a measurement crashed, hung or ran out of memory
    ├── RuntimeUnavailable          exit 2   a runtime that cannot be used here; says why and what to install
    ├── NoFeasibleCandidate         exit 3   no candidate satisfies the limits
    ├── RegressionFound             exit 4   a gate found a regression
    └── NotComparable               exit 5   not comparable, too noisy, or nothing measured

A message says what was given, what is allowed and what to do. The command line prints it without a
traceback (`--debug` shows one) and exits with `exit_code`.
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from types import TracebackType
from typing import ClassVar, Self


class SelectorError(Exception):
    """Root of the tree: the tool failed."""

    exit_code: ClassVar[int] = 1


class InvalidInput(SelectorError):
    """Usage or bad input. `faults` holds one sentence for each thing that is wrong, all told at once."""

    exit_code = 2

    def __init__(self, faults: str | Sequence[str]) -> None:
        self.faults: tuple[str, ...] = (faults,) if isinstance(faults, str) else tuple(faults)
        super().__init__("\n".join(self.faults))


class UnknownName(InvalidInput):
    """A name that is not known. Its message suggests the nearest known one."""

    def __init__(self, what: str, name: str, known: Iterable[str], *, listing: str) -> None:
        super().__init__(unknown_name(what, name, known, listing=listing))


class InvalidProfile(InvalidInput):
    """A hardware profile with faults."""


class InvalidEvidence(InvalidInput):
    """A file of figures with faults, each named with its line."""


class WeightsUnavailable(InvalidInput):
    """Pretrained weights were asked for and cannot be reached."""


class OutputFailed(SelectorError):
    """A result could not be written."""


class StoreFailed(SelectorError):
    """The evidence store could not be opened, read or written."""


class MeasurementFailed(SelectorError):
    """A measurement crashed, hung or ran out of memory."""


class RuntimeUnavailable(SelectorError):
    """A runtime that cannot be used on this machine; the message says why and what to install."""

    exit_code = 2


class NoFeasibleCandidate(SelectorError):
    """No candidate satisfies the limits; the message names the nearest one and the limit that it breaks."""

    exit_code = 3


class RegressionFound(SelectorError):
    """A gate found a regression."""

    exit_code = 4


class NotComparable(SelectorError):
    """Not comparable, too noisy, or nothing measured."""

    exit_code = 5


class Faults:
    """Collects what several checks refuse, so that all of it is told at once.

    faults = Faults()
    with faults:
        images = read_images(folder)
    with faults:
        limits = read_limits(text)
    faults.tell()
    """

    def __init__(self, found: Iterable[str] = ()) -> None:
        self.found: list[str] = list(found)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if isinstance(error, InvalidInput):
            self.found += error.faults
            return True
        return False

    def tell(self) -> None:
        """Raise InvalidInput with every fault, each once; nothing where there is none."""
        if self.found:
            raise InvalidInput(list(dict.fromkeys(self.found)))


def unknown_name(what: str, name: str, known: Iterable[str], *, listing: str) -> str:
    """One sentence: no `what` called `name`, the nearest known names, and where all of them are listed.

    `listing` is the command that lists them, for example `selector catalog`.
    """
    names = list(known)
    close = _nearest(name, names, 2)
    hint = f"did you mean {' or '.join(repr(c) for c in close)}? " if close else ""
    return f"no {what} {name!r}; {hint}`{listing}` lists all {len(names)}"


def close_name(name: str, known: Iterable[str]) -> str:
    """`; did you mean …?` with the nearest known name; empty where none is near."""
    close = _nearest(name, sorted(known), 1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _nearest(name: str, known: Sequence[str], n: int) -> list[str]:
    """The `n` known names nearest to `name`, in whatever case it is written."""
    by_lower = {k.lower(): k for k in known}
    return [by_lower[close] for close in get_close_matches(name.lower(), by_lower, n=n, cutoff=0.6)]
