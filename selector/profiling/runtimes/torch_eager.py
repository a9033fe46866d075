"""PyTorch as it comes: the module's own forward, under inference mode."""

from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from selector.profiling.runtimes.base import Batch, Logits, Runtime

if TYPE_CHECKING:
    import torch


class TorchEager(Runtime):
    """PyTorch in eager mode on the CPU, fp32."""

    name: ClassVar[str] = "torch-eager"
    precisions: ClassVar[tuple[str, ...]] = ("fp32",)
    distribution: ClassVar[str] = "torch"
    loads = "weights"

    _module: "torch.nn.Module | None" = None

    @classmethod
    def prepare_process(cls, threads: int) -> None:
        """Import torch and timm, and set torch's threads."""
        import timm  # noqa: F401 - imported before the load is timed, as in a process that serves
        import torch

        torch.set_num_threads(threads)

    def __enter__(self) -> Self:
        self._module = read_module(self.model.backbone, self.model.classes, str(self.model.path))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._module = None

    def run(self, batch: Batch) -> Logits:
        """Logits of a batch, [n, 3, h, w] → [n, classes]. Raises ValueError for another shape."""
        import torch

        if self._module is None:
            raise RuntimeError("enter the runtime before running it")
        self.check(batch)
        with torch.inference_mode():
            logits: Logits = self._module(torch.from_numpy(batch)).numpy()
        return logits.astype(np.float32, copy=False)


def read_module(backbone: str, classes: int, weights: str) -> "torch.nn.Module":
    """The backbone in eval mode with the state dict of a safetensors file.

    Built without memory first, so that no initialisation is computed only to be overwritten.
    """
    import timm
    import torch
    from safetensors.torch import load_file

    with torch.device("meta"):
        module: torch.nn.Module = timm.create_model(backbone, num_classes=classes)
    module.load_state_dict(load_file(weights), assign=True)
    return module.eval().requires_grad_(False)
