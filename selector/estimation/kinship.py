"""How much one configuration tells about another, and the settings of the whole estimator.

The settings were chosen by leaving devices out, once for GPUs, whose specifications promise well what they do, and once
for CPUs (benchmarks/estimator_leave_one_out.py says how well they were chosen). With two cards to learn from, GPUs have
the level spread of CPUs, and the noise that each card's configurations give for each other, which is the same for both.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from selector.estimation.configuration import Configuration

PYTORCH = frozenset({"torch-eager", "torch-eager-nhwc", "torch-compile", "torch-cuda"})
_KINDS = {"gpu": "gpu", "x86-cpu": "x86"}  # boards, phones and Arm servers execute the same kernels


@dataclass(frozen=True, slots=True)
class Settings:
    """Factors between 0 and 1 say how much a relative counts that differs in one respect; the rest are log units."""

    other_runtime: float = 0.011
    same_libraries: float = 0.15  # instead of it for arithmetic, where both runtimes call the same convolutions
    other_precision: float = 0.15
    other_kind: float = 0.11
    other_generation: float = 0.15
    other_threads: float = 0.15
    default_rate: float = 1.0  # log slow-down against the specification where no relative says otherwise
    product_spread: float = 0.6  # of the rate of matrix products, whose best the specification promises
    rate_spread: float = 1.5  # of one device's rate around its relatives' mean, on top of rate_floor
    rate_floor: float = 0.53
    unrelated_spread: float = 1.2  # more where no relative is near
    level_spread: float = 0.37  # of a device's overall speed around what its specification promises
    noise: float = 0.056  # of one figure
    smooth: float = 0.24  # residual that like backbones share
    length: float = 1.4  # how unlike backbones may be and still share it
    backbone: float = 0.033  # residual of one backbone at all resolutions
    subject: float = 0.006  # residual of one backbone at one resolution
    shared: float = 0.046  # correlation of residuals between any two configurations, and what adds to it:
    shared_kind: float = 0.023
    shared_runtime: float = 0.31
    shared_precision: float = 0.017
    shared_threads: float = 0.052
    fit_noise: float = 0.05  # of figures, when a known device's rates are fitted
    trusted: float = 0.15  # root mean square of a device's residuals at which its rates count half for others
    erratic_decay: float = 0.42  # how unlikely a device is, a priori, whose residuals are wider by a factor e
    same_device: float = 4.0  # how much more a configuration of the very device counts
    same_device_level: float = 0.5  # level_spread is multiplied by it where the device is known otherwise

    def as_json(self) -> dict[str, float]:
        """The settings by name."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Settings":
        """Settings from their names; unknown names are refused by the constructor."""
        return cls(**{f.name: float(values[f.name]) for f in fields(cls) if f.name in values})


def kernels(configuration: Configuration) -> str:
    """Devices of one group execute much the same kernels: gpu, x86 or arm."""
    return _KINDS.get(configuration.kind, "arm")


def relatedness(a: Configuration, b: Configuration, settings: Settings, *, arithmetic: bool = False) -> float:
    """How much the rates of one configuration count for those of the other; 1 for relatives in every respect.

    `arithmetic`: the rates of multiply-accumulates, which PyTorch's runtimes take from the same libraries.
    """
    weight = 1.0
    if a.runtime != b.runtime:
        alike = arithmetic and {a.runtime, b.runtime} <= PYTORCH
        weight *= settings.same_libraries if alike else settings.other_runtime
    if a.precision != b.precision:
        weight *= settings.other_precision
    if kernels(a) != kernels(b):
        weight *= settings.other_kind
    if a.generation != b.generation:
        weight *= settings.other_generation
    if (a.threads == 1) != (b.threads == 1):
        weight *= settings.other_threads
    if a.device == b.device:
        weight *= settings.same_device
    return weight


def correlation(a: Configuration, b: Configuration, settings: Settings) -> float:
    """Correlation of the residuals of two configurations; 1 for a configuration with itself."""
    if a == b:
        return 1.0
    same_runtime = a.runtime == b.runtime
    same_precision = same_runtime and a.precision == b.precision
    shared = settings.shared
    shared += settings.shared_kind * (kernels(a) == kernels(b))
    shared += settings.shared_runtime * same_runtime
    shared += settings.shared_precision * same_precision
    shared += settings.shared_threads * (same_precision and (a.threads == 1) == (b.threads == 1))
    return min(shared, 0.95)


CPU = Settings()
GPU = Settings(
    default_rate=0.0,
    other_runtime=0.013,
    other_kind=0.04,
    product_spread=0.5,
    rate_spread=0.5,
    rate_floor=0.12,
    unrelated_spread=3.0,
    level_spread=0.37,
    noise=0.03,
    smooth=0.18,
    length=1.9,
    backbone=0.025,
    subject=0.013,
    shared=0.06,
    shared_kind=0.33,
    shared_runtime=0.18,
    shared_precision=0.09,
    shared_threads=0.1,
    erratic_decay=1.1,
)
SETTINGS: Mapping[str, Settings] = {"gpu": GPU, "x86": CPU, "arm": CPU}
"""What the product uses, by group of kernels."""
