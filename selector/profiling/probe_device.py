#!/usr/bin/env python3
"""Measures the models beside this file on the device that it runs on, and writes one JSON of figures.

    python3 probe.py [-o figures.json] [--threads N] [--deadline SECONDS]

Needs Python 3.8 or newer, onnxruntime and numpy; TensorFlow Lite models also ai-edge-litert or tflite-runtime,
whichever the device's Python can have. Take the JSON back and give it to `selector evidence import`.
The protocol is the product's own (selector/profiling/protocol.py), written again for old Pythons; a test holds the two
together. Every finished figure is in the file before the next model is loaded.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import importlib
import json
import math
import os
import platform
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from statistics import NormalDist
from typing import Any, Callable, Iterable, Sequence  # noqa: UP035 - as Python 3.8 has it

import numpy as np

# the allocator is left as it is: ONNX Runtime keeps memory in an arena of its own. Nobody looks for other work, reads
# the pace or leaves windows of a slower state out: what is to be deployed on has no other work. A process holds one
# model at a time, so no inference is left out
PROTOCOL_VERSION = "8"
WINDOW_S = 0.05
MIN_WINDOW = 2
ONE_S = 0.5
WARMUP_WINDOWS = 3
WARMUP_TOLERANCE = 0.10
WARMUP_CAP_S = 10.0
MIN_WINDOWS = 9
TARGET = 0.035
DRIFT = 0.05
CONFIDENCE = 0.95
P90_SAMPLES = 64
TAIL_BUDGET_S = 1.0
DEADLINE_S = 20.0


def lower_rank(n: int, tail: float) -> int:
    """Largest k with P(Bin(n, 1/2) <= k - 1) <= tail; 0 where even k = 1 is too much."""
    cumulative, k = 0.0, 0
    while k < n:
        log_p = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2)
        cumulative += math.exp(log_p)
        if cumulative > tail:
            return k
        k += 1
    return k


def median_interval(windows: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Confidence interval of the median of samples that were taken in windows."""
    ordered = sorted(x for window in windows for x in window)
    n, m = len(ordered), len(windows)
    k = max(1, lower_rank(n, (1 - CONFIDENCE) / 2))
    low, high = ordered[k - 1], ordered[n - k]
    if m < 2 or n == m:
        return low, high
    middle = float(np.median(ordered))
    below = [sum((x < middle) + 0.5 * (x == middle) for x in window) - len(window) / 2 for window in windows]
    error = math.sqrt(m / (m - 1) * sum(b * b for b in below)) / n
    reach = min(0.5, students_t(m - 1) * error)
    lower, upper = np.quantile(ordered, [0.5 - reach, 0.5 + reach])
    return min(low, float(lower)), max(high, float(upper))


def students_t(freedom: int) -> float:
    """The two-sided quantile of Student's t at CONFIDENCE."""
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum([term / freedom**power for power, term in enumerate(terms, 1)], 0.0)


def p90_bound(samples: Sequence[float]) -> float | None:
    """Upper bound of the 90th percentile at 99 % confidence; None with fewer than 64 samples."""
    n = len(samples)
    if n < P90_SAMPLES:
        return None
    above, k = 0.0, n
    while k > 0:
        log_p = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
        above += math.exp(log_p + k * math.log(0.9) + (n - k) * math.log(0.1))
        if above > 0.01:
            break
        k -= 1
    return sorted(samples)[k]


