"""PyTorch as it comes: the module's own forward, under inference mode."""

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Self

from selector.hardware.machine import Machine
from selector.profiling.runtimes.base import Availability, Batch, Logits, Runtime, installed, on_cpu
from selector.profiling.runtimes.torch_gauge import TORCH

if TYPE_CHECKING:
    import torch


AUTOCAST = {"cpu": "bf16", "cuda": "fp16"}
"""What mixed precision computes in on torch's devices, in inference as in training."""


class TorchEager(Runtime):
    """PyTorch in eager mode on the CPU.

    int8-dynamic is the document's practice P10: `quantize_dynamic` of the Linear layers, convolutions stay fp32. amp is
    the fp32 model under autocast.
    """

    name: ClassVar[str] = "torch-eager"
    precisions: ClassVar[tuple[str, ...]] = ("fp32", "fp16", "bf16", "amp", "int8-dynamic")
    distribution: ClassVar[str] = "torch"
    loads = "weights"
    side_by_side = True
    channels_last: ClassVar[bool] = False
    gauge = TORCH

    _module: "Callable[[torch.Tensor], torch.Tensor] | None" = None

    @classmethod
    def availability(cls, machine: Machine) -> Availability:
        """Usable where torch is installed; fp16, bf16 and amp where the CPU computes in them."""
        return installed(cls.distribution, on_cpu(cls.precisions, machine))

    @classmethod
    def variant(cls, precision: str) -> str:
        """The fp32 weights serve amp, too."""
        return "fp32" if precision == "amp" else precision

    @classmethod
    def settings(cls, precision: str) -> str:
        """The memory format, what autocast computes in, and what dynamic quantisation covers."""
        parts = ["channels-last" if cls.channels_last else ""]
        parts += [f"autocast to {AUTOCAST['cpu']}, weights cast at each inference" if precision == "amp" else ""]
        parts += ["torch quantize_dynamic of Linear layers only (P10)" if precision == "int8-dynamic" else ""]
        return ", ".join(part for part in parts if part)

    @classmethod
    def prepare_process(cls, threads: int) -> None:
        """Import torch and timm, and set torch's threads."""
        import timm  # noqa: F401 - imported before the load is timed, as in a process that serves
        import torch

        torch.set_num_threads(threads)

    def __enter__(self) -> Self:
        import torch

        module = read_module(self.model.backbone, self.model.classes, str(self.model.path), self.precision)
        module = module.to(memory_format=torch.channels_last) if self.channels_last else module
        self._module = autocast(module, "cpu") if self.precision == "amp" else module
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._module = None

    def run(self, batch: Batch) -> Logits:
        """Logits of a batch, [n, 3, h, w] → [n, classes]. Raises ValueError for another shape."""
        return self.bind(batch)()

    def bind(self, batch: Batch) -> Callable[[], Logits]:
        """A call that runs one inference on `batch`, already in the precision and memory format of the weights."""
        import torch

        if self._module is None:
            raise RuntimeError("enter the runtime before running it")
        self.check(batch)
        image = torch.from_numpy(batch).to(torch_type(self.precision))
        if self.channels_last:
            image = image.contiguous(memory_format=torch.channels_last)
        module = self._module

        def infer() -> Logits:
            with torch.inference_mode():
                logits: Logits = module(image).float().numpy()
            return logits

        return infer


class TorchEagerNHWC(TorchEager):
    """PyTorch in eager mode on the CPU, images and weights in channels-last order."""

    name: ClassVar[str] = "torch-eager-nhwc"
    precisions: ClassVar[tuple[str, ...]] = ("fp32", "fp16", "bf16", "amp")
    channels_last: ClassVar[bool] = True
    by_default: ClassVar[bool] = False


def autocast(module: "torch.nn.Module", device: str) -> "Callable[[torch.Tensor], torch.Tensor]":
    """A call of the fp32 `module` in mixed precision, on torch's `device`: images and weights stay fp32, convolutions
    and matrix products compute in AUTOCAST's type.
    """
    import torch

    half = torch_type(AUTOCAST[device])

    def forward(image: "torch.Tensor") -> "torch.Tensor":
        # no cache of cast weights: none is used twice in an inference, and a CUDA graph must not refer to one
        with torch.autocast(device, dtype=half, cache_enabled=False):
            logits: torch.Tensor = module(image)
        return logits

    return forward


def torch_type(precision: str) -> "torch.dtype":
    """What images and weights have to be for a model of this precision."""
    import torch

    return {"fp16": torch.float16, "bf16": torch.bfloat16}.get(precision, torch.float32)


def read_module(backbone: str, classes: int, weights: str, precision: str = "fp32") -> "torch.nn.Module":
    """The backbone in eval mode with the state dict of a safetensors file, in the precision that the file holds.

    Built without memory first, so that no initialisation is computed only to be overwritten.
    """
    import timm
    import torch
    from safetensors.torch import load_file

    from selector.profiling.runtimes.torch_dynamic import load_quantised

    with torch.device("meta"):
        module: torch.nn.Module = timm.create_model(backbone, num_classes=classes)
    state = load_file(weights)
    if precision == "int8-dynamic":
        load_quantised(module, state)
    else:
        module.load_state_dict(state, assign=True)
    return module.eval().requires_grad_(False)
