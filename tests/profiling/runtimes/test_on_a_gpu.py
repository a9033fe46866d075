"""The runtimes of an NVIDIA GPU. Where there is none, what they say about that is tested and the rest is skipped."""

import pytest
from conformance import RuntimeConformance


@pytest.mark.gpu
class TestTorchCuda(RuntimeConformance):
    name = "torch-cuda"


@pytest.mark.gpu
class TestOnnxRuntimeCuda(RuntimeConformance):
    name = "onnxruntime-cuda"


@pytest.mark.gpu
class TestTensorRT(RuntimeConformance):
    name = "tensorrt"


@pytest.mark.gpu
class TestTensorRTRTX(RuntimeConformance):
    name = "tensorrt-rtx"
