"""The int8 model of a winner that is whole without it."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from selector.tuning.artefacts import measure_latency, quantise
from selector.tuning.data.split import Split
from selector.tuning.jobs.answers import onnx_logits, samples_of_test
from selector.tuning.jobs.common import Emit, Task, preprocess_of
from selector.tuning.place import MODEL_FILES, SETTINGS
from selector.tuning.predict import softmax
from selector.tuning.scores import macro_f1_lost, score
from selector.tuning.search.budget import CALIBRATION_IMAGES


def make_int8(task: Task, arguments: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """Quantise the model in `folder` into `draft`, test and time it; or {"left_out": why}.

    `answers` is the file of that model's logits on the test images that it was scored on. ONNX Runtime leaves whole
    graphs beside what it quantises and in the folder for temporary files where it is ended: both are the draft's here.
    """
    emit({"event": "stage", "stage": "quantising"})
    started = time.monotonic()
    folder, draft = Path(arguments["folder"]), Path(arguments["draft"])
    target = draft / MODEL_FILES["int8-static"]
    chosen = np.random.default_rng(0).permutation(task.rows(Split.TRAIN))[:CALIBRATION_IMAGES]
    before = softmax(np.load(arguments["answers"])).mean(axis=1)
    test = samples_of_test(task)[: len(before)]
    labels = np.array([s.label for s in test], dtype=np.int64)
    doing = "quantiser failed"
    try:
        shutil.copy(folder / SETTINGS, draft)
        _same(folder / MODEL_FILES["fp32"], graph := draft / MODEL_FILES["fp32"])
        preprocess = preprocess_of(arguments["backbone"], arguments["resolution"])
        with _temporary_files_in(draft):
            quantise(graph, target, [task.trainable[i].path for i in chosen], preprocess)
        doing = "int8 graph could not be tested"
        after = softmax(onnx_logits(draft, "int8-static", [s.path for s in test], task.threads)).mean(axis=1)
        return {
            "test": score(after, labels, task.dataset.classes).as_json(),
            "macro_f1_lost": macro_f1_lost(before, after, labels).as_json(),
            "latency_ms": asdict(measure_latency(target, arguments["resolution"], task.threads)),
            "calibration_images": len(chosen),
            "seconds": time.monotonic() - started,
        }
    except Exception as error:  # noqa: BLE001 - ONNX Runtime raises anything; the fp32 model is whole without it
        says = " ".join(f"ONNX Runtime's {doing}: {type(error).__name__}: {error}".split())
        return {"left_out": says[:300]}


def _same(file: Path, other: Path) -> None:
    """Have `file` at `other`, too: as a link, or a copy where the file system knows no links."""
    other.unlink(missing_ok=True)
    try:
        os.link(file, other)
    except OSError:
        shutil.copy(file, other)


@contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before
