"""The files of a winner: weights, preprocessing, ONNX, int8 ONNX, with their checks. Needs torch."""

import json
import logging
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save_file
from torch import nn

from selector.profiling.intervals import median_interval
from selector.profiling.runtimes.quantise import REMOVABLE
from selector.tuning.cache.prefix import export_fast
from selector.tuning.data.images import read_rgb
from selector.tuning.place import MODEL_FILES, SETTINGS, WEIGHTS
from selector.tuning.preprocess import Augmentation, Preprocess

FEWEST_COMPARED = 8  # a batch: it takes no more memory than the test of the exported model
LATENCY_SAMPLES = 64
LATENCY_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds of one inference in ONNX Runtime here: median and its 95 % confidence interval."""

    p50: float
    low: float
    high: float
    n: int
    threads: int


def save_weights(model: nn.Module, folder: Path) -> None:
    """Write the weights (safetensors) into `folder`: whole, or not at all."""
    draft = folder / f".{WEIGHTS}"
    save_file({name: value.contiguous().cpu() for name, value in model.state_dict().items()}, draft)
    os.replace(draft, folder / WEIGHTS)


def save_graph(
    model: nn.Module, folder: Path, *, classes: Sequence[str], preprocess: Preprocess, views: Augmentation
) -> Path:
    """Write preprocessing.json and model.onnx into `folder`; returns the latter."""
    graph = folder / MODEL_FILES["fp32"]
    (folder / SETTINGS).write_text(
        json.dumps(
            {
                "classes": list(classes),
                "preprocessing": preprocess.as_json(),
                "views": {"kind": views.kind, "count": views.views},
            },
            ensure_ascii=False,
            indent=2,
        ),
        encoding="utf-8",
    )
    export_fast(model.cpu().eval(), preprocess.resolution, graph)
    return graph


def quantise(graph: Path, target: Path, calibration: Sequence[str], preprocess: Preprocess) -> None:
    """Write `graph` as int8-static: QDQ, per channel, ranges from the images at the paths `calibration`.

    Convolutions, with the ReLU behind them, and linear layers alone are quantised, weights to 7 bits: a CPU without
    VNNI adds two products in 16 bits, which full 8-bit weights overflow. `benchmarks/results/tune_quality.md` says
    what it costs.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Images(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._rows = _batches(calibration, preprocess)

        def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
            batch = next(self._rows, None)
            return None if batch is None else {"images": batch}

    logging.getLogger().setLevel(logging.ERROR)  # it advises a preprocessing step that the exporter has done
    quantize_static(
        str(graph),
        str(target),
        Images(),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=["Conv", "Gemm", "MatMul", *REMOVABLE],
        per_channel=True,
        reduce_range=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )


def _batches(paths: Sequence[str], preprocess: Preprocess, size: int = 16) -> Iterator[npt.NDArray[np.float32]]:
    for start in range(0, len(paths), size):
        yield np.stack([preprocess(read_rgb(Path(path))) for path in paths[start : start + size]])


@torch.inference_mode()
def torch_classes(
    model: nn.Module, paths: Sequence[str], preprocess: Preprocess, *, until: float | None = None
) -> npt.NDArray[np.int64]:
    """The class that torch gives to the plain view of each image; what the ONNX file is held against.

    Of fewer than there are paths, `FEWEST_COMPARED` at least, where `until` (monotonic seconds) comes before.
    """
    model = model.eval().to(memory_format=torch.channels_last)
    said = []
    for batch in _batches(paths, preprocess, FEWEST_COMPARED):
        images = torch.from_numpy(batch).contiguous(memory_format=torch.channels_last)
        said.append(model(images).argmax(dim=1).numpy())
        if until is not None and time.monotonic() >= until:
            break
    return np.concatenate(said)


def measure_latency(file: Path, resolution: int, threads: int) -> Latency:
    """Time single inferences of an ONNX file here, until `LATENCY_SAMPLES` samples or `LATENCY_SECONDS`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).standard_normal((1, 3, resolution, resolution), dtype=np.float32)
    for _ in range(8):
        session.run(None, {"images": image})
    samples: list[float] = []
    end = time.monotonic() + LATENCY_SECONDS
    while len(samples) < LATENCY_SAMPLES and (time.monotonic() < end or len(samples) < 8):
        start = time.perf_counter()
        session.run(None, {"images": image})
        samples.append((time.perf_counter() - start) * 1000)
    low, high = median_interval(samples)
    return Latency(float(np.median(samples)), low, high, len(samples), threads)
