from conformance import RuntimeConformance


class TestTorchCompile(RuntimeConformance):
    name = "torch-compile"
    loads = 5  # each compiles again
