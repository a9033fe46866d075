import pytest
import torch

from selector.profiling.models import create

TINY = torch.finfo(torch.float32).tiny


@pytest.mark.parametrize("name", ["efficientnet_b0", "mobilenetv3_small_050", "resnet50", "vgg11"])
@pytest.mark.parametrize("resolution", [64, 224])
def test_no_activation_is_denormal_or_huge(name: str, resolution: int) -> None:
    model = create(name)
    shares: list[float] = []
    peaks: list[float] = []

    def look(module: torch.nn.Module, inputs: object, output: torch.Tensor) -> None:
        sizes = output.abs()
        shares.append(((sizes > 0) & (sizes < TINY)).float().mean().item())
        peaks.append(sizes.max().item())

    for module in model.modules():
        if not list(module.children()):
            module.register_forward_hook(look)
    with torch.inference_mode():
        model(torch.randn(1, 3, resolution, resolution, generator=torch.Generator().manual_seed(1)))
    assert max(shares) == 0
    assert min(peaks) > 1e-6
    assert max(peaks) < 1e4


def test_the_same_seed_gives_the_same_weights() -> None:
    one, two, other = (
        create("mobilenetv3_small_050"),
        create("mobilenetv3_small_050"),
        create("mobilenetv3_small_050", seed=1),
    )
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one.conv_stem.weight, other.conv_stem.weight)


def test_no_residual_branch_is_silent() -> None:
    norms = [m for m in create("resnet18").modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert all(bool(norm.weight.any()) for norm in norms)
