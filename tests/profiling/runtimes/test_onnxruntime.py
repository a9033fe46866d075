from conformance import RuntimeConformance


class TestOnnxRuntime(RuntimeConformance):
    name = "onnxruntime"
