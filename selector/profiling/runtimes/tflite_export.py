"""TensorFlow Lite models from PyTorch's, by LiteRT Torch: no TensorFlow is needed. About half a minute a model.

The graph takes [1, 3, h, w] like the model it comes from; the converter turns it to channels-last inside.
"""

import io
from contextlib import redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from selector.errors import RuntimeUnavailable

if TYPE_CHECKING:
    import torch


def need_converter() -> None:
    """Raises RuntimeUnavailable where it is not installed; imports nothing."""
    if any(find_spec(module) is None for module in ("litert_torch", "ai_edge_litert")):
        raise RuntimeUnavailable(
            "TensorFlow Lite models are converted by litert-torch, which is not installed; "
            "install backbone-selector[tflite], or leave out --tflite"
        )


def save(model: "torch.nn.Module", resolution: int, file: Path) -> float:
    """Write the graph for one image of `resolution` pixels a side; its largest difference to eager's logits, relative.

    Raises RuntimeUnavailable where the converter is not installed.
    """
    need_converter()
    import litert_torch
    import torch
    from ai_edge_litert.interpreter import Interpreter

    image = torch.randn(1, 3, resolution, resolution, generator=torch.Generator().manual_seed(1))
    with redirect_stdout(io.StringIO()):  # its steps: standard output is for data
        litert_torch.convert(model, (image,)).export(str(file))
    with torch.inference_mode():
        expected = model(image).numpy()
    interpreter = Interpreter(model_path=str(file), num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image.numpy())
    interpreter.invoke()
    answer = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return float(np.abs(answer - expected).max() / np.abs(expected).max())
