"""`selector hardware`: the hardware profiles there are, one of them, and what this machine is."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from selector.cli.console import folded, stdout_console
from selector.cli.options import Json, ProfileFolder

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from selector.hardware.profiles import HardwareProfile, Limits

app = typer.Typer(help="Hardware profiles: classes, devices, and this machine.", no_args_is_help=True)

Name = Annotated[
    str, typer.Argument(help="A profile's name; `selector hardware list` lists them, `local` is this machine.")
]


@app.command("list")
def list_(as_json: Json = False, hardware_profiles: ProfileFolder = None) -> None:
    """List all profiles: classes first, then devices, shipped and your own, and this machine.

    A profile of yours that is broken is reported on stderr with its faults; the others are listed.
    """
    from selector.hardware.loading import list_profiles, profile

    listing = list_profiles(hardware_profiles)
    profiles = [*listing.profiles.values(), profile("local")]
    for error in listing.refused.values():
        for fault in error.faults:
            typer.echo(f"selector: not listed: {fault}", err=True)
    if as_json:
        _print_json(
            profiles, refused=[{"file": str(path), "faults": list(e.faults)} for path, e in listing.refused.items()]
        )
        return
    console, table = stdout_console(), _table("Name", "Kind", "Title", "Runtimes", "Figures")
    table.columns[0].no_wrap = True
    table.columns[3].min_width = max(len(r.name) for p in profiles for r in p.runtimes) + 1  # no id is broken
    for p in profiles:
        kind = p.kind.value if p.kind.value == "class" else p.device_kind
        # a class has no figures of its own
        count = str(len(p.published)) if p.published else ("–" if p.kind.value == "class" else "0")
        table.add_row(p.name, kind, p.title, ", ".join(r.name for r in p.runtimes), count)
    console.print(table, "")
    for p in profiles:
        if limits := _limits(p.limits):
            console.print(f"Default limits of {p.name}: {limits}")


@app.command()
def show(name: Name, as_json: Json = False, hardware_profiles: ProfileFolder = None) -> None:
    """Show one profile: specification with sources, runtimes, limits and why, and the published figures."""
    from selector.hardware.loading import profile

    found = profile(name, hardware_profiles)
    if as_json:
        _print_json([found])
        return
    console = stdout_console()
    console.print(f"[bold]{found.title}[/bold] ({found.name}, {found.kind.value}, {found.device_kind})")
    if found.reference_devices:
        console.print(f"Reference devices, latency is stated on the first: {', '.join(found.reference_devices)}")
    _show_specification(console, found)
    console.print("Runtimes: " + "; ".join(f"{r.name} ({', '.join(r.precisions)})" for r in found.runtimes))
    if found.limits.why:
        console.print(f"Default limits: {_limits(found.limits) or 'none'}\n{found.limits.why}", highlight=False)
    _show_figures(console, found)
    console.print(f"From: {found.origin}", highlight=False, soft_wrap=True)


@app.command()
def detect(as_json: Json = False) -> None:
    """Detect what this machine is: processor, cores, quota, memory, GPUs, library versions and fingerprint."""
    from selector.hardware.fingerprint import environment, fingerprint
    from selector.hardware.local import local_profile
    from selector.hardware.machine import detect as detect_machine

    machine = detect_machine()
    surroundings = environment(machine)
    mark = fingerprint(surroundings)
    if as_json:
        _print_json([local_profile(machine)], machine=machine.slug(), fingerprint=mark, environment=surroundings)
        return
    console, table = stdout_console(), _table("Property", "Value")
    table.add_row("name elsewhere", machine.slug())
    table.add_row("fingerprint", mark)
    for key, value in surroundings["machine"].items():
        table.add_row(key.replace("_", " "), _text(value))
    table.add_row("threads that run at once", str(machine.threads))
    for library, version in surroundings["libraries"].items():
        table.add_row(library, version or "not installed")
    console.print(table)


def _show_specification(console: "Console", found: "HardwareProfile") -> None:
    from selector.hardware.profiles import SPECIFICATION

    if not found.specification:
        return
    table = _table("Specification", "Value", "Source")
    for item in found.specification:
        value = "unknown" if item.value is None else _text(item.value)
        table.add_row(item.name, value, item.source.removeprefix("unknown: "))
    console.print(table)
    if any(item.name.startswith("peak_") for item in found.specification):
        console.print(f"peak: {SPECIFICATION['peak_gflops_fp32']}", highlight=False)


def _show_figures(console: "Console", found: "HardwareProfile") -> None:
    from rich.padding import Padding
    from rich.text import Text

    from selector.hardware.published import group_figures, tabulate_figures

    if not found.published:
        console.print("Published figures: none")
        return
    console.print(f"Published figures: {len(found.published)}, in groups of one source:")
    for g in group_figures(found.published):
        threads = "threads not stated" if g.threads is None else f"{g.threads} threads"
        span = f"{g.lowest:.3g} to {g.highest:.3g}" if g.count > 1 else f"{g.lowest:.3g}"
        line = f"{g.metric}, {g.runtime} {g.runtime_version} {g.precision}, batch {g.batch_size}, {threads}"
        console.print(Padding(Text(f"{line}: {g.count}, {span} ms"), (0, 0, 0, 2)))
        console.print(f"    {g.source}", soft_wrap=True, markup=False)
    figures = tabulate_figures(found.published)
    named = [
        ("Backbone", [backbone for backbone, _ in figures.cells]),
        ("px", [str(resolution) for _, resolution in figures.cells]),
    ]
    columns = [
        (
            f"{runtime}\n{precision}\n{metric}",
            [
                " / ".join(f"{v:.4g}" for v in row.get((runtime, precision, metric), ()))
                for row in figures.cells.values()
            ],
        )
        for runtime, precision, metric in figures.columns
    ]
    console.print("", *folded(None, named, columns, console.width))


def _limits(limits: "Limits") -> str:
    """`latency ≤ 100 ms, memory ≤ 512 MB`; empty where there is none."""
    bounds = (
        ("latency", limits.latency_ms, "ms"),
        ("memory", limits.memory_mb, "MB"),
        ("artifact", limits.artifact_mb, "MB"),
    )
    return ", ".join(f"{name} ≤ {bound:g} {unit}" for name, bound, unit in bounds if bound is not None)


def _text(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, list):
        return ", ".join(_text(v) for v in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{k} {_text(v)}" for k, v in value.items())
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _print_json(profiles: list["HardwareProfile"], **more: Any) -> None:
    document = {"schema_version": 1, **more, "profiles": [p.as_json() for p in profiles]}
    typer.echo(json.dumps(document, ensure_ascii=False, indent=2))


def _table(*columns: str) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
