"""torch.compile with its default backend, Inductor, on the CPU."""

import atexit
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from selector.hardware.machine import Machine
from selector.profiling.runtimes.base import Availability, Runtime
from selector.profiling.runtimes.torch_eager import AUTOCAST, TorchEager

if TYPE_CHECKING:
    import torch

COMPILERS = ("g++", "clang++", "c++")


class TorchCompile(TorchEager):
    """PyTorch compiled by Inductor. Entering compiles for a batch of one image, so compile time is load time.

    A batch of another size is compiled when it is first bound. Inductor's cache on disk is a folder of the process's
    own, in which each model has its part: so the first load compiles everything, whatever was compiled before, and the
    next load of the same model in that process takes its kernels from there.

    What Inductor compiled stays in the process until it ends, frozen constants included (torch 2.14: about 100 MB a
    ResNet-18), whatever is let go of here; `torch._dynamo.reset` would free half of it and break the models beside.
    """

    name: ClassVar[str] = "torch-compile"
    precisions: ClassVar[tuple[str, ...]] = ("fp32", "fp16", "bf16", "amp")
    by_default: ClassVar[bool] = False  # half a minute a model to compile
    gauge = Runtime.gauge  # Inductor's buffers are used again
    _cache: ClassVar[Path]

    @classmethod
    def availability(cls, machine: Machine) -> Availability:
        """Usable where torch and a C++ compiler are installed."""
        offer = super().availability(machine)
        if offer.usable and compiler() is None:
            return Availability(
                False,
                f"Inductor needs a C++ compiler, and none of {', '.join(COMPILERS)} is on the PATH; "
                "install one (Debian: `apt-get install g++`) or name it in CXX",
            )
        return offer

    @classmethod
    def settings(cls, precision: str) -> str:
        """What is pinned beyond Inductor's defaults."""
        mixed = f", autocast to {AUTOCAST['cpu']}" if precision == "amp" else ""
        return f"Inductor with freezing (weights as constants, BatchNorm folded), static shapes{mixed}"

    @classmethod
    def prepare_process(cls, threads: int) -> None:
        """Import torch with Inductor, set threads, and give the process a kernel cache of its own."""
        super().prepare_process(threads)
        import torch._dynamo
        import torch._inductor.config

        torch._inductor.config.freezing = True
        torch._inductor.config.compile_threads = 1  # in this process: a pool of compilers would outlive a fork
        torch._dynamo.config.fail_on_recompile_limit_hit = True  # else it would be eager under another name
        cls._cache = Path(tempfile.mkdtemp(prefix="selector-inductor-"))
        # for a process that ends by itself; a worker is killed, and who started it removes all its temporary files
        atexit.register(shutil.rmtree, cls._cache, ignore_errors=True)

    def __enter__(self) -> Self:
        import torch

        super().__enter__()
        assert self._module is not None
        recipe = f"{self.model.path} {self.precision}"
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(self._cache / hashlib.sha256(recipe.encode()).hexdigest()[:16])
        self._module = torch.compile(_own_function(self._module), dynamic=False)
        side = self.model.resolution
        self.run(np.zeros((1, 3, side, side), dtype=np.float32))
        return self


def compiler() -> str | None:
    """The C++ compiler that Inductor would use; None where there is none."""
    named = os.environ.get("CXX")
    return next((found for name in (named, *COMPILERS) if name and (found := shutil.which(name))), None)


def _own_function(module: "Callable[[torch.Tensor], torch.Tensor]") -> "Callable[[torch.Tensor], torch.Tensor]":
    """A function with a code object of its own that calls `module`.

    Dynamo keeps compiled code at the code object. Were it the module class's `forward`, all models of a family would
    share it: the ninth would exceed its limit, and none would be freed before all are.
    """

    def forward(image: "torch.Tensor") -> "torch.Tensor":
        return module(image)

    return FunctionType(forward.__code__.replace(), globals(), "forward", None, forward.__closure__)
