"""The models that are timed: a backbone with seeded random weights in a healthy numeric range.

Latency, memory and step time depend on a model's layers and shapes and not on what its weights say, with one
exception: numbers so small that they are denormal, which CPUs compute many times slower. A deep net that is merely
initialised gets there (its BatchNorm layers hold no statistics), and a zero-initialised residual branch is folded
away. So weights are drawn from a seed, BatchNorm scales of zero become one, and BatchNorm statistics are those of the
net's own activations on noise.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

SEED = 0
WEIGHTS_NOTE = "seeded random weights, on whose values timing does not depend"

# statistics taken at a small resolution let a deep EfficientNet's activations explode at a larger one
_CALIBRATION_BATCH = 2
_CALIBRATION_RESOLUTION = 224


def create(backbone: str, *, seed: int = SEED) -> "torch.nn.Module":
    """The backbone with its original head of 1000 classes and healthy random weights, in eval mode."""
    from selector.backbones import weights  # needs torch

    return make_healthy(weights.create(backbone, random_init=True, seed=seed).model, seed=seed)


def make_healthy(model: "torch.nn.Module", *, seed: int = SEED) -> "torch.nn.Module":
    """Give every BatchNorm a scale other than zero and the statistics of the net's activations on seeded noise.

    Changes the model in place, leaves it in eval mode and returns it.
    """
    import torch

    norms = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        if norm.weight is not None and not bool(norm.weight.any()):
            torch.nn.init.ones_(norm.weight)
        norm.reset_running_stats()
        norm.momentum = None  # cumulative: after one batch the statistics are that batch's
        norm.train()
    if norms:
        generator = torch.Generator().manual_seed(seed)
        side = _CALIBRATION_RESOLUTION
        noise = torch.randn(_CALIBRATION_BATCH, 3, side, side, generator=generator)
        model.eval()
        for norm in norms:
            norm.train()
        with torch.no_grad():
            model(noise)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return model.eval()
