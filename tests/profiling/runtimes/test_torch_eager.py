from conformance import RuntimeConformance


class TestTorchEager(RuntimeConformance):
    name = "torch-eager"
