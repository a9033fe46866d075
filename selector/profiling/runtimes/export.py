"""The files that runtimes load: state dicts and graphs of backbones in several precisions, made once and kept.

A file, with a graph's weights in another beside it (`graph_files`), is made once per recipe (backbone, head, weights,
precision; for a graph also resolution and calibration images; and the versions of the libraries that make it) and lies
under `SELECTOR_HOME/cache/models/`, in a folder named after the recipe's hash. It appears there whole or not at all. A
graph's batch is dynamic, and its answers were compared with eager's: an fp32 or fp16 graph that differs is refused, a
quantised one is kept with its likeness noted (what it is worth is measured by `agreement`, once, and kept in its
folder). Beside models lie the fp32 logits that lossy ones are compared with.
"""

import hashlib
import json
import os
import warnings
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from selector import resources
from selector.errors import InvalidInput, MeasurementFailed
from selector.hardware.fingerprint import installed_version
from selector.profiling import models
from selector.profiling.agreement import agreement
from selector.profiling.images import ImageSet
from selector.profiling.material import Material
from selector.profiling.runtimes.base import ModelFile, Runtime
from selector.profiling.runtimes.drafts import draft, put_in_place
from selector.profiling.runtimes.graph_files import bytes_of, digest_of, move_weights_out

if TYPE_CHECKING:
    import torch

FORMAT = 6  # raised when the making of files changes, so that older ones are not taken for new ones
TOLERANCE = 1e-3  # of the largest logit: fp32 kernels add in another order, nothing more
HALF_TOLERANCE = 5e-2  # of the largest logit: fp16 carries 11 bits, and rounding adds up over a hundred layers
FILE_NAMES = {
    "weights": "weights.safetensors",
    "onnx": "model.onnx",
    "tflite": "model.tflite",
    "reference": "logits.npy",
}

