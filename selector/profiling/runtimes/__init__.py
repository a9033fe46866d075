"""The runtimes, one file each, and the export that feeds them. Importing this imports none of their libraries."""

from importlib import import_module

from selector.errors import InvalidInput, UnknownName
from selector.profiling.runtimes.base import Runtime

RUNTIMES: dict[str, str] = {
    "torch-eager": "selector.profiling.runtimes.torch_eager:TorchEager",
    "torch-eager-nhwc": "selector.profiling.runtimes.torch_eager:TorchEagerNHWC",
    "torch-compile": "selector.profiling.runtimes.torch_compile:TorchCompile",
    "onnxruntime": "selector.profiling.runtimes.onnxruntime:OnnxRuntime",
    "openvino": "selector.profiling.runtimes.openvino:OpenVINO",
    "torch-cuda": "selector.profiling.runtimes.torch_cuda:TorchCuda",
    "onnxruntime-cuda": "selector.profiling.runtimes.onnxruntime:OnnxRuntimeCuda",
    "tensorrt": "selector.profiling.runtimes.tensorrt:TensorRT",
    "tensorrt-rtx": "selector.profiling.runtimes.tensorrt:TensorRTRTX",
}
"""Name → "module:class". A runtime is imported when it is asked for."""


def runtime(name: str) -> type[Runtime]:
    """The runtime called `name`. Raises UnknownName for another one."""
    if name not in RUNTIMES:
        raise UnknownName("runtime", name, RUNTIMES, listing="selector runtimes")
    return load(RUNTIMES[name])


def load(path: str) -> type[Runtime]:
    """The runtime class at "module:class". Raises InvalidInput where there is none."""
    module, _, name = path.partition(":")
    found = getattr(import_module(module), name, None)
    if not (isinstance(found, type) and issubclass(found, Runtime)):
        raise InvalidInput(f"{path!r} is no runtime: a subclass of selector.profiling.runtimes.base.Runtime is needed")
    return found
