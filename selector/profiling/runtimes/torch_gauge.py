"""What the pace of PyTorch's eager mode is read by: two blocks of networks, run as its models are.

Every activation there is memory anew, so a spell in which the shared cache or the allocator's pages are slow falls on
its models otherwise than on loops over memory that is kept (`gauges.NUMPY`), and on blocks of them as on the whole.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from selector.profiling.gauges import Gauge, Work

if TYPE_CHECKING:
    import torch


def _blocks(threads: int) -> Sequence[Work]:
    import torch
    from torch import nn

    del threads  # those of the process

    generator = torch.Generator().manual_seed(0)

    def filled(module: nn.Module) -> nn.Module:
        for parameter in module.parameters():
            with torch.no_grad():
                parameter.normal_(0, 0.05, generator=generator)
        return module.eval().requires_grad_(False)

    inverted = nn.Sequential(
        nn.Conv2d(24, 72, 1, bias=False),
        nn.BatchNorm2d(72),
        nn.ReLU6(),
        nn.Conv2d(72, 72, 3, padding=1, groups=72, bias=False),
        nn.BatchNorm2d(72),
        nn.ReLU6(),
        nn.Conv2d(72, 24, 1, bias=False),
        nn.BatchNorm2d(24),
    )
    residual = nn.Sequential(
        nn.Conv2d(64, 64, 3, padding=1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1, bias=False),
        nn.BatchNorm2d(64),
    )

    def work(block: nn.Module, *shape: int) -> Work:
        image = torch.randn(shape, generator=generator)

        def run() -> "torch.Tensor":
            with torch.inference_mode():
                return torch.relu(image + block(image))

        return run

    return work(filled(inverted), 1, 24, 56, 56), work(filled(residual), 1, 64, 28, 28)


TORCH = Gauge(
    workloads=(
        "an inverted residual block of 24, 72 and 24 channels at 56 by 56 in fp32, eager",
        "a residual block of 64 channels at 28 by 28 in fp32, eager",
    ),
    short="an inverted residual block and a residual block",
    library="torch",
    powers=(0.45, 0.4),
    make=_blocks,
    repeats=3,
    threaded=True,
)
"""A block as MobileNet and EfficientNet have them and one as ResNet has; a reading takes seven milliseconds.

The powers come from readings beside twelve networks of three families over an hour, on two cores of a shared host: as a
sum they are what a network went with, below 1 because a reading is not sharp; how they are divided matters little.
"""
