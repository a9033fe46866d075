"""Which files a job needs before it can be measured."""

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
