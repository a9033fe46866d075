"""Classifying images with a model that `tune` saved: ONNX Runtime, Pillow and numpy, no torch."""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from selector.errors import InvalidInput
from selector.tuning.data.images import UnreadableImage, read_rgb
from selector.tuning.place import MODEL_FILES, RECORD
from selector.tuning.preprocess import Augmentation, Preprocess


@dataclass(frozen=True, slots=True)
class Prediction:
    """The classes of one image, most probable first; or why there are none."""

    path: str
    classes: tuple[tuple[str, float], ...]
    error: str | None = None


class Predictor:
    """A saved model, ready to classify. Raises InvalidInput for a folder that holds none."""

    def __init__(self, folder: Path, *, precision: str = "fp32", threads: int | None = None) -> None:
        import onnxruntime

        file = folder / MODEL_FILES[precision]
        settings = folder / "preprocessing.json"
        missing = [p.name for p in (file, settings) if not p.is_file()]
        if missing == [MODEL_FILES["int8-static"]] and (folder / MODEL_FILES["fp32"]).is_file():
            raise InvalidInput(f"{folder} holds a model in fp32 alone: {_why_no_int8(folder)}")
        if missing:
            raise InvalidInput(
                f"{folder} holds no {' and no '.join(missing)}; give the folder that `selector tune` saved its model in"
            )
        try:
            data = json.loads(settings.read_text(encoding="utf-8"))
            self.classes: tuple[str, ...] = tuple(data["classes"])
            self.preprocess = Preprocess.from_json(data["preprocessing"])
            self.views = Augmentation.of(data["views"]["kind"], 1.0, data["views"]["count"], 0)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise InvalidInput(
                f"{settings} is not as `selector tune` wrote it: {type(error).__name__}: {error}"
            ) from None
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # it warns of every constant that a quantised graph no longer uses
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's errors share no other base
            raise InvalidInput(f"{file} cannot be loaded: {str(error).strip().splitlines()[0][:300]}") from error

    def logits(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Logits [n, classes] of preprocessed images [n, 3, r, r]."""
        (logits,) = self._session.run(None, {"images": images})
        return np.asarray(logits, dtype=np.float32)

    def probabilities(self, path: Path) -> npt.NDArray[np.float64]:
        """Class probabilities [classes] of one file, the mean over the model's views. Raises UnreadableImage."""
        views = self.views.render(read_rgb(path), self.preprocess, name="", first=0, last=self.views.views)
        return np.asarray(softmax(self.logits(np.stack(list(views)))).mean(axis=0), dtype=np.float64)

    def predict(self, paths: Sequence[Path], *, top: int = 5) -> Iterator[Prediction]:
        """A prediction for each file in turn; one that cannot be read says so and the others go on."""
        for path in paths:
            try:
                found = self.probabilities(path) if path.is_file() else None
            except UnreadableImage as error:
                yield Prediction(str(path), (), str(error))
                continue
            if found is None:
                yield Prediction(str(path), (), "a folder: give the images in it" if path.is_dir() else "no such file")
                continue
            order = np.argsort(-found)[:top]
            yield Prediction(str(path), tuple((self.classes[i], float(found[i])) for i in order))


def _why_no_int8(folder: Path) -> str:
    """What `selector tune` wrote down about the int8 model that it did not make."""
    with suppress(OSError, ValueError, AttributeError):  # a record that is not there, or not as it was written
        if why := json.loads((folder / RECORD).read_text(encoding="utf-8")).get("int8_left_out"):
            return f"int8 was left out, {why}"
    return "it came without one in int8"


def softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Probabilities along the last axis."""
    shifted = np.asarray(logits, dtype=np.float64)
    exponent = np.exp(shifted - shifted.max(axis=-1, keepdims=True))
    return np.asarray(exponent / exponent.sum(axis=-1, keepdims=True), dtype=np.float64)