Kind = Literal["weights", "onnx", "tflite", "reference"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that the content of a file follows from.

    `precision` names the variant: a precision, or "int8-static-symmetric". Of weights and images the digests count;
    the places say where to find them.
    """

    kind: Kind
    backbone: str
    classes: int = 1000
    head: str = "original"
    seed: int = models.SEED
    resolution: int = 0  # 0 for weights, which fit every resolution
    precision: str = "fp32"
    weights_digest: str = ""  # empty: random weights from the seed
    weights_folder: str = ""
    images_digest: str = ""  # of what a static quantisation is calibrated on, or a reference answers
    images_folder: str = ""

    @property
    def folder(self) -> Path:
        """Where its file is kept."""
        content = {k: v for k, v in asdict(self).items() if k not in ("weights_folder", "images_folder")}
        quantised = self.kind == "onnx" and self.precision.startswith("int8")
        makers = ("torch", "timm", *(("onnxruntime",) if quantised else ()))
        makers += ("litert-torch",) if self.kind == "tflite" else ()
        versions = {name: installed_version(name) or "" for name in makers}  # onnxruntime goes by other names too
        text = json.dumps({"format": FORMAT, **content, **versions}, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        return resources.home() / "cache" / "models" / f"{self.backbone}-{self.kind}-{digest}"

    @property
    def path(self) -> Path:
        """The file itself, whether or not it is there."""
        return self.folder / FILE_NAMES[self.kind]

    def is_there(self) -> bool:
        """Whether the file is there with all that belongs to it: its folder may have been copied or cleared in part."""
        if not self.path.exists():
            return False
        with suppress(OSError, ValueError, KeyError, TypeError):
            about = json.loads((self.folder / "about.json").read_text(encoding="utf-8"))
            return bool(bytes_of(self.path) == about["bytes"])
        return True  # as far as anybody knows

    def digest(self) -> str:
        """The sha256 of its content (`digest_of`), which must be there: as noted when it was made."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            return str(json.loads((self.folder / "about.json").read_text(encoding="utf-8"))["sha256"])
        return digest_of(self.path)

    def model_file(self, resolution: int) -> ModelFile:
        """What a runtime is given."""
        return ModelFile(self.backbone, self.classes, resolution, self.path)


def recipe(
    kind: Kind, backbone: str, *, resolution: int, precision: str = "fp32", material: Material | None = None
) -> Recipe:
    """The recipe of a file for this configuration, with random weights and synthetic images unless `material` says."""
    made_of = material or Material()
    wanted = Recipe(
        kind,
        backbone,
        precision=precision,
        resolution=0 if kind == "weights" else resolution,
        weights_digest=made_of.weights_digest(backbone),
        weights_folder=str(made_of.weights or ""),
    )
    images = made_of.agreement() if kind == "reference" else made_of.calibration()
    if kind == "reference" or precision.startswith("int8-static"):
        wanted = replace(wanted, images_digest=images.digest, images_folder=images.folder)
    return wanted


def recipe_for(
    runtime: type[Runtime], backbone: str, *, resolution: int, precision: str, material: Material | None = None
) -> Recipe:
    """The recipe of the file that `runtime` loads for this configuration."""
    variant = runtime.variant(precision)
    return recipe(runtime.loads, backbone, resolution=resolution, precision=variant, material=material)


def make(wanted: Recipe) -> Path:
    """The recipe's file, made where it is not there yet. Imports torch: only worker processes call it.

    Raises MeasurementFailed where the graph does not answer as eager does, InvalidInput for weights or images that
    cannot be used, OSError where the disk is full.
    """
    for _ in making(wanted):
        pass
    return wanted.path


def making(wanted: Recipe) -> Iterator[float]:
    """`make` step by step: tells how much is done, 0 to 1, after each image that a reference answers or a static
    quantisation is calibrated on; of other files little or nothing.
    """
    if wanted.is_there():
        return
    with draft(wanted.folder.parent, ".making-") as made:
        file = made / FILE_NAMES[wanted.kind]
        notes = yield from _saving(wanted, file)
        about = {"recipe": asdict(wanted), "sha256": digest_of(file), "bytes": bytes_of(file), **notes}
        (made / "about.json").write_text(json.dumps(about, indent=2), encoding="utf-8")
        if wanted.folder.exists() and not wanted.is_there():  # what is left of one that is not whole any more
            with draft(wanted.folder.parent, ".making-") as aside, suppress(OSError):
                os.rename(wanted.folder, aside / "lost")
        put_in_place(made, wanted.folder)
    if not wanted.is_there():
        raise OSError(f"{wanted.folder} is not whole and could not be replaced; remove it")


def _saving(wanted: Recipe, file: Path) -> Generator[float, None, dict[str, Any]]:
    """Write the file; what its making brought to know. Yields how much is done, 0 to 1."""
    match wanted.kind:
        case "weights":
            return _save_weights(wanted, file)
        case "onnx":
            return (yield from _save_graph(wanted, file))
        case "tflite":
            return _save_tflite(wanted, file)
        case "reference":
            return (yield from _save_reference(wanted, file))


def _model(wanted: Recipe) -> "torch.nn.Module":
    """The fp32 model in eval mode. Raises InvalidInput where the weights are no longer those of the digest."""
    if not wanted.weights_digest:
        return models.create(wanted.backbone, seed=wanted.seed)
    from selector.backbones import weights

    folder = Path(wanted.weights_folder)
    if Material(folder).weights_digest(wanted.backbone) != wanted.weights_digest:
        raise InvalidInput(f"the weights of {wanted.backbone} in {str(folder)!r} changed meanwhile; start again")
    return weights.create(wanted.backbone, weights=folder).model.requires_grad_(False)


def _save_weights(wanted: Recipe, file: Path) -> dict[str, Any]:
    from safetensors.torch import save_file

    from selector.profiling.runtimes.torch_dynamic import quantised_state
    from selector.profiling.runtimes.torch_eager import torch_type

    model = _model(wanted)
    if wanted.precision == "int8-dynamic":
        state = quantised_state(model)
    else:
        state = {
            name: tensor.contiguous() for name, tensor in model.to(torch_type(wanted.precision)).state_dict().items()
        }
    save_file(state, str(file))
    return {}


def _save_reference(wanted: Recipe, file: Path) -> Generator[float, None, dict[str, Any]]:
    """The fp32 logits of eager for the agreement images, [n, classes]; yields how many are done, of 1."""
    import torch

    model = _model(wanted)
    images = ImageSet("agreement", wanted.images_folder)
    logits = []
    for image in images.each(wanted.backbone, wanted.resolution):
        with torch.inference_mode():
            logits.append(model(torch.from_numpy(image[None])).numpy())
        yield len(logits) / images.count
    np.save(file, np.concatenate(logits))
    return {"images": str(images)}


def _save_graph(wanted: Recipe, file: Path) -> Generator[float, None, dict[str, Any]]:
    """The graph, exported or made of the exported one; yields when that is there, and after each calibration image."""
    model = _model(wanted)
    if wanted.precision == "fp32":
        _export(model, wanted, file)
    else:
        yield from _derive(wanted, file)
    move_weights_out(file)
    match wanted.precision:
        case "fp32":
            return {"max_difference_to_eager": _check_graph(model, wanted, file, TOLERANCE)}
        case "fp16":
            return {"max_difference_to_eager": _check_graph(model, wanted, file, HALF_TOLERANCE)}
        case "int8-dynamic":
            return {"cosine_to_eager": _likeness(model, wanted, file)}
        case _:
            return {"cosine_to_eager": _likeness(model, wanted, file), "calibrated_on": str(_calibration(wanted))}


def _derive(wanted: Recipe, file: Path) -> Iterator[float]:
    """Write a graph of another precision than fp32, made of the fp32 one; `_save_graph` tells what it yields."""
    from selector.profiling.runtimes import quantise

    plain = make(replace(wanted, precision="fp32", images_digest="", images_folder=""))
    yield 0.0
    match wanted.precision:
        case "fp16":
            quantise.cast_to_half(plain, file)
        case "int8-dynamic":
            quantise.quantise_dynamic(plain, file)
        case _:
            images = _calibration(wanted)
            each = images.each(wanted.backbone, wanted.resolution)
            symmetric = wanted.precision.endswith("-symmetric")
            for seen in quantise.quantising_static(plain, file, each, symmetric=symmetric):
                yield seen / (images.count + 1)  # then the weights follow


def _calibration(wanted: Recipe) -> ImageSet:
    return ImageSet("calibration", wanted.images_folder)


def _save_tflite(wanted: Recipe, file: Path) -> dict[str, Any]:
    """An fp32 graph for batches of 1: the interpreter plans its memory for one shape."""
    from selector.profiling.runtimes import tflite_export

    model = _model(wanted)
    worst = tflite_export.save(model, wanted.resolution, file)
    if not worst <= TOLERANCE:
        raise MeasurementFailed(
            f"{wanted.backbone}'s TensorFlow Lite graph differs from eager by {worst:.1e} of the largest logit "
            f"(allowed: {TOLERANCE:.0e}); it was not kept"
        )
    return {"max_difference_to_eager": worst}


def _export(model: "torch.nn.Module", wanted: Recipe, file: Path) -> None:
    """Write the fp32 graph. Raises MeasurementFailed where ONNX cannot express the model at this resolution."""
    import torch
    from torch.onnx import OnnxExporterError

    from selector.profiling.runtimes.adaptive_pool import fixed_pooling

    side = wanted.resolution
    with warnings.catch_warnings(), fixed_pooling(model):
        # the tracing exporter: its graphs are the same to a runtime for these feed-forward nets, in 0.3 s where the
        # dynamo exporter takes 3–9 s. Deprecated, and present in the torch we allow
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                model,
                (torch.zeros(1, 3, side, side),),
                str(file),
                dynamo=False,
                opset_version=17,  # the first with all that these nets use; later ones add nothing to them
                input_names=["image"],
                output_names=["logits"],
                dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}},
            )
        except OnnxExporterError as error:
            why = str(error).split("[Caused by")[0].strip().splitlines()[0]  # a dump of the graph follows
            raise MeasurementFailed(f"{wanted.backbone} at {side} px cannot be exported to ONNX: {why}") from error


