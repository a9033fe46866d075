"""`selector probe`: measuring on a device where the product is not installed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from selector.cli.options import ProfileFolder, Quiet, Store
from selector.errors import Faults, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from selector.profiling.probe import ProbeModel

app = typer.Typer(help="A light archive that measures on a small device.", no_args_is_help=True)

LARGEST_MB = 120.0  # VGG's half gigabyte of weights hardly fits a small board, nor a download to it
RUNTIME, PRECISION = "onnxruntime", "fp32"
TFLITE = "tflite"


@app.callback()
def root() -> None:
    """A light archive that measures on a small device."""


@app.command()
def build(
    hardware: Annotated[str, typer.Option("--hardware", help="The device that will be measured.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The archive, for example probe.zip.")],
    backbone: Annotated[
        list[str] | None, typer.Option("--backbone", help="May be repeated. Without it: those that tell most.")
    ] = None,
    measurements: Annotated[int, typer.Option("--measurements", "-n", min=1, help="How many to plan.")] = 8,
    resolution: Annotated[
        int | None, typer.Option("--resolution", min=1, help="Pixels a side. Without it: the backbone's own.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Without it: all of the device's cores.")
    ] = None,
    tflite: Annotated[
        bool, typer.Option("--tflite", help="Each model also for TensorFlow Lite; needs the extra tflite.")
    ] = False,
    store: Store = None,
    hardware_profiles: ProfileFolder = None,
    quiet: Quiet = False,
) -> None:
    """Make an archive of ONNX models, a plan and one Python file that needs only onnxruntime and numpy.

    Run there it writes one JSON of figures for `selector evidence import`. Weights are random: time does not depend on
    them. Backbones above 120 MB are taken only where named. With --tflite the device needs ai-edge-litert as well.
    """
    from dataclasses import replace

    from selector.hardware.loading import LOCAL, profile
    from selector.profiling.probe import build as build_archive
    from selector.profiling.probe import exported
    from selector.profiling.runtimes.tflite_export import need_converter

    faults = Faults()
    with faults:
        device = profile(hardware, hardware_profiles)
        if device.name == LOCAL:
            raise InvalidInput(
                '"local" is this machine: `selector profile` measures it; name the device that the probe goes to'
            )
        if device.reference_devices:
            raise InvalidInput(f"{hardware} is a class; name one device: {', '.join(device.reference_devices)}")
    models = _named(backbone or (), resolution, faults)
    faults.tell()
    if tflite:
        need_converter()
    if not models:
        models = _planned(device.name, measurements, resolution, store, hardware_profiles)
    if tflite:
        models += [replace(model, runtime=TFLITE) for model in models]

    def tell(model: "ProbeModel") -> None:
        if not quiet:
            typer.echo(f"packed: {model.backbone} at {model.resolution} px for {model.runtime}", err=True)

    build_archive(device.name, models, output, threads=threads, graph=exported, done=tell)
    if not quiet:
        typer.echo(f"written: {output} ({output.stat().st_size / 1e6:.0f} MB); README.txt in it says how", err=True)


def _named(names: "Sequence[str]", resolution: int | None, faults: Faults) -> "list[ProbeModel]":
    """The models that are asked for by name; unknown names are added to `faults`."""
    from selector.backbones.catalog import backbone
    from selector.profiling.probe import ProbeModel

    models = []
    for name in names:
        with faults:
            found = backbone(name)
            models.append(ProbeModel(found.name, resolution or found.resolution, PRECISION))
    return models


def _planned(
    hardware: str, measurements: int, resolution: int | None, store: str | None, folder: Path | None
) -> "list[ProbeModel]":
    from selector.backbones.catalog import backbones
    from selector.estimation.configuration import Subject
    from selector.estimation.estimator import latency_estimator
    from selector.estimation.plan import plan
    from selector.evidence.store import open_store
    from selector.hardware.loading import profile
    from selector.profiling.probe import ProbeModel

    with open_store(store) as opened:
        measured = opened.records(hardware=hardware)
    small = [b for b in backbones() if b.artifact_bytes <= LARGEST_MB * 1e6]
    todo = plan(
        latency_estimator(profile(hardware, folder), measured),
        RUNTIME,
        PRECISION,
        measurements=measurements,
        candidates=[Subject(b.name, resolution or b.resolution) for b in small],
    )
    return [ProbeModel(p.backbone, p.resolution, p.precision) for p in todo]
