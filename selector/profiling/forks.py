"""One piece of work in a forked process: whatever becomes of it, there is an outcome and the rest goes on.

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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

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
    killed_before = out_of_memory_kills()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _work_and_exit(work, writing)
    os.close(writing)
    answer: bytes | None = None
    try:
        answer = _read_all(reading, deadline=time.monotonic() + patience_s)
    finally:
        os.close(reading)
        if answer is None:  # too late, or interrupted
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    if answer is None:
        return Outcome("hung", {}, f"no result within {patience_s:.0f} s")
    if answer:
        data = json.loads(answer)
        return Outcome(data["kind"], data["result"], data["detail"])
    return Outcome(*classify_exit(os.waitstatus_to_exitcode(status), killed_before))


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


def _work_and_exit(work: Callable[[], dict[str, Any]], writing: int) -> NoReturn:
    """The child's whole life. It never returns into the caller's stack, whatever happens."""
    code = 1
    try:
        die_with_parent()
        try:
            answer = {"kind": "done", "result": work(), "detail": ""}
        except Exception as error:  # noqa: BLE001 - a configuration's failure is an outcome to record, whatever it is
            traceback.print_exc()
            kind, detail = classify_error(error)
            answer = {"kind": kind, "result": {}, "detail": detail}
        with os.fdopen(writing, "w") as pipe:
            json.dump(answer, pipe)
        code = 0
    finally:
        sys.stderr.flush()
        os._exit(code)


def _read_all(reading: int, *, deadline: float) -> bytes | None:
    """Everything up to the end of the pipe; None where that does not come in time."""
    parts: list[bytes] = []
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([reading], [], [], left)[0]:
            break
        part = os.read(reading, 65536)
        if not part:
            return b"".join(parts)
        parts.append(part)
    return None
