"""The parent's side of the worker processes: starting, ordering, hearing, replacing them."""

import json
import math
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from selector.profiling.forks import classify_exit, out_of_memory_kills
from selector.profiling.workers import KEEP_FREED_MEMORY
from selector.tuning.jobs.common import Task

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    ready: bool = False
    job: int | None = None  # number of the order that it works on
    held: bytes = b""
    kills: int | None = None


@dataclass
class Crew:
    """`size` worker processes with `threads` threads each. A context manager: leaving ends them all.

    Their messages for people lie in `folder`/worker-N.log. The end of this process, however it comes, ends them too.
    """

    size: int
    threads: int
    folder: Path
    _workers: list[_Worker] = field(default_factory=list)
    _orders: int = 0

    def __enter__(self) -> "Crew":
        self._workers = [self._start(number) for number in range(self.size)]
        return self

    def __exit__(self, *exception: object) -> None:
        for worker in self._workers:
            worker.process.kill()  # its fork dies with it
            worker.process.wait()
            for pipe in (worker.process.stdin, worker.process.stdout):
                if pipe is not None:
                    pipe.close()

    @property
    def idle(self) -> list[int]:
        """Numbers of the workers that have nothing to do."""
        return [number for number, worker in enumerate(self._workers) if worker.job is None]

    def pids(self) -> list[int]:
        """Process ids of the workers."""
        return [worker.process.pid for worker in self._workers]

    def order(self, number: int, job: str, task: Task, arguments: dict[str, Any]) -> None:
        """Give a job to an idle worker."""
        worker = self._workers[number]
        self._orders += 1
        worker.job, worker.kills = self._orders, out_of_memory_kills()
        self._send(worker, json.dumps({"id": self._orders, "job": job, "task": task.as_json(), "arguments": arguments}))

    def stop(self, number: int) -> None:
        """End the job of a worker; its "ended" event follows."""
        self._send(self._workers[number], "stop")

    def hear(self, timeout_s: float) -> list[tuple[int, dict[str, Any]]]:
        """Events of any worker that come within `timeout_s`, each with the worker's number.

        A worker that died is replaced; its job ends with the outcome that its exit code tells.
        """
        events: list[tuple[int, dict[str, Any]]] = []
        outputs = {worker.process.stdout.fileno(): n for n, worker in enumerate(self._workers) if worker.process.stdout}
        ready, _, _ = select.select(list(outputs), [], [], max(0.0, timeout_s))
        for descriptor in ready:
            number = outputs[descriptor]
            worker = self._workers[number]
            part = os.read(descriptor, 1 << 20)
            if not part:
                events += self._replace(number)
                continue
            worker.held += part
            *lines, worker.held = worker.held.split(b"\n")
            for line in lines:
                try:
                    event = json.loads(line)
                except ValueError:  # a job was ended in the middle of a line; its end is told on the next
                    continue
                worker.ready = True
                if event.pop("id", None) != worker.job or worker.job is None:
                    continue  # of a job that had ended when it was stopped
                if event["event"] == "ended":
                    worker.job = None
                events.append((number, event))
        return events

    def alone(self, task: Task) -> Task:
        """`task` with all cores of this machine: for a job that is done while the other workers have nothing to do."""
        return replace(task, threads=len(os.sched_getaffinity(0)))

    def perform(
        self,
        job: str,
        task: Task,
        arguments: dict[str, Any],
        *,
        on_event: Callable[[dict[str, Any]], None],
        seconds: float = math.inf,
    ) -> dict[str, Any]:
        """Do one job on the first worker and wait for its end; returns its "ended" event.

        It is stopped after `seconds`: its kind is "stopped" then.
        """
        end = time.monotonic() + seconds
        self.order(0, job, task, arguments)
        while True:
            if time.monotonic() >= end:
                self.stop(0)
                end = math.inf
            for number, event in self.hear(min(3600.0, end - time.monotonic())):
                if number == 0 and event["event"] == "ended":
                    return event
                on_event(event)

    def _start(self, number: int) -> _Worker:
        self.folder.mkdir(parents=True, exist_ok=True)
        threads = dict.fromkeys(_THREAD_VARIABLES, str(self.threads))
        with (self.folder / f"worker-{number}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "selector.tuning.search.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                # threads that spin while they wait take the cores from all other processes of this machine: beside
                # one busy process † small training steps become ten times as fast when they sleep instead;
                # freed activations that went back to the kernel would come back as page faults in every step
                # (benchmarks/tune_step.py)
                env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ, **threads, **KEEP_FREED_MEMORY, "PYTHONUTF8": "1"},
                start_new_session=True,  # Ctrl-C is for this process, which ends the workers itself
            )
        return _Worker(process)

    def _replace(self, number: int) -> list[tuple[int, dict[str, Any]]]:
        worker = self._workers[number]
        code = worker.process.wait()
        for pipe in (worker.process.stdin, worker.process.stdout):
            if pipe is not None:
                pipe.close()
        kind, _, detail = classify_exit(code, worker.kills)
        if not worker.ready:
            log = (self.folder / f"worker-{number}.log").read_text(encoding="utf-8", errors="replace")
            raise WorkerBroken(f"a worker process cannot start: {detail}\n{log[-1500:]}")
        self._workers[number] = self._start(number)
        ended = {"event": "ended", "kind": kind, "result": {}, "detail": f"the worker process ended: {detail}"}
        return [(number, ended)] if worker.job is not None else []

    def _send(self, worker: _Worker, line: str) -> None:
        assert worker.process.stdin is not None
        try:
            worker.process.stdin.write(line.encode() + b"\n")
            worker.process.stdin.flush()
        except BrokenPipeError:
            pass  # it has died: the end of its output says so at the next `hear`


class WorkerBroken(RuntimeError):
    """A worker process that does not even start."""
