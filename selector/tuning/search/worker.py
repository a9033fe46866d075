"""A worker process: imports torch once, then forks for each job, so that no job inherits another's memory.

    python -m selector.tuning.search.worker

Reads jobs as JSON lines on stdin, {"id": n, "job": name, "task": …, "arguments": …}; "stop" ends the running one,
end of file ends the worker. Writes events as JSON lines on stdout: what the job emits, then {"event": "ended",
"kind": …, "result": …, "detail": …}. A job that crashes, runs out of memory or is killed ends with that outcome; the
worker lives on.
"""

import json
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable
from typing import IO, Any

from selector.errors import SelectorError
from selector.profiling.forks import classify_error, classify_exit, die_with_parent, out_of_memory_kills
from selector.tuning.jobs.common import Emit, Task

Job = Callable[[Task, dict[str, Any], Emit], dict[str, Any]]


def jobs() -> dict[str, Job]:
    """The jobs by name. Importing them imports torch, timm and ONNX Runtime, and starts none of their threads."""
    import onnxruntime  # noqa: F401 - loaded here, once, not in every fork
    import timm  # noqa: F401

    from selector.tuning.jobs.fill import fill_cache
    from selector.tuning.jobs.int8 import make_int8
    from selector.tuning.jobs.latency import time_inference
    from selector.tuning.jobs.screen import screen
    from selector.tuning.jobs.trial import run_trial
    from selector.tuning.jobs.winner import make_winner

    return {
        "screen": screen,
        "latency": time_inference,
        "fill": fill_cache,
        "trial": run_trial,
        "winner": make_winner,
        "int8": make_int8,
    }


def main() -> None:
    """Serve jobs until stdin ends."""
    die_with_parent()
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1, encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints must not mix with the events
    known = jobs()
    _write(out, {"event": "ready"})
    lines = _Lines(sys.stdin.fileno())
    while (line := lines.next()) is not None:
        if line.strip() and line.strip() != "stop":
            _serve(known, json.loads(line), lines, out)


def _serve(known: dict[str, Job], order: dict[str, Any], lines: "_Lines", out: IO[str]) -> None:
    kills = out_of_memory_kills()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _work(known[order["job"]], order, out)
    os.close(writing)
    stopped = _wait(child, reading, lines)
    os.close(reading)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    number = order["id"]
    if stopped:
        end = {"event": "ended", "kind": "stopped", "result": {}, "detail": "stopped from outside"}
        _write(out, {"id": number, **end}, begins="\n")  # the child may have been ended in the middle of a line
    elif code != 0:
        kind, result, detail = classify_exit(code, kills)
        _write(out, {"id": number, "event": "ended", "kind": kind, "result": result, "detail": detail}, begins="\n")


def _wait(child: int, alive: int, lines: "_Lines") -> bool:
    """Wait for the child; kill it on "stop" or when nobody is left to hear of it. Whether it was killed here."""
    while True:
        if not lines.pending:
            ready, _, _ = select.select([alive, lines.descriptor], [], [])
            if alive in ready:
                return False
        line = lines.next()
        if line is None or line.strip() == "stop":
            os.kill(child, signal.SIGKILL)
            return True
        # the child has told its end and the next job is here before the kernel has told of the child's
        lines.put_back(line)
        select.select([alive], [], [])
        return False


def _work(job: Job, order: dict[str, Any], out: IO[str]) -> None:
    """In the forked process: do the job, write its end, leave without the parent's clean-up."""
    die_with_parent()
    try:
        result = job(
            Task.from_json(order["task"]), order["arguments"], lambda event: _write(out, {"id": order["id"], **event})
        )
        end = {"event": "ended", "kind": "done", "result": result, "detail": ""}
    except SelectorError as error:  # its message is written for people, and whole
        result = {"error": type(error).__name__}
        end = {"event": "ended", "kind": "failed", "result": result, "detail": str(error)}
    except ArithmeticError as error:
        end = {"event": "ended", "kind": "diverged", "result": {}, "detail": str(error)}
    except BaseException as error:  # noqa: BLE001 - whatever it is becomes the job's outcome
        traceback.print_exc()
        kind, detail = classify_error(error)
        end = {"event": "ended", "kind": kind, "result": {"error": type(error).__name__}, "detail": detail}
    code = 1  # without its end the job has crashed, for whoever waits for it
    try:
        _write(out, {"id": order["id"], **end})
        code = 0
        sys.stderr.flush()
    finally:
        os._exit(code)


def _write(out: IO[str], event: dict[str, Any], *, begins: str = "") -> None:
    try:
        out.write(begins + json.dumps(event) + "\n")  # in ASCII: a path that is not UTF-8 passes as it is
        out.flush()
    except BrokenPipeError:
        os._exit(1)  # nobody listens any more


class _Lines:
    """Lines of a file descriptor, read without a buffer that `select` could not see."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._held = b""

    @property
    def pending(self) -> bool:
        """Whether a whole line has been read already."""
        return b"\n" in self._held

    def put_back(self, line: str) -> None:
        """Make `line` the next one again."""
        self._held = line.encode() + b"\n" + self._held

    def next(self) -> str | None:
        """The next line; None at the end."""
        while b"\n" not in self._held:
            part = os.read(self.descriptor, 65536)
            if not part:
                return None
            self._held += part
        line, _, self._held = self._held.partition(b"\n")
        return line.decode()


if __name__ == "__main__":
    main()
