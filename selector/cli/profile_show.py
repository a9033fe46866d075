"""`selector profile show`: what the store holds of a device, readable, with its roofline."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from selector.cli.console import folded, stdout_console
from selector.cli.options import Json, Output, ProfileFolder, Quiet, Store
from selector.errors import NotComparable, close_name

if TYPE_CHECKING:
    from pathlib import Path

    from selector.evidence.record import Conditions, Record
    from selector.evidence.store import Store as EvidenceStore
    from selector.hardware.machine import Machine
    from selector.profiling.roofline import Roofline

LOCAL = "local"


def show(
    backbones: Annotated[list[str] | None, typer.Argument(help="Only these. Without them: all.")] = None,
    hardware: Annotated[
        str, typer.Option("--hardware", help="Whose measurements; `selector evidence list` names them.")
    ] = LOCAL,
    output: Output = None,
    store: Store = None,
    profile_folder: ProfileFolder = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show what the store holds of this machine: the newest figure of each configuration, by software environment.

    -o PAGE.html writes a page with a roofline picture: achieved against peak compute and bandwidth, which are measured
    in about three seconds on this machine, and taken from the hardware profile for another one.
    """
    from selector.evidence.store import open_store
    from selector.reporting.output import STDOUT, opened_output

    del quiet  # reading a store shows no progress; the option is one that every command takes
    with open_store(store) as opened:
        records = newest(opened.records(hardware=hardware, backbones=backbones or None, provenance="measured"))
        if not records:
            raise NotComparable(_nothing(opened, hardware, backbones or ()))
        for told in _without_figures(opened, hardware, backbones or (), records):
            typer.echo(told, err=True)
        groups = by_environment(records, opened)
    if as_json or output == STDOUT:  # both at once are one place
        with opened_output(STDOUT) as write:
            write(_json(hardware, groups) + "\n")
    else:
        _print(groups)
    if output not in (None, STDOUT):
        with opened_output(output) as write:
            if output.suffix.lower() in (".html", ".htm"):
                write(_page(hardware, groups, profile_folder))
            else:
                write(_json(hardware, groups) + "\n")


def _nothing(store: "EvidenceStore", hardware: str, backbones: "Sequence[str]") -> str:
    """That the store holds nothing of what was asked, with the nearest of what it does hold."""
    held = store.records(provenance="measured")
    what = f" of {', '.join(backbones)}" if backbones else ""
    devices = {r.conditions.hardware for r in held}
    measured = {r.conditions.backbone for r in held if r.conditions.hardware == hardware}
    hints = [close_name(hardware, devices)] if hardware not in devices else []
    hints += [close_name(name, measured) for name in backbones if name not in measured]
    advice = "`selector profile` measures" if hardware == LOCAL else "`selector evidence import` brings figures"
    return f"the store holds no measurement{what} on {hardware!r}; {advice}{''.join(hints)}"


def _without_figures(
    store: "EvidenceStore", hardware: str, backbones: "Sequence[str]", records: "Sequence[Record]"
) -> list[str]:
    """A sentence for each of `backbones` that has none of `records`, where others have some."""
    found = {r.conditions.backbone for r in records}
    missing = [name for name in dict.fromkeys(backbones) if name not in found]
    if not missing:
        return []
    measured = {r.conditions.backbone for r in store.records(hardware=hardware, provenance="measured")}
    return [f"the store holds no measurement of {name} on {hardware!r}{close_name(name, measured)}" for name in missing]


def newest(records: "Sequence[Record]") -> "list[Record]":
    """The last record of each metric under the same conditions, fingerprint and protocol."""
    kept: dict[tuple[Conditions, str, str | None, str | None], Record] = {}
    for record in sorted(records, key=lambda r: r.recorded_at):
        key = (record.conditions, record.figure.metric.name, record.fingerprint, record.protocol)
        kept.pop(key, None)  # the newer one takes its own place in the order
        kept[key] = record
    return list(kept.values())


def by_environment(records: "Sequence[Record]", store: "EvidenceStore") -> list[dict[str, Any]]:
    """Records of one environment and protocol together, the last measured first: only those compare."""
    groups: dict[tuple[str | None, str | None], list[Record]] = {}
    for record in records:
        groups.setdefault((record.fingerprint, record.protocol), []).append(record)
    known = store.environments([name for name, _ in groups if name])
    found = [
        {
            "fingerprint": fingerprint,
            "protocol": protocol,
            "first": min(r.recorded_at for r in own),
            "last": max(r.recorded_at for r in own),
            "environment": known.get(fingerprint or ""),
            "records": own,
        }
        for (fingerprint, protocol), own in groups.items()
    ]
    return sorted(found, key=lambda group: group["last"], reverse=True)


