from conformance import RuntimeConformance


class TestTorchEager(RuntimeConformance):
    name = "torch-eager"


class TestTorchEagerNHWC(RuntimeConformance):
    name = "torch-eager-nhwc"