class Run:
    """Follows one model through warm-up and steady state. Windows are lists of milliseconds."""

    def __init__(self, deadline_s: float = DEADLINE_S) -> None:
        self.deadline_s = deadline_s
        self.windows: list[list[float]] = []
        self.steady_from: int | None = None
        self.warmed = False

    def add(self, samples: Sequence[float]) -> None:
        """Take in one window."""
        self.windows.append(list(samples))
        if self.steady_from is not None:
            return
        last = np.array([np.median(w) for w in self.windows[-WARMUP_WINDOWS:]])
        if len(last) == WARMUP_WINDOWS and np.all(np.abs(last - last.mean()) <= WARMUP_TOLERANCE * last.mean()):
            self.warmed = True
            self.steady_from = len(self.windows) - WARMUP_WINDOWS
        elif self.spent_s() >= WARMUP_CAP_S:
            self.steady_from = len(self.windows)

    def spent_s(self) -> float:
        """Seconds of all samples so far."""
        return sum(sum(w) for w in self.windows) / 1e3

    def steady(self) -> list[float]:
        """The samples of the steady state."""
        return [x for w in self.steady_windows() for x in w]

    def steady_windows(self) -> list[list[float]]:
        """The windows of the steady state."""
        return [] if self.steady_from is None else self.windows[self.steady_from :]

    def next_window(self) -> int:
        """How many samples the next window should hold."""
        if not self.windows:
            return MIN_WINDOW
        last = float(np.median(self.windows[-1])) / 1e3
        if last >= ONE_S:
            return 1
        tail = math.ceil((P90_SAMPLES - MIN_WINDOW) / (MIN_WINDOWS - 1)) if last * P90_SAMPLES <= TAIL_BUDGET_S else 0
        return max(MIN_WINDOW, tail, min(1024, math.ceil(WINDOW_S / max(last, 1e-9))))

    def doubt(self) -> str | None:
        """Why the figure is not to be trusted yet; None when it is."""
        if not self.warmed:
            return "the warm-up never settled"
        windows = self.steady_windows()
        if len(windows) < MIN_WINDOWS:
            return f"only {len(windows)} of {MIN_WINDOWS} windows"
        samples = self.steady()
        if lower_rank(len(samples), (1 - CONFIDENCE) / 2) < 1:
            return f"{len(samples)} samples are too few for an interval"
        median = float(np.median(samples))
        low, high = median_interval(windows)
        if max(high - median, median - low) > TARGET * median:
            return "the median's interval is too wide"
        half = len(windows) // 2
        first, second = (np.median([x for w in part for x in w]) for part in (windows[:half], windows[half:]))
        if abs(first - second) > DRIFT * median:
            return "the two halves of the run differ"
        return None

    def finished(self) -> bool:
        """Whether the figure is good enough, or the deadline has passed."""
        if self.steady_from is None:
            return False
        if self.spent_s() >= self.deadline_s:
            return len(self.windows) > self.steady_from
        samples = self.steady()
        enough = len(samples) >= P90_SAMPLES
        return self.doubt() is None and bool(enough or np.median(samples) / 1e3 * P90_SAMPLES > TAIL_BUDGET_S)


def environment(threads: int, runtimes: Iterable[str]) -> dict[str, Any]:
    """What the figures were measured with."""
    model = ""
    for place in ("/proc/device-tree/model", "/sys/firmware/devicetree/base/model"):
        if os.path.exists(place):
            model = Path(place).read_text(errors="replace").strip("\0\n ")
            break
    return {
        "machine": {
            "board": model or None,
            "cpu_model": cpu_model(),
            "architecture": platform.machine(),
            "cores": os.cpu_count(),
            "system": platform.system(),
            "release": platform.release(),
        },
        "libraries": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            **{name: version_of(name) for name in sorted(set(runtimes))},
        },
        "threads": threads,
        "measured_by": "probe",
    }


def cpu_model() -> str | None:
    """The processor's name as the system tells it, or None."""
    try:
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.lower().startswith(("model name", "hardware")):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass  # other systems have no such file
    return platform.processor() or None


Inference = Callable[[np.ndarray], Any]  # [1, 3, h, w] float32 in, logits out


def open_onnx(path: Path, threads: int) -> Inference:
    """One inference of an ONNX model on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda image: session.run(None, {name: image})


def open_tflite(path: Path, threads: int) -> Inference:
    """One inference of a TensorFlow Lite model on the CPU, through its XNNPACK kernels."""
    interpreter = interpreter_class()(model_path=str(path), num_threads=threads)
    interpreter.allocate_tensors()
    inside, outside = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def run(image: np.ndarray) -> Any:
        interpreter.set_tensor(inside, image)
        interpreter.invoke()
        return interpreter.get_tensor(outside)

    return run


def interpreter_class() -> Any:
    """The interpreter of whichever package is installed. Raises ImportError where none is."""
    for module in ("ai_edge_litert.interpreter", "tflite_runtime.interpreter"):
        try:
            return importlib.import_module(module).Interpreter
        except ImportError:
            continue
    raise ImportError("neither ai-edge-litert nor tflite-runtime is installed")


def version_of(runtime: str) -> str | None:
    """The runtime's version; None where it is not installed. LiteRT counts its own, so its name stands before it."""
    for module, name in MODULES[runtime]:
        try:
            return name + str(getattr(importlib.import_module(module), "__version__", "unknown"))
        except ImportError:
            continue
    return None


MODULES = {"onnxruntime": [("onnxruntime", "")], "tflite": [("ai_edge_litert", "LiteRT "), ("tflite_runtime", "")]}
OPEN = {"onnxruntime": open_onnx, "tflite": open_tflite}