def _print(groups: list[dict[str, Any]]) -> None:
    from selector.profiling.tables import tables

    console = stdout_console()
    for group in groups:
        console.print(described(group), highlight=False, style="bold", markup=False)
        for table in tables(group["records"]):
            console.print("", *folded(table.title, table.named, table.figures, console.width))


def described(group: dict[str, Any]) -> str:
    """An environment in one line."""
    first, last = group["first"], group["last"]
    begun, ended = f"{first:%Y-%m-%d %H:%M}", f"{last:%Y-%m-%d %H:%M}"
    when = begun if begun == ended else f"{begun} to {ended}"
    parts = [f"environment {group['fingerprint']}, protocol {group['protocol']}, {when} UTC"]
    if group["environment"]:
        machine, libraries = group["environment"]["machine"], group["environment"]["libraries"]
        parts.append(f"{machine['cpu_model']}, {group['environment']['threads']} threads")
        parts.append(", ".join(f"{name} {version}" for name, version in libraries.items() if version))
    return "; ".join(parts)


def _json(hardware: str, groups: list[dict[str, Any]]) -> str:
    environments = [
        {
            **group,
            "first": group["first"].isoformat(),
            "last": group["last"].isoformat(),
            "records": [record.as_json() for record in group["records"]],
        }
        for group in groups
    ]
    document = {"schema_version": 1, "hardware": hardware, "environments": environments}
    return json.dumps(document, ensure_ascii=False, indent=2)


def _page(hardware: str, groups: list[dict[str, Any]], folder: "Path | None") -> str:
    from selector.hardware.machine import detect
    from selector.reporting.profile_page import render_profile

    charts, notes = [], []
    for group in groups:
        notes.append(described(group))
    latest = [r for r in groups[0]["records"] if r.figure.metric.name == "latency_ms_p50"]
    if hardware == LOCAL:
        charts = _own_rooflines(detect(), latest)
    else:
        found = _stated_roofline(hardware, latest, folder)
        charts = [found] if found else []
        notes += [] if found else [f"No roofline: the profile of {hardware!r} states no peak and bandwidth."]
    if len(groups) > 1:
        notes.append("The roofline is about the environment that was measured last.")
    device = "this machine" if hardware == LOCAL else hardware
    return render_profile(device, [r for group in groups for r in group["records"]], charts, notes)


def _own_rooflines(machine: "Machine", records: "Sequence[Record]") -> "list[Roofline]":
    """One of the processor for each thread count, whose ceilings are measured with as many, and one of the GPU."""
    from selector.profiling.peaks import Peaks
    from selector.profiling.roofline import roofline
    from selector.profiling.workers import ask_worker

    own = [r for r in records if _device(r) == "cpu"]
    counts = sorted({r.conditions.threads for r in own if r.conditions.threads}, reverse=True)
    asked = [{"kind": "peaks", "device": "cpu", "threads": count} for count in counts]
    charts = [roofline(machine.slug(), own, Peaks(**ask_worker(task))) for task in asked]
    on_gpu = [r for r in records if _device(r) == "gpu"]
    if on_gpu:
        task = {"kind": "peaks", "device": "gpu", "threads": machine.threads}
        charts.append(roofline(machine.gpus[0].name if machine.gpus else "the GPU", on_gpu, Peaks(**ask_worker(task))))
    return charts


def _device(record: "Record") -> str:
    """What computed a figure; a runtime that is not known here counts as one of the processor."""
    from selector.profiling.runtimes import RUNTIMES, runtime

    name = record.conditions.runtime
    return runtime(name).device if name in RUNTIMES else "cpu"


def _stated_roofline(hardware: str, records: "Sequence[Record]", folder: "Path | None") -> "Roofline | None":
    from selector.errors import UnknownName
    from selector.hardware.loading import profile as load_profile
    from selector.profiling.peaks import Peaks
    from selector.profiling.roofline import roofline

    try:
        specification = {item.name: item for item in load_profile(hardware, folder).specification}
    except UnknownName:
        return None
    peak, bandwidth = (specification.get(name) for name in ("peak_gflops_fp32", "bandwidth_gb_s"))
    if not (peak and bandwidth and isinstance(peak.value, float | int) and isinstance(bandwidth.value, float | int)):
        return None
    source = f"stated by the hardware profile: {peak.source}; {bandwidth.source}"
    return roofline(hardware, records, Peaks(float(peak.value), float(bandwidth.value), None, source))
