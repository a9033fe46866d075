"""Work in a forked process: whatever becomes of it, there is an outcome and the rest goes on.

A worker process imports the runtime's library once and then forks for each configuration, before any thread of the
library has started. So each load is the first in its process and each peak of memory is that of one model alone,
without paying for the import again.
"""

import ctypes
import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, NoReturn, Self

from selector.errors import RuntimeUnavailable

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>

# what torch, ONNX Runtime, OpenVINO and CUDA say when memory is short; none has an exception of its own for it
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "failed to allocate memory", "bad_alloc", "cannot allocate")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the work: `kind` is "done" with its result, or one of the outcomes of `jobs.Failure`."""

    kind: str
    result: dict[str, Any]
    detail: str = ""


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent ends, however that comes about. Linux only."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def in_fork(work: Callable[[], dict[str, Any]], *, patience_s: float) -> Outcome:
    """Run `work` in a forked process and wait for its result, at most `patience_s` seconds."""

    def only() -> Iterator[dict[str, Any]]:
        yield work()

    return in_steps(only, patience_s=patience_s)


def in_steps(
    steps: Callable[[], Iterator[dict[str, Any]]],
    *,
    patience_s: float,
    told: Callable[[float], None] = lambda progress: None,
) -> Outcome:
    """Run `steps` in a forked process up to its result, and wait for each at most `patience_s` seconds.

    A step that is no result is {"progress": how much is done, 0 to 1}, which is `told`.
    """
    with Forked(steps) as fork:
        while True:
            outcome = fork.ask(patience_s=patience_s)
            if outcome.kind != "done" or "progress" not in outcome.result:
                return outcome
            told(outcome.result["progress"])


class Forked:
    """A forked process that does one thing after another, each when it is asked, and is stopped in between.

    Stopped, because threads that wait for work in a library's pool wait busily at first: after an inference ONNX
    Runtime's for 40 ms, libgomp's for 10. `results` runs in the fork, up to its next result each time; leaving the
    context kills the fork.
    """

    _asking: ClassVar[set[int]] = set()  # pipes to all forks there are: a new one must not hold those of the others

    def __init__(self, results: Callable[[], Iterator[dict[str, Any]]]) -> None:
        self._killed_before = out_of_memory_kills()
        asked, self._ask = os.pipe()
        self._answers, answering = os.pipe()
        Forked._asking.add(self._ask)
        self._status: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            for inherited in (*Forked._asking, self._answers):
                os.close(inherited)
            Forked._asking.clear()
            _live_and_exit(results, asked, answering)
        os.close(asked)
        os.close(answering)

    def ask(self, *, patience_s: float) -> Outcome:
        """The next result. With any outcome but "done" the process is gone."""
        if self._status is None:
            os.kill(self.pid, signal.SIGCONT)
        with suppress(BrokenPipeError):  # it is gone, and the next lines say why
            os.write(self._ask, b"\n")
        answer = _read_line(self._answers, deadline=time.monotonic() + patience_s)
        if answer is None:
            self._end(kill=True)
            return Outcome("hung", {}, f"no result within {patience_s:.0f} s")
        if answer:
            data = json.loads(answer)
            if data["kind"] == "done":
                os.kill(self.pid, signal.SIGSTOP)
            else:
                self._end(kill=True)
            return Outcome(data["kind"], data["result"], data["detail"])
        return Outcome(*classify_exit(os.waitstatus_to_exitcode(self._end(kill=False)), self._killed_before))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it, and wait until the kernel has taken its memory back."""
        self._end(kill=True)
        for descriptor in (self._ask, self._answers):
            os.close(descriptor)
        Forked._asking.discard(self._ask)

    def _end(self, *, kill: bool) -> int:
        """Its exit status, once it has ended."""
        if self._status is None:
            if kill:
                os.kill(self.pid, signal.SIGKILL)
            _, self._status = os.waitpid(self.pid, 0)
        return self._status


def classify_exit(code: int, oom_kills_before: int | None) -> tuple[str, dict[str, Any], str]:
    """The outcome of a process that ended without a result, from its exit code (negative: a signal)."""
    if code == -signal.SIGKILL:
        kills = out_of_memory_kills()
        if kills is not None and oom_kills_before is not None and kills > oom_kills_before:
            return "out-of-memory", {}, "the kernel killed the process because memory ran out"
        return "killed", {}, "the process was killed (SIGKILL)"
    if code < 0:
        return "crashed", {}, f"the process crashed with {signal.Signals(-code).name}"
    return "crashed", {}, f"the process exited with code {code} and no result"


def classify_error(error: BaseException) -> tuple[str, str]:
    """The outcome of an exception and one line about it."""
    text = " ".join(str(error).split()) or "no message"
    detail = f"{type(error).__name__}: {text[:500]}"
    if isinstance(error, MemoryError) or any(hint in text.lower() for hint in _OUT_OF_MEMORY):
        return "out-of-memory", detail
    if isinstance(error, RuntimeUnavailable):
        return "unavailable", text
    return "failed", detail


def out_of_memory_kills() -> int | None:
    """Processes that the kernel has killed for want of memory since boot; None where it does not say."""
    try:
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    except OSError:
        return None
    return None


def _live_and_exit(results: Callable[[], Iterator[dict[str, Any]]], asked: int, answering: int) -> NoReturn:
    """The fork's whole life. It never returns into the caller's stack, whatever happens."""
    code = 1
    try:
        die_with_parent()
        going = results()
        with os.fdopen(asked) as questions, os.fdopen(answering, "w") as answers:
            while questions.readline():
                answer = _next(going)
                answers.write(json.dumps(answer) + "\n")
                answers.flush()
                if answer["kind"] != "done":
                    break
        code = 0
    finally:
        sys.stderr.flush()
        os._exit(code)


def _next(results: Iterator[dict[str, Any]]) -> dict[str, Any]:
    try:
        return {"kind": "done", "result": next(results), "detail": ""}
    except Exception as error:  # noqa: BLE001 - a configuration's failure is an outcome to record, whatever it is
        traceback.print_exc()
        kind, detail = classify_error(error)
        return {"kind": kind, "result": {}, "detail": detail}


def _read_line(reading: int, *, deadline: float) -> bytes | None:
    """The pipe's next line; empty at its end, None where neither comes in time. Nobody writes more than was asked."""
    parts: list[bytes] = []
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([reading], [], [], left)[0]:
            break
        part = os.read(reading, 65536)
        if not part:
            return b""
        parts.append(part)
        if part.endswith(b"\n"):
            return b"".join(parts)
    return None
