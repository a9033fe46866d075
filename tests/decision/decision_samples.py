"""Profiles, records and candidates made by hand for the tests of the decision room."""

from datetime import UTC, datetime

from selector.backbones.catalog import Family
from selector.decision.answer import Candidate, Limit, Request, Statement
from selector.evidence.metrics import ACCURACY, ARTIFACT, LATENCY_P50, TRAIN_SECONDS, Metric
from selector.evidence.record import Conditions, Figure, FreezePoint, Provenance, Record
from selector.hardware.profiles import (
    HardwareProfile,
    Kind,
    Limits,
    PublishedFigure,
    RuntimeOffer,
)


def published(
    backbone: str,
    value: float,
    *,
    metric: str = "latency_ms_p50",
    resolution: int = 224,
    batch_size: int = 1,
    runtime: str = "tflite",
    version: str = "2.11",
    precision: str = "fp32",
) -> PublishedFigure:
    return PublishedFigure(
        metric, backbone, resolution, batch_size, runtime, version, precision, None, value, f"paper on {backbone}"
    )


def device(
    *figures: PublishedFigure,
    name: str = "board",
    offers: tuple[tuple[str, tuple[str, ...]], ...] = (("tflite", ("fp32",)),),
    limits: Limits | None = None,
    kind: str = "board",
) -> HardwareProfile:
    return HardwareProfile(
        name=name,
        kind=Kind.DEVICE,
        title=name.title(),
        title_zh=name,
        device_kind=kind,
        specification=(),
        runtimes=tuple(RuntimeOffer(runtime, precisions) for runtime, precisions in offers),
        limits=limits or Limits(),
        reference_devices=(),
        published=figures,
        origin="made by hand",
    )


def record(
    metric: str,
    value: float,
    backbone: str,
    *,
    hardware: str = "board",
    runtime: str = "tflite",
    precision: str = "fp32",
    resolution: int = 224,
    batch_size: int = 1,
    freeze: FreezePoint | None = None,
    provenance: Provenance = Provenance.MEASURED,
    minute: int = 0,
    stable: bool | None = True,
    threads: int | None = None,
) -> Record:
    conditions = Conditions(backbone, hardware, runtime, "1", precision, resolution, batch_size, threads, freeze)
    return Record.of(
        metric,
        value,
        conditions,
        provenance=provenance,
        source="protocol 1",
        stable=stable,
        fingerprint="f" * 12 if provenance is Provenance.MEASURED else None,
        recorded_at=datetime(2026, 1, 1, 0, minute, tzinfo=UTC),
    )


def figure(
    metric: Metric,
    value: float,
    *,
    low: float | None = None,
    high: float | None = None,
    provenance: Provenance = Provenance.ESTIMATED,
) -> Figure:
    return Figure(metric, value, low, high, provenance, "made by hand")


def candidate(
    backbone: str = "resnet18",
    *,
    accuracy: float = 80.0,
    latency: float | None = 10.0,
    megabytes: float = 20.0,
    freeze: str = "none",
    family: Family = Family.RESNET,
    seconds: float | None = None,
    runtime: str = "tflite",
) -> Candidate:
    frozen = {"none": 0, "last-3": 7, "80%": 8, "head": 10}[freeze]
    return Candidate(
        backbone=backbone,
        family=family,
        freeze=FreezePoint(freeze, frozen, 10),
        runtime=runtime,
        precision="fp32",
        resolution=224,
        params=1_000_000,
        macs=1_000_000,
        accuracy=figure(ACCURACY, accuracy),
        latency=figure(LATENCY_P50, latency) if latency is not None else None,
        artifact=figure(ARTIFACT, megabytes * 1e6),
        memory=None,
        train_seconds=figure(TRAIN_SECONDS, seconds) if seconds is not None else None,
    )


def at_most(name: str, bound: float) -> Limit:
    return Limit(name, bound, "at most", Statement("limit.asked"))


def request(*limits: Limit, **changes: object) -> Request:
    values: dict[str, object] = {
        "hardware": "board",
        "data_size": 5000,
        "classes": 10,
        "domain": None,
        "limits": limits,
        "runtimes": (),
        "precisions": (),
        "backbones": (),
        "seed": 0,
    }
    return Request(**(values | changes))  # type: ignore[arg-type]
