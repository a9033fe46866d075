"""Timing a backbone's inference, with the whole machine to itself: what a limit on latency is held against."""

import tempfile
from pathlib import Path
from typing import Any

from selector.tuning.artefacts import measure_latency
from selector.tuning.cache.prefix import export_fast
from selector.tuning.jobs.common import Emit, Task
from selector.tuning.model import WeightsFrom, build


def time_inference(task: Task, arguments: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """{latency_ms: "backbone@resolution" → median milliseconds of one inference in fp32, in ONNX Runtime here}.

    Of `backbone` with the task's head, at each of `resolutions`, on the task's threads.
    """
    name = arguments["backbone"]
    model = build(name, len(task.dataset.classes), WeightsFrom(task.weights_folder, task.random_init)).eval()
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        for resolution in arguments["resolutions"]:
            export_fast(model, resolution, file)
            found[f"{name}@{resolution}"] = measure_latency(file, resolution, task.threads).p50
    return {"latency_ms": found, "threads": task.threads}
