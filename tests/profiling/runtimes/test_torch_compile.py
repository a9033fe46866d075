from conformance import LARGE_BYTES, RuntimeConformance


class TestTorchCompile(RuntimeConformance):
    name = "torch-compile"
    everywhere = ("amp",)
    loads = 5  # each compiles again
    large_bytes = 3 * LARGE_BYTES  # Inductor keeps what it compiled until the process ends; more than that is ours
