"""`selector hardware calibrate`, `plan` and `import-evidence`: a device's own figures make its estimates sharper."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from selector.cli.options import Json, ProfileFolder, Quiet, Store
from selector.errors import Faults, InvalidInput, close_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from selector.estimation.calibration import CalibrationCheck
    from selector.hardware.profiles import HardwareProfile

Name = Annotated[str, typer.Argument(help="A device; `selector hardware list` lists those there are.")]


CONTRADICTED = 100.0  # percent that figures of one device are off on average when predicted from each other


def calibrate(
    name: Name,
    figures: Annotated[
        Path,
        typer.Option("--from", help="CSV: model, resolution, batch_size, runtime, precision, p50_ms or ms_per_sample."),
    ],
    like: Annotated[
        str | None, typer.Option("--like", help="A new device: the class or device whose runtimes it offers.")
    ] = None,
    as_json: Json = False,
    hardware_profiles: ProfileFolder = None,
    quiet: Quiet = False,
) -> None:
    """Add figures of a device to its profile, of which a copy of yours is kept; `recommend` and `estimate` use it.

    Every bad row is told with its line, and then nothing is written. Optional: runtime_version, threads, source.
    """
    from selector.estimation.calibration import check_calibration, read_figures
    from selector.hardware.writing import checked, own_folder, runtimes_in, with_figures, write_profile

    faults = Faults()
    offered: tuple[str, ...] = ()
    with faults:
        text, known = _text_of(name, like, hardware_profiles)
        offered = runtimes_in(text)
    with faults:
        added = read_figures(figures, offered=offered)
    faults.tell()
    whole = with_figures(text, added)
    profile = checked(name, whole, known)
    path = write_profile(own_folder(hardware_profiles), name, whole)
    checks = check_calibration(profile, profile.published[-len(added) :])
    if as_json:
        document = {"schema_version": 1, "profile": name, "file": str(path), "configurations": _entries(checks)}
        typer.echo(json.dumps(document, indent=2))
        return
    if not quiet:
        typer.echo(f"figures added: {len(added)}, in {path}", err=True)
    for check in checks:
        typer.echo(_sentence(check))


def plan(
    name: Name,
    measurements: Annotated[int, typer.Option("--measurements", "-n", min=1, help="How many to plan.")] = 8,
    runtime: Annotated[
        str | None, typer.Option("--runtime", help="Without it: the first that the device offers.")
    ] = None,
    precision: Annotated[str | None, typer.Option("--precision", help="Without it: the runtime's first.")] = None,
    as_json: Json = False,
    store: Store = None,
    hardware_profiles: ProfileFolder = None,
) -> None:
    """List the backbones whose measurement would narrow the device's estimates most, most telling first."""
    from dataclasses import asdict

    from selector.estimation.estimator import latency_estimator
    from selector.estimation.plan import plan as planned
    from selector.evidence.store import open_store
    from selector.hardware.loading import profile, reference_device

    device = reference_device(profile(name, hardware_profiles), hardware_profiles)
    chosen = _offer(device, runtime, precision)
    with open_store(store) as opened:
        measured = opened.records(hardware=device.name)
    todo = planned(latency_estimator(device, measured), *chosen, measurements=measurements)
    if as_json:
        document = {"schema_version": 1, "hardware": device.name, "measurements": [asdict(p) for p in todo]}
        typer.echo(json.dumps(document, indent=2))
        return
    for number, p in enumerate(todo, start=1):
        typer.echo(
            f"{number:2}  {p.backbone:34} {p.resolution:4} px  {p.runtime} {p.precision}  "
            f"then typically ±{p.interval_after_percent:.0f} %"
        )


def import_evidence(
    name: Name,
    files: Annotated[list[Path], typer.Argument(help="Files that `selector evidence export` or the probe wrote.")],
    store: Store = None,
    hardware_profiles: ProfileFolder = None,
    quiet: Quiet = False,
) -> None:
    """Bring figures that were measured on the device into the store, where they calibrate its estimates.

    All of them, or none where a row is bad or about another device.
    """
    from selector.errors import InvalidEvidence
    from selector.evidence.exchange import load
    from selector.evidence.store import open_store
    from selector.hardware.loading import profile

    faults = Faults()
    with faults:
        device = profile(name, hardware_profiles)
        _refuse_class(device)
    with faults:
        figures = load(files)
    faults.tell()
    others = sorted({r.conditions.hardware for r in figures.records} - {device.name})
    if others:
        raise InvalidEvidence(
            f"the files hold figures of {', '.join(others)}, not of {device.name}; import each under its name, or "
            "all together with `selector evidence import`"
        )
    with open_store(store) as opened:
        new = opened.add(figures.records, environments=figures.environments)
    if not quiet:
        typer.echo(f"figures imported: {new}, there already: {len(figures.records) - new}", err=True)


def _text_of(name: str, like: str | None, folder: Path | None) -> tuple[str, tuple[str, ...]]:
    """The profile's TOML, or a new one made like another, and the names of all profiles."""
    from selector.hardware.loading import profile, profile_files
    from selector.hardware.writing import new_device

    if name == "local":
        raise InvalidInput('"local" is this machine: `selector profile` measures it')
    files = profile_files(folder)
    if name in files:
        if like is not None:
            raise InvalidInput(f"{name} is there already; leave --like out to add figures to it")
        _refuse_class(profile(name, folder))
        return files[name].read_text(encoding="utf-8"), tuple(files)
    if like is None:
        profile(name, folder)  # raises, with the nearest names
    assert like is not None
    return new_device(name, name, profile(like, folder)), tuple(files)


def _refuse_class(device: "HardwareProfile") -> None:
    """Raise InvalidInput for a class of devices: figures are of one of them."""
    if device.reference_devices:
        raise InvalidInput(
            f"{device.name} is a class; figures are of one device, for example {', '.join(device.reference_devices)}"
        )


def _offer(device: "HardwareProfile", runtime: str | None, precision: str | None) -> tuple[str, str]:
    offers = {offer.name: offer.precisions for offer in device.runtimes}
    usable = (runtime,) if runtime in offers else tuple(offers)
    faults = []
    for what, asked, offered in (
        ("runtime", runtime, tuple(offers)),
        ("precision", precision, tuple(dict.fromkeys(p for r in offers for p in offers[r] if r in usable))),
    ):
        if asked is not None and offered and asked not in offered:
            hint = close_name(asked, offered)
            faults.append(f"{device.name} offers no {what} {asked!r}; it offers: {', '.join(offered)}{hint}")
    if faults:
        raise InvalidInput(faults)
    # without a runtime, the first that offers the precision
    chosen = runtime or next(r for r in offers if precision is None or precision in offers[r])
    return chosen, precision or offers[chosen][0]


def _entries(checks: "Sequence[CalibrationCheck]") -> list[dict[str, Any]]:
    from dataclasses import asdict

    return [asdict(check) for check in checks]


def _sentence(check: "CalibrationCheck") -> str:
    start = f"{check.runtime} {check.precision}: {check.figures} figures"
    if check.mean_error_percent is None:
        return f"{start}; too few to tell how well they predict each other"
    if check.mean_error_percent > CONTRADICTED:
        return (
            f"{start}, which contradict each other: each predicted by the others, they are off by more than "
            f"{CONTRADICTED:.0f} % on average; look for rows of another device, unit or setting"
        )
    return (
        f"{start}; each predicted by the others within {check.mean_error_percent:.0f} % on average, "
        f"{check.within_interval} of them within their 80 % interval"
    )