def measure(runtime: str, path: Path, resolution: int, threads: int, deadline_s: float) -> tuple[Run, float, float]:
    """(run, load milliseconds, first inference milliseconds) of one model, batch 1."""
    start = time.perf_counter()
    infer = OPEN[runtime](path, threads)
    loaded = time.perf_counter()
    image = np.random.RandomState(0).rand(1, 3, resolution, resolution).astype(np.float32)
    infer(image)
    first = time.perf_counter()
    run = Run(deadline_s)
    while not run.finished():
        samples = []
        for _ in range(run.next_window()):
            before = time.perf_counter()
            infer(image)
            samples.append((time.perf_counter() - before) * 1e3)
        run.add(samples)
    return run, (loaded - start) * 1e3, (first - loaded) * 1e3


def conditions(plan: dict[str, Any], entry: dict[str, Any], threads: int, fingerprint: str) -> dict[str, Any]:
    """What the figures of one model hold under, but for when they were taken."""
    return {
        "backbone": entry["backbone"],
        "hardware": plan["hardware"],
        "runtime": entry["runtime"],
        "runtime_version": version_of(entry["runtime"]),
        "precision": entry["precision"],
        "resolution": entry["resolution"],
        "batch_size": 1,
        "threads": threads,
        "freeze": None,
        "provenance": "measured",
        "fingerprint": fingerprint,
        "protocol": PROTOCOL_VERSION,
    }


def figures(at: dict[str, Any], run: Run, load_ms: float, first_ms: float) -> list[dict[str, Any]]:
    """The records of one model, as `selector evidence import` takes them."""
    samples = run.steady()
    low, high = median_interval(run.steady_windows())
    doubt = run.doubt()
    source = f"measured by the probe, protocol {PROTOCOL_VERSION}, random weights"
    source += "; " + doubt if doubt else ""
    figure = {"unit": "ms", "low": None, "high": None, "n": 1, "stable": None, "source": source}
    at = dict(at, recorded_at=datetime.now(timezone.utc).isoformat())  # noqa: UP017 - Python 3.8 has no datetime.UTC
    records = [dict(at, **dict(figure, metric="latency_ms_p50", value=float(np.median(samples)), low=low, high=high))]
    records[0].update(n=len(samples), stable=doubt is None)
    bound = p90_bound(samples)
    if bound is not None:
        records.append(dict(at, **dict(figure, metric="latency_ms_p90", value=bound, n=len(samples))))
        records[-1]["stable"] = doubt is None
    records.append(dict(at, **dict(figure, metric="load_ms", value=load_ms)))
    records.append(dict(at, **dict(figure, metric="first_inference_ms", value=first_ms)))
    return records


def say(line: str) -> None:
    """Tell how far it is, on stderr."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - runs where there is nothing but the standard library


def write(path: str, document: dict[str, Any]) -> None:
    """Put the document in place whole."""
    draft = Path(str(path) + ".part")
    draft.write_text(json.dumps(document, indent=1), encoding="utf-8")
    os.replace(str(draft), str(path))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure every model of the plan; the exit code is 1 where one failed."""
    parser = argparse.ArgumentParser(description="Measure the models beside this file.")
    parser.add_argument("-o", "--output", default="figures.json")
    parser.add_argument("--threads", type=int, default=0, help="0: as the plan says, else all cores")
    parser.add_argument("--deadline", type=float, default=DEADLINE_S, help="seconds of timed work a model at most")
    asked = parser.parse_args(arguments)
    here = Path(__file__).resolve().parent
    plan = json.loads((here / "plan.json").read_text(encoding="utf-8"))
    threads = asked.threads or plan.get("threads") or os.cpu_count() or 1
    surroundings = environment(threads, [entry["runtime"] for entry in plan["models"]])
    canonical = json.dumps(surroundings, sort_keys=True, separators=(",", ":"))
    fingerprint = hashlib.sha256(canonical.encode()).hexdigest()[:12]
    document: dict[str, Any] = {"schema_version": 1, "records": [], "environments": {fingerprint: surroundings}}
    write(asked.output, document)
    failed = 0
    for number, entry in enumerate(plan["models"], start=1):
        say(f"{number}/{len(plan['models'])} {entry['backbone']} {entry['runtime']}")
        try:
            run, load_ms, first_ms = measure(
                entry["runtime"], here / entry["file"], entry["resolution"], threads, asked.deadline
            )
        except Exception as error:  # noqa: BLE001 - one model that does not fit must not lose the others' figures
            failed += 1
            say(f"  failed: {error}")
            continue
        document["records"] += figures(conditions(plan, entry, threads, fingerprint), run, load_ms, first_ms)
        write(asked.output, document)
        say(f"  p50 {np.median(run.steady()):.2f} ms")
        gc.collect()
    say(f"written: {asked.output}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
