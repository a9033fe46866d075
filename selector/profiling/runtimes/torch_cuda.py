"""PyTorch on an NVIDIA GPU, with the kernels of one inference recorded as a CUDA graph."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Self

from selector.hardware.machine import Machine
from selector.profiling.runtimes.base import Availability, Batch, Logits, Runtime, installed, on_gpu
from selector.profiling.runtimes.torch_eager import AUTOCAST, autocast, read_module, torch_type

if TYPE_CHECKING:
    import torch

_HALF = ("fp16", "bf16", "amp")  # in which convolutions compute in half-width numbers


class TorchCuda(Runtime):
    """PyTorch on the first GPU. What is timed is the replay of a CUDA graph: without the launches, batch 1 is the
    CPU's figure and not the GPU's.
    """

    name: ClassVar[str] = "torch-cuda"
    precisions: ClassVar[tuple[str, ...]] = ("fp32", "tf32", "fp16", "bf16", "amp")
    distribution: ClassVar[str] = "torch"
    device = "gpu"
    side_by_side = True
    loads = "weights"

    _module: "Callable[[torch.Tensor], torch.Tensor] | None" = None

    @classmethod
    def availability(cls, machine: Machine) -> Availability:
        """Usable where torch is a CUDA build and there is an NVIDIA GPU."""
        offer = installed(cls.distribution, cls.precisions)
        if not offer.usable:
            return offer
        if cls.version().endswith("+cpu"):
            return Availability(False, "this torch is a build without CUDA; `pip install torch` from PyPI has it")
        return on_gpu(cls.precisions, machine)

    @classmethod
    def variant(cls, precision: str) -> str:
        """The fp32 weights serve tf32 and amp, too."""
        return "fp32" if precision in ("tf32", "amp") else precision

    @classmethod
    def settings(cls, precision: str) -> str:
        """What is pinned."""
        tf32 = "on" if precision == "tf32" else "off"
        order = ", channels-last" if precision in _HALF else ""
        mixed = f", autocast to {AUTOCAST['cuda']}, weights cast at each inference" if precision == "amp" else ""
        return f"CUDA graph, TF32 {tf32}{order}{mixed}, input and output stay on the GPU"

    @classmethod
    def prepare_process(cls, threads: int) -> None:
        """Import torch and timm. CUDA itself is not touched: a process that has cannot fork."""
        import timm  # noqa: F401 - imported before the load is timed, as in a process that serves
        import torch

        torch.set_num_threads(threads)

    def __enter__(self) -> Self:
        import torch

        file = self.model
        module = read_module(file.backbone, file.classes, str(file.path), self.precision).to("cuda")
        module = module.to(memory_format=self._order())
        self._module = autocast(module, "cuda") if self.precision == "amp" else module
        torch.cuda.synchronize()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import torch

        self._module = None
        torch.cuda.empty_cache()

    def run(self, batch: Batch) -> Logits:
        """Logits of a batch, [n, 3, h, w] → [n, classes]. Raises ValueError for another shape."""
        import torch

        module, image = self._place(batch)
        with torch.inference_mode(), tf32(self.precision == "tf32"):
            logits: Logits = module(image).float().cpu().numpy()
        return logits

    def bind(self, batch: Batch) -> Callable[[], object]:
        """A call that replays one inference on `batch`, which lies on the GPU, and waits for its end."""
        import torch

        module, image = self._place(batch)
        graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.inference_mode(), tf32(self.precision == "tf32"):
            with torch.cuda.stream(stream):  # cuDNN chooses and allocates at the first calls, which cannot be recorded
                for _ in range(3):
                    module(image)
            torch.cuda.current_stream().wait_stream(stream)
            with torch.cuda.graph(graph):
                logits: torch.Tensor = module(image)
        done = torch.cuda.Event()  # type: ignore[no-untyped-call]

        def infer() -> "torch.Tensor":
            graph.replay()
            done.record()
            done.synchronize()
            return logits

        return infer

    def _place(self, batch: Batch) -> "tuple[Callable[[torch.Tensor], torch.Tensor], torch.Tensor]":
        import torch

        if self._module is None:
            raise RuntimeError("enter the runtime before running it")
        self.check(batch)
        image = torch.from_numpy(batch).to("cuda", torch_type(self.precision))
        return self._module, image.contiguous(memory_format=self._order())

    def _order(self) -> "torch.memory_format":
        import torch

        # tensor cores want channels last; in fp32 cuDNN is as fast or faster without
        return torch.channels_last if self.precision in _HALF else torch.contiguous_format


@contextmanager
def tf32(allowed: bool) -> "Iterator[None]":
    """Allow or forbid TF32 in convolutions and matrix products while kernels are chosen."""
    import torch

    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
