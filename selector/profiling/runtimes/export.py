"""The files that runtimes load: a state dict and an ONNX graph of one backbone, made once and kept.

A file is made once per recipe (backbone, head, seed; for a graph also resolution and precision; and the versions of
the libraries that make it) and lies under `SELECTOR_HOME/cache/models/`, in a folder named after the recipe's hash.
It appears there whole or not at all. A graph's batch is dynamic, and its answers were checked against eager's.
"""

import hashlib
import json
import os
import shutil
import tempfile
import warnings
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from selector import resources
from selector.errors import MeasurementFailed
from selector.profiling import models
from selector.profiling.runtimes.base import ModelFile

if TYPE_CHECKING:
    import torch

FORMAT = 1  # raised when the making of files changes, so that older ones are not taken for new ones
TOLERANCE = 1e-3  # of the largest logit: fp32 kernels add in another order, nothing more
FILE_NAMES = {"weights": "weights.safetensors", "onnx": "model.onnx"}


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that the content of a file follows from."""

    kind: Literal["weights", "onnx"]
    backbone: str
    classes: int = 1000
    head: str = "original"
    seed: int = models.SEED
    resolution: int = 0  # 0 for weights, which fit every resolution
    precision: str = "fp32"

    @property
    def folder(self) -> Path:
        """Where its file is kept."""
        versions = {name: metadata.version(name) for name in ("torch", "timm")}
        text = json.dumps({"format": FORMAT, **asdict(self), **versions}, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        return resources.home() / "cache" / "models" / f"{self.backbone}-{self.kind}-{digest}"

    @property
    def path(self) -> Path:
        """The file itself, whether or not it is there."""
        return self.folder / FILE_NAMES[self.kind]

    def model_file(self, resolution: int) -> ModelFile:
        """What a runtime is given."""
        return ModelFile(self.backbone, self.classes, resolution, self.path)


def recipe(kind: Literal["weights", "onnx"], backbone: str, *, resolution: int, precision: str = "fp32") -> Recipe:
    """The recipe of the file that a runtime loads for this configuration."""
    if kind == "weights":
        return Recipe("weights", backbone)
    return Recipe("onnx", backbone, resolution=resolution, precision=precision)


def make(wanted: Recipe) -> Path:
    """The recipe's file, made where it is not there yet. Imports torch: only worker processes call it.

    Raises MeasurementFailed where the graph does not answer as eager does, OSError where the disk is full.
    """
    if wanted.path.exists():
        return wanted.path
    cache = wanted.folder.parent
    cache.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".making-", dir=cache))
    try:
        model = models.create(wanted.backbone, seed=wanted.seed)
        file = draft / FILE_NAMES[wanted.kind]
        notes = _save_weights(model, file) if wanted.kind == "weights" else _save_graph(model, wanted, file)
        digest = hashlib.file_digest(file.open("rb"), "sha256").hexdigest()
        about = {"recipe": asdict(wanted), "sha256": digest, "bytes": file.stat().st_size, **notes}
        (draft / "about.json").write_text(json.dumps(about, indent=2), encoding="utf-8")
        _put_in_place(draft, wanted.folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return wanted.path


def _put_in_place(draft: Path, folder: Path) -> None:
    """Move the finished folder; where another process was faster, its equal stays."""
    try:
        os.rename(draft, folder)
    except OSError:
        if not folder.is_dir():
            raise


def _save_weights(model: "torch.nn.Module", file: Path) -> dict[str, Any]:
    from safetensors.torch import save_file

    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, str(file))
    return {"note": models.WEIGHTS_NOTE}


def _save_graph(model: "torch.nn.Module", wanted: Recipe, file: Path) -> dict[str, Any]:
    import torch

    side = wanted.resolution
    sample = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(wanted.seed))
    with warnings.catch_warnings():
        # the tracing exporter: its graphs are the same to a runtime for these feed-forward nets, in 0.3 s where the
        # dynamo exporter takes 3–9 s, and weights lie in the one file. Deprecated, and present in the torch we allow
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (sample,),
            str(file),
            dynamo=False,
            opset_version=17,  # the first with all that these nets use; later ones add nothing to them
            input_names=["image"],
            output_names=["logits"],
            dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}},
        )
    return {"note": models.WEIGHTS_NOTE, "max_difference_to_eager": _check_graph(model, wanted, file)}


def _check_graph(model: "torch.nn.Module", wanted: Recipe, file: Path) -> float:
    """The largest difference to eager's logits relative to the largest logit, over batches of 1 and 3.

    Raises MeasurementFailed where it exceeds the tolerance. Two runtimes in one process are slow, which does not
    matter here: nothing is timed.
    """
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    worst = 0.0
    for batch in (1, 3):
        side = wanted.resolution
        image = torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(batch))
        with torch.inference_mode():
            expected = model(image).numpy()
        answer = session.run(None, {"image": image.numpy()})[0]
        worst = max(worst, float(np.abs(answer - expected).max() / np.abs(expected).max()))
    if not worst <= TOLERANCE:
        raise MeasurementFailed(
            f"{wanted.backbone}'s ONNX graph differs from eager by {worst:.1e} of the largest logit "
            f"(allowed: {TOLERANCE:.0e}); it was not kept"
        )
    return worst
