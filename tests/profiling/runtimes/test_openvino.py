from conformance import RuntimeConformance


class TestOpenVINO(RuntimeConformance):
    name = "openvino"
