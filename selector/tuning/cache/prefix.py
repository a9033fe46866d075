"""Running a frozen prefix, tapped at several depths in one pass, on the fastest runtime that agrees with eager.

A GPU runs it in eager mode under autocast's precision; a CPU in ONNX Runtime, which fuses what eager runs one by
one († 2 to 4 × as fast). Where ONNX Runtime's answer differs from eager's, or the export fails, eager it is.
"""

import copy
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from selector.backbones.depth import FreezeDepth
from selector.tuning.model import split_model

# what half precision itself rounds away, relative to the largest feature; runtimes may differ by no more
AGREEMENT = 1e-3

Run = Callable[[npt.NDArray[np.float32]], list[npt.NDArray[np.float32]]]


@dataclass(frozen=True, slots=True)
class PrefixRunner:
    """A prefix that turns images [n, 3, r, r] into one array of features a depth. Safe to call from several threads."""

    run: Run
    runtime: str
    why: str  # why this runtime; shown in the study's report


class Taps(nn.Module):
    """The prefixes of several depths of one model as one module with an output a depth, each block run once."""

    def __init__(self, model: nn.Module, depths: Sequence[int]) -> None:
        super().__init__()
        self.depths = list(depths)
        total = split_model(model, FreezeDepth("head")).total_blocks
        shallow = sorted({d for d in depths if d < total})
        self.pieces = nn.ModuleList()
        self.at: list[int] = []
        for depth in shallow:
            whole = list(split_model(model, FreezeDepth(str(depth))).prefix.children())
            blocks = list(whole[0].children()) if whole else []
            self.pieces.append(nn.Sequential(*blocks[self.at[-1] if self.at else 0 :]))
            self.at.append(depth)
        if total in depths:
            tail = split_model(model, FreezeDepth(str(self.at[-1] if self.at else 0))).tail
            linear = len(list(tail)) - 1
            free = next(i for i, part in enumerate(tail) if isinstance(part, nn.Dropout) or i == linear)
            self.pieces.append(nn.Sequential(*list(tail)[:free]))
            self.at.append(total)
        self.train(False)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Features, one tensor a depth in the order that was asked for."""
        found: dict[int, torch.Tensor] = {}
        features = images
        for depth, piece in zip(self.at, self.pieces, strict=True):
            features = piece(features)
            found[depth] = features
        return [found[depth] for depth in self.depths]


def prefix_runner(model: nn.Module, depths: Sequence[int], resolution: int, folder: Path) -> PrefixRunner:
    """The fastest runner of the prefixes of `model` at `depths` that agrees with eager. `folder` holds its files."""
    taps = Taps(model, depths).eval()
    if depths == [0]:
        return PrefixRunner(lambda images: [images], "none", "nothing is frozen: the views themselves are kept")
    if torch.cuda.is_available():
        return PrefixRunner(_eager_on(taps, torch.device("cuda")), "torch-eager", "on the GPU")
    eager = _eager(taps)
    try:
        fast = _onnxruntime(taps, resolution, folder)
    except Exception as error:  # noqa: BLE001 - exporters raise anything; eager can do the same work
        return PrefixRunner(eager, "torch-eager", f"ONNX export failed: {type(error).__name__}: {error}"[:300])
    probe = np.random.default_rng(0).standard_normal((2, 3, resolution, resolution), dtype=np.float32)
    difference = max(
        float(np.abs(a - b).max() / max(float(np.abs(b).max()), 1e-6))
        for a, b in zip(fast(probe), eager(probe), strict=True)
    )
    if not difference <= AGREEMENT:
        return PrefixRunner(eager, "torch-eager", f"ONNX Runtime differs from eager by {difference:.1e} of the largest")
    return PrefixRunner(fast, "onnxruntime", f"agrees with eager to {difference:.1e} of the largest feature")


def _eager(taps: nn.Module) -> Run:
    def run(images: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
        with torch.inference_mode():
            batch = torch.from_numpy(images).contiguous(memory_format=torch.channels_last)
            return [features.contiguous().numpy() for features in taps(batch)]

    return run


def _eager_on(taps: nn.Module, device: torch.device) -> Run:
    # of a copy: the taps hold the model's own modules, and who gave the model goes on with it where it lay
    there = copy.deepcopy(taps).to(device).to(memory_format=torch.channels_last)

    def run(images: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
        with torch.inference_mode(), torch.autocast(device.type):
            batch = torch.from_numpy(images).to(device).contiguous(memory_format=torch.channels_last)
            return [features.float().contiguous().cpu().numpy() for features in there(batch)]

    return run


def _onnxruntime(taps: Taps, resolution: int, folder: Path) -> Run:
    import onnxruntime

    file = folder / f"prefix-{os.getpid()}.onnx"
    export_fast(taps, resolution, file, outputs=len(taps.depths))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # images are computed side by side, one a thread: no thread waits for another
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    file.unlink()
    (name,) = (entry.name for entry in session.get_inputs())
    return lambda images: list(session.run(None, {name: images}))


def export_fast(model: nn.Module, resolution: int, file: Path, *, outputs: int = 1) -> None:
    """Write `model` as ONNX with a free batch size, by torch's tracing exporter.

    The tracing exporter takes a tenth of the time of the newer one († 3.5 s against 38 s beside other work), which a
    budget of two minutes notices; the networks of the catalog hold no control flow that tracing could lose.
    """
    names = [f"output{i}" for i in range(outputs)] if outputs > 1 else ["logits"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (torch.zeros(2, 3, resolution, resolution),),
            str(file),
            dynamo=False,
            input_names=["images"],
            output_names=names,
            dynamic_axes={name: {0: "n"} for name in ("images", *names)},
            opset_version=17,
        )
