"""Starting a worker process, hearing its events, and knowing what became of it."""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from selector.errors import MeasurementFailed
from selector.profiling.forks import classify_exit, out_of_memory_kills
from selector.profiling.runtimes.drafts import draft

GRACE_S = 30.0
"""How much longer than a worker waits for its fork the parent waits for the worker."""

# one variable a library that counts its threads by itself when it is loaded
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


KEEP_FREED_MEMORY = {
    "MALLOC_TRIM_THRESHOLD_": str(4 << 30),
    "MALLOC_MMAP_THRESHOLD_": str(4 << 30),
    "MALLOC_TOP_PAD_": str(64 << 20),
}
"""Lets glibc keep what is freed instead of giving it back to the kernel.

By default it does one or the other as the layout of the heap happens to fall out, and torch's eager mode, which
allocates every activation anew, is then in one of two modes for a process's whole life: mobilenetv2_100 took 27 ms with
4100 page faults an inference, or 18 ms with 500 (2 cores, torch 2.14). Either looks stable from within. So an eager
figure here is that of a process whose allocator keeps memory, as PyTorch's tuning guide advises (jemalloc, tcmalloc);
one with glibc's defaults is often slower. Runtimes with an arena of their own do not notice. Other C libraries ignore
the variables.
"""


LOOK_UP_S = 1.0
"""Longest single wait for a worker. A Ctrl-C that comes just before a wait begins does not end it: Python looks for
signals before and after, so it would go unheard for minutes."""


class WorkerEnded(Exception):
    """A worker process that ended, or had to be ended, before its task was done."""

    def __init__(self, outcome: str, detail: str) -> None:
        self.outcome = outcome
        self.detail = detail
        super().__init__(f"{outcome}: {detail}")


def ask_worker(task: dict[str, Any]) -> dict[str, Any]:
    """The one result of a task that has but one. Raises MeasurementFailed where the worker dies without it."""
    try:
        for event in run_worker({"patience_s": 300.0, **task}):
            result: dict[str, Any] = event["result"]
            return result
    except WorkerEnded as ended:
        raise MeasurementFailed(f"measuring {task['kind']} failed: {ended}") from ended
    raise MeasurementFailed(f"measuring {task['kind']} brought no result")


def run_worker(task: dict[str, Any]) -> Generator[dict[str, Any], None, None]:
    """Start a process for `task` and yield its events until it is done.

    `task` holds what `worker.main` reads, among it `threads` and `patience_s`. The worker goes on when the caller asks
    for the next event, so an event can be stored first, or another worker be let on; meanwhile it is stopped, because
    threads that wait for work in a library's pool wait busily at first. Between events this process sleeps. Leaving the
    iteration kills the worker; so does the end of this process. Raises WorkerEnded when the worker dies or, while it
    runs, says nothing for too long.

    The worker's temporary files go to a folder that is removed here, after it: a killed process removes nothing. Where
    this one is killed, too, the next removes it.
    """
    killed_before = out_of_memory_kills()
    with draft(Path(tempfile.gettempdir()), "selector-worker-") as scratch, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "selector.profiling.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=_environment(task["threads"], scratch),
            start_new_session=True,  # Ctrl-C is for this process, which ends the worker itself
        )
        try:
            yield from _events(process, task, errors, killed_before)
        finally:
            _kill(process)
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(BrokenPipeError):  # what a dead worker has not read is flushed once more
                        pipe.close()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the worker and what it has started: its forks, and compilers, which would go on filling its folder."""
    if process.poll() is None:  # else its number, which is that of the group, may be another's by now
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
    process.wait()


def _environment(threads: int, scratch: Path) -> dict[str, str]:
    """The worker's environment: threads, allocator, the GPUs' order and the place of temporary files are set before
    any library looks.
    """
    order = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}  # as the driver's management library has it; CUDA's own: fastest first
    threads_of = dict.fromkeys(_THREAD_VARIABLES, str(threads))
    return {**os.environ, **threads_of, **KEEP_FREED_MEMORY, **order, "TMPDIR": str(scratch)}


def _events(
    process: subprocess.Popen[bytes], task: dict[str, Any], errors: IO[bytes], killed_before: int | None
) -> Iterator[dict[str, Any]]:
    assert process.stdin is not None
    assert process.stdout is not None
    lines = _Lines(process.stdout.fileno())
    try:
        _send(process.stdin, json.dumps(task))
        while True:
            line = lines.read(patience_s=task["patience_s"] + GRACE_S)
            if line is None:
                raise WorkerEnded("hung", f"no sign of life for {task['patience_s'] + GRACE_S:.0f} s")
            if not line:
                raise _ended(process, errors, killed_before)
            event = json.loads(line)
            if event["event"] == "done":
                return
            if event["event"] == "turn":  # announced, not told: the worker does not wait
                yield event
                continue
            process.send_signal(signal.SIGSTOP)
            yield event
            process.send_signal(signal.SIGCONT)
            _send(process.stdin, "")
    except BrokenPipeError:
        raise _ended(process, errors, killed_before) from None


def _send(pipe: IO[bytes], line: str) -> None:
    pipe.write(line.encode() + b"\n")
    pipe.flush()


def _ended(process: subprocess.Popen[bytes], errors: IO[bytes], killed_before: int | None) -> WorkerEnded:
    code = process.wait()
    outcome, _, detail = classify_exit(code, killed_before)
    errors.seek(0)
    last = [line for line in errors.read().decode(errors="replace").splitlines() if line.strip()][-1:]
    return WorkerEnded(outcome, "; ".join([detail, *last]))


class _Lines:
    """Lines of a pipe, with a limit on the wait for each."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._rest = b""

    def read(self, *, patience_s: float) -> bytes | None:
        """The next line without its end; empty at the end of the pipe, None where nothing comes in time."""
        deadline = time.monotonic() + patience_s
        while b"\n" not in self._rest:
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            if not select.select([self._descriptor], [], [], min(left, LOOK_UP_S))[0]:
                continue
            part = os.read(self._descriptor, 65536)
            if not part:
                return b""
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\n")
        return line
