"""What training costs at a freeze depth: the time of a step and the peak of memory. Runs in a forked process."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from selector.backbones.depth import FreezeDepth
from selector.profiling import models
from selector.profiling.jobs import TrainingJob
from selector.profiling.memory import peak_rss_of_fork
from selector.profiling.protocol import Settings, Tracker
from selector.profiling.results import TrainingResult

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray


def measure_training(job: TrainingJob, settings: Settings, libraries: "NDArray[np.int64]") -> TrainingResult:
    """Train on one batch of noise again and again: forward, backward and AdamW's update of what is not frozen.

    The step is the whole one: the frozen prefix runs forward, as it does without an activation cache. `libraries` are
    the pages that the process which imported torch holds: they belong to the peak.
    """
    import torch

    model = models.create(job.backbone)
    parameters = freeze(model, job.depth)
    optimizer = torch.optim.AdamW(parameters, lr=1e-5)  # small: many steps on one batch must not run away
    generator = torch.Generator().manual_seed(models.SEED)
    images = torch.randn(job.batch_size, 3, job.resolution, job.resolution, generator=generator)
    labels = torch.randint(0, 1000, (job.batch_size,), generator=generator)
    model.train()

    def step() -> None:
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        loss.item()  # a step has ended when its loss is known, on every device

    tracker = Tracker(settings)
    while not tracker.finished:
        tracker.add(timed(step, tracker.next_window()))
    return TrainingResult(
        measurement=tracker.measurement(),
        timed_s=tracker.timed_s,
        params_trainable=sum(p.numel() for p in parameters),
        memory_rss_peak_bytes=peak_rss_of_fork(libraries),
    )


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
