"""Which files a job needs before it can be measured, and where what was found out about them is kept."""

import hashlib
import json
from pathlib import Path

from selector.profiling import runtimes
from selector.profiling.agreement import LOSSY
from selector.profiling.jobs import InferenceJob, ModelJob
from selector.profiling.material import Material
from selector.profiling.runtimes.export import Recipe, recipe, recipe_for


def model_recipe(job: ModelJob, material: Material) -> Recipe:
    """The file that the job's runtime loads."""
    kind = runtimes.runtime(job.runtime)
    return recipe_for(kind, job.backbone, resolution=job.resolution, precision=job.precision, material=material)


def reference_recipe(job: ModelJob, material: Material) -> Recipe | None:
    """The fp32 logits that a lossy job is compared with; None for fp32 itself and where only time is asked for."""
    if not isinstance(job, InferenceJob) or job.precision not in LOSSY:
        return None
    return recipe("reference", job.backbone, resolution=job.resolution, material=material)


def agreement_place(job: InferenceJob, material: Material, fingerprint: str) -> tuple[Path, dict[str, object]]:
    """Where a lossy job's agreement with fp32 is kept, and all that it follows from. Both its files must be there.

    The fingerprint stands for the processor and its instruction set; it says more than that.
    """
    model, reference = model_recipe(job, material), reference_recipe(job, material)
    if reference is None:
        raise ValueError(f"{job} is compared with nothing")
    kind = runtimes.runtime(job.runtime)
    of: dict[str, object] = {
        "model": model.digest(),
        "reference": reference.digest(),
        "images": reference.images_digest,
        "runtime": job.runtime,
        "version": kind.version(),
        "settings": kind.settings(job.precision),
        "precision": job.precision,
        "threads": job.threads,
        "fingerprint": fingerprint,
    }
    name = hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()[:16]
    return model.folder / f"agreement-{name}.json", of