def _check_graph(model: "torch.nn.Module", wanted: Recipe, file: Path, tolerance: float) -> float:
    """The largest difference to eager's logits relative to the largest logit, over batches of 1 and 3.

    Raises MeasurementFailed where it exceeds the tolerance.
    """
    worst = 0.0
    for expected, answer in _answers(model, wanted, file):
        worst = max(worst, float(np.abs(answer - expected).max() / np.abs(expected).max()))
    if not worst <= tolerance:
        raise MeasurementFailed(
            f"{wanted.backbone}'s {wanted.precision} ONNX graph differs from eager by {worst:.1e} of the largest logit "
            f"(allowed: {tolerance:.0e}); it was not kept"
        )
    return worst


def _likeness(model: "torch.nn.Module", wanted: Recipe, file: Path) -> float:
    """Mean cosine of a quantised graph's logits with eager's. Raises MeasurementFailed for a graph that is broken."""
    cosines = [agreement(expected, answer).cosine for expected, answer in _answers(model, wanted, file)]
    if not min(cosines) > 0:
        raise MeasurementFailed(
            f"{wanted.backbone}'s {wanted.precision} ONNX graph has nothing in common with eager "
            f"(cosine of logits {min(cosines):.2f}); it was not kept"
        )
    return float(np.mean(cosines))


def _answers(
    model: "torch.nn.Module", wanted: Recipe, file: Path
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Logits of eager and of the graph, for batches of 1 and 3 images.

    Two runtimes in one process are slow, which does not matter here: nothing is timed.
    """
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        side = wanted.resolution
        image = torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(batch))
        with torch.inference_mode():
            expected = model(image).numpy()
        yield expected, session.run(None, {"image": image.numpy()})[0]
