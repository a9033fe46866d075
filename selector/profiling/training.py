"""What training costs at a freeze depth: the time of a step and the peak of memory. Runs in a forked process."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from selector.backbones.depth import FreezeDepth
from selector.profiling import models, others
from selector.profiling.jobs import TrainingJob
from selector.profiling.memory import gpu_memory_of_process, peak_rss_of_fork
from selector.profiling.protocol import Settings, Tracker
from selector.profiling.results import TrainingResult

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray


def measure_training(job: TrainingJob, settings: Settings, libraries: "NDArray[np.int64]") -> TrainingResult:
    """Train on one batch of noise again and again: forward, backward and AdamW's update of what is not frozen.

    The step is the whole one: the frozen prefix runs forward, as it does without an activation cache. `libraries` are
    the pages that the process which imported torch holds: they belong to the peak. Raises ValueError for a precision
    that nothing is trained in.
    """
    from selector.profiling.runtimes.torch_cuda import tf32

    if job.precision not in ("fp32", "amp"):
        raise ValueError(f"training steps are measured in fp32 or amp; got {job.precision!r}")
    device = "cuda" if job.runtime == "torch-cuda" else "cpu"
    with tf32(False):  # fp32 means fp32: left alone, cuDNN computes convolutions in TF32
        step, parameters = _training_step(job, device)
        tracker = Tracker(settings)
        while not tracker.finished:
            before = others.read()
            samples = timed(step, tracker.next_window())
            tracker.add(samples, others.share(before, others.read(), job.threads))
    allocated, reserved, held = _gpu_memory() if device == "cuda" else (None, None, None)
    return TrainingResult(
        measurement=tracker.measurement(),
        timed_s=tracker.timed_s,
        params_trainable=sum(p.numel() for p in parameters),
        memory_rss_peak_bytes=peak_rss_of_fork(libraries),
        memory_allocated_peak_bytes=allocated,
        memory_reserved_peak_bytes=reserved,
        memory_device_peak_bytes=held,
    )


def _training_step(job: TrainingJob, device: str) -> "tuple[Callable[[], object], list[torch.nn.Parameter]]":
    """A call that takes one step and returns when it is done, and the parameters that it trains."""
    import torch

    from selector.profiling.runtimes.torch_eager import AUTOCAST, torch_type

    model = models.create(job.backbone).to(device)
    parameters = freeze(model, job.depth)
    optimizer = torch.optim.AdamW(parameters, lr=1e-5)  # small: many steps on one batch must not run away
    generator = torch.Generator().manual_seed(models.SEED)
    images = torch.randn(job.batch_size, 3, job.resolution, job.resolution, generator=generator).to(device)
    labels = torch.randint(0, 1000, (job.batch_size,), generator=generator).to(device)
    model.train()
    mixed = job.precision == "amp"
    half = torch_type(AUTOCAST[device])
    # bf16 reaches as far as fp32: gradients in it need no scaling
    scaler = torch.amp.GradScaler("cuda", enabled=mixed and device == "cuda")

    def step() -> None:
        with torch.autocast(device, dtype=half, enabled=mixed):
            loss = torch.nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        scaler.step(optimizer)
        scaler.update()
        loss.item()  # a step has ended when its loss is known, on every device

    return step, parameters


def _gpu_memory() -> tuple[int, int, int | None]:
    """Peak bytes by torch's tensors, peak bytes by its allocator, and what the process holds by its driver."""
    import torch

    allocated, reserved = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
    uuid = str(torch.cuda.get_device_properties(0).uuid)
    return allocated, reserved, gpu_memory_of_process(uuid if uuid.startswith("GPU-") else f"GPU-{uuid}")


def timed(step: Callable[[], object], samples: int) -> list[float]:
    """Milliseconds of each of `samples` calls."""
    times = []
    for _ in range(samples):
        start = time.perf_counter_ns()
        step()
        times.append((time.perf_counter_ns() - start) / 1e6)
    return times


def freeze(model: "torch.nn.Module", depth: FreezeDepth) -> "list[torch.nn.Parameter]":
    """Freeze `model` at `depth` and return the parameters that are left to train."""
    from selector.backbones import freezing  # needs torch

    freezing.freeze(model, depth)
    return [p for p in model.parameters() if p.requires_grad]
