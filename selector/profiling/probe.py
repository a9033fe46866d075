"""The probe: an archive that measures on a small device where nothing but onnxruntime and numpy is installed.

It holds the models as ONNX, and as TensorFlow Lite where asked for, a plan, and one Python file that runs them by the
product's protocol and writes one JSON of figures for `selector evidence import`.
"""

import json
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from selector.errors import InvalidInput, OutputFailed
from selector.profiling.protocol import PROTOCOL_VERSION
from selector.profiling.runtimes.graph_files import in_one_file

if TYPE_CHECKING:
    from selector.profiling.runtimes.export import Kind

SCRIPT = Path(__file__).with_name("probe_device.py")
INSTRUCTIONS = """\
On the device, with Python 3.8 or newer:

    pip install {packages}
    unzip {archive} -d probe && cd probe
    python3 probe.py -o figures.json

Keep the device idle and cooled as in use. About {minutes} minutes at most. Then, where selector is installed:

    selector evidence import figures.json
    selector estimate --all --hardware {hardware}
"""
SECONDS_A_MODEL = 30  # the deadline of timed work, and loading
PACKAGES = {"onnxruntime": "onnxruntime", "tflite": "ai-edge-litert"}
OLD_PYTHON = """
Where pip finds no ai-edge-litert for the device's Python, tflite-runtime serves as well.
"""


@dataclass(frozen=True, slots=True)
class ProbeModel:
    """One model of the archive, at batch 1."""

    backbone: str
    resolution: int
    precision: str = "fp32"
    runtime: str = "onnxruntime"  # or "tflite"

    @property
    def file(self) -> str:
        """Its place in the archive."""
        kind = "tflite" if self.runtime == "tflite" else "onnx"
        return f"models/{self.backbone}-{self.resolution}-{self.precision}.{kind}"


def build(
    hardware: str,
    models: Sequence[ProbeModel],
    output: Path,
    *,
    threads: int | None = None,
    graph: Callable[[ProbeModel], Path],
    done: Callable[[ProbeModel], None] = lambda model: None,
) -> Path:
    """Write the archive to `output`, whole or not at all.

    `hardware` is the profile that figures will be about, `graph` gives a model's file, `done` is told of each
    that is packed; `threads` None: all cores of the device. Raises InvalidInput without models, OutputFailed where it
    cannot be written.
    """
    if not models:
        raise InvalidInput("a probe needs at least one model")
    plan = {
        "schema_version": 1,
        "protocol": PROTOCOL_VERSION,
        "hardware": hardware,
        "threads": threads,
        "models": [{**asdict(m), "file": m.file} for m in models],
    }
    minutes = max(1, round(len(models) * SECONDS_A_MODEL / 60))
    runtimes = dict.fromkeys(m.runtime for m in models)
    packages = " ".join([*(PACKAGES[r] for r in runtimes), "numpy"])
    readme = INSTRUCTIONS.format(archive=output.name, minutes=minutes, hardware=hardware, packages=packages)
    readme += OLD_PYTHON if "tflite" in runtimes else ""
    try:
        with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.resolve().parent) as folder:
            draft = Path(folder) / "probe.zip"
            # weights hardly compress: stored, so that a slow board need not unpack them
            with zipfile.ZipFile(draft, "w", zipfile.ZIP_STORED) as archive:
                archive.write(SCRIPT, "probe.py")
                archive.writestr("plan.json", json.dumps(plan, indent=1))
                archive.writestr("README.txt", readme)
                for model in models:
                    with in_one_file(graph(model), Path(folder)) as file:
                        archive.write(file, model.file)
                    done(model)
            draft.replace(output)
    except OSError as error:
        raise OutputFailed(f"cannot write {output}: {error.strerror or error}; choose another place with -o") from error
    return output


def exported(model: ProbeModel) -> Path:
    """The model's file with random weights, made where it is not kept yet. Imports torch.

    Raises RuntimeUnavailable for a TensorFlow Lite model where its converter is not installed.
    """
    from selector.profiling.runtimes.export import make, recipe

    kind: Kind = "tflite" if model.runtime == "tflite" else "onnx"
    return make(recipe(kind, model.backbone, resolution=model.resolution, precision=model.precision))
