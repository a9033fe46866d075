import pytest
from conformance import RuntimeConformance

from selector.profiling.runtimes import runtime
from selector.profiling.runtimes.export import recipe_for


class TestTorchEager(RuntimeConformance):
    name = "torch-eager"
    everywhere = ("amp",)


class TestTorchEagerNHWC(RuntimeConformance):
    name = "torch-eager-nhwc"
    everywhere = ("amp",)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("torch-eager", "autocast to bf16, weights cast at each inference"),
        ("torch-eager-nhwc", "channels-last, autocast to bf16, weights cast at each inference"),
        ("torch-compile", "static shapes, autocast to bf16"),
        ("torch-cuda", "TF32 off, channels-last, autocast to fp16, weights cast at each inference, input"),
    ],
)
def test_mixed_precision_is_the_fp32_file_under_autocast(name: str, told: str) -> None:
    kind = runtime(name)
    mixed, plain = (recipe_for(kind, "resnet18", resolution=224, precision=p) for p in ("amp", "fp32"))
    assert mixed == plain
    assert told in kind.settings("amp")
    assert "autocast" not in kind.settings("fp32")


def test_under_autocast_weights_and_images_stay_fp32_and_layers_compute_in_half() -> None:
    import torch

    from selector.profiling.runtimes.torch_eager import autocast

    inner: list[torch.dtype] = []
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(64, 2))
    module[0].register_forward_hook(lambda _, inputs, output: inner.extend([inputs[0].dtype, output.dtype]))
    with torch.inference_mode():
        autocast(module, "cpu")(torch.zeros(1, 3, 6, 6))
        assert not torch.is_autocast_enabled("cpu")
    assert inner == [torch.float32, torch.bfloat16]
    assert {p.dtype for p in module.parameters()} == {torch.float32}
