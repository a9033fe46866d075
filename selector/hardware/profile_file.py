"""What a hardware profile's TOML file must look like, and its conversion into a `HardwareProfile`.

pydantic checks types, ranges and names of each part; what relates parts to each other (a row's length to its metrics, a
placeholder to its row) is checked on the raw document beside it, so that one reading tells all faults.
"""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches
from math import inf
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from selector.errors import close_name
from selector.hardware.profiles import (
    LARGEST_RESOLUTION,
    RUNTIMES,
    SPECIFICATION,
    TEXT_ITEMS,
    HardwareProfile,
    Kind,
    Limits,
    PublishedFigure,
    RuntimeOffer,
    SpecificationItem,
)
from selector.resources import network_names

Text = Annotated[str, Field(min_length=1)]
Positive = Annotated[float, Field(gt=0)]
Precision = Literal["fp32", "tf32", "fp16", "bf16", "amp", "int8-dynamic", "int8-static"]
PublishedMetric = Literal["latency_ms_p50", "latency_ms_p90", "ms_per_sample"]
DeviceKind = Literal["gpu", "x86-cpu", "arm-cpu", "board", "phone", "accelerator"]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
RuntimeName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
MISSPELT = 0.85  # likeness to a known runtime from which another one's name is taken for a slip of it


class _Part(BaseModel):
    """Values are taken as they stand: "8" is no number, and a misspelt key is a fault."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class _Item(_Part):
    """{ value, source } or { unknown = "why" }."""

    value: Any = None  # `_specification_faults` checks it: which type it has depends on the item
    source: Text | None = None
    unknown: Text | None = None


class _Runtime(_Part):
    name: RuntimeName
    precisions: Annotated[list[Precision], Field(min_length=1)]


class _Limits(_Part):
    latency_ms: Positive | None = None
    memory_mb: Positive | None = None
    artifact_mb: Positive | None = None
    why: Text
    why_zh: Text


class _Row(_Part):
    """[backbone, resolution, value, …] with one value a metric, and last the text that fills the source's {}."""

    backbone: Text
    resolution: Annotated[int, Field(ge=16, le=LARGEST_RESOLUTION)]
    values: Annotated[list[Positive], Field(min_length=1)]
    log: Text | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, row: Any) -> Any:
        if not isinstance(row, list) or len(row) < 3:
            raise ValueError("a row is [backbone, resolution, value, …]")
        log = row[-1] if isinstance(row[-1], str) else None
        return {
            "backbone": row[0],
            "resolution": row[1],
            "values": row[2:] if log is None else row[2:-1],
            "log": log,
        }


class _Group(_Part):
    metrics: Annotated[list[PublishedMetric], Field(min_length=1)]
    runtime: RuntimeName
    version: Text  # "unknown" where the source does not say
    precision: Precision
    batch_size: Annotated[int, Field(ge=1)]
    threads: Annotated[int, Field(ge=1)] | None = None
    source: Text
    figures: Annotated[list[_Row], Field(min_length=1)]

    def published(self) -> list[PublishedFigure]:
        """One figure a row and metric, each with its own source."""
        return [
            PublishedFigure(
                metric,
                row.backbone,
                row.resolution,
                self.batch_size,
                self.runtime,
                self.version,
                self.precision,
                self.threads,
                value,
                self.source if row.log is None else self.source.replace("{}", row.log),
            )
            for row in self.figures
            for metric, value in zip(self.metrics, row.values, strict=True)
        ]


class ProfileFile(_Part):
    """One profile as its file states it. Made by `check`."""

    name: Name
    kind: Literal["class", "device"]
    title: Text
    title_zh: Text
    device_kind: DeviceKind
    specification: dict[str, _Item] = {}
    runtimes: Annotated[list[_Runtime], Field(min_length=1)]
    limits: _Limits | None = None
    reference_devices: list[Name] = []
    published: list[_Group] = []

    @classmethod
    def check(
        cls, raw: dict[str, Any], *, stem: str, known: frozenset[str]
    ) -> tuple[ProfileFile, tuple[()]] | tuple[None, tuple[str, ...]]:
        """The checked file and no faults, or None and all faults, each beginning with its place in the document.

        `stem` is the file's name without its ending, `known` the names of all profiles, for reference devices.
        """
        faults = _relations(raw, stem, known)
        try:
            checked = cls.model_validate(raw)
        except ValidationError as error:
            return None, tuple([_fault(e) for e in error.errors(include_url=False)] + faults)
        return (None, tuple(faults)) if faults else (checked, ())

    def profile(self, *, origin: str) -> HardwareProfile:
        """The frozen profile that the rest of the product works with."""
        limits = self.limits
        return HardwareProfile(
            name=self.name,
            kind=Kind(self.kind),
            title=self.title,
            title_zh=self.title_zh,
            device_kind=self.device_kind,
            specification=tuple(
                SpecificationItem(name, item.value, item.source or f"unknown: {item.unknown}")
                for name, item in self.specification.items()
            ),
            runtimes=tuple(RuntimeOffer(r.name, tuple(r.precisions)) for r in self.runtimes),
            limits=Limits(**limits.model_dump()) if limits else Limits(),
            reference_devices=tuple(self.reference_devices),
            published=tuple(figure for group in self.published for figure in group.published()),
            origin=origin,
        )


KEYS = frozenset(
    name for part in (ProfileFile, _Item, _Runtime, _Limits, _Group) for name in part.model_fields if name != "values"
)


def _fault(error: Any) -> str:
    """One pydantic error as `published[2].figures[14].values[0]: must be greater than 0, is -3.0`."""
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"]).lstrip(".")
    match error["type"]:
        case "missing":
            return f"{place}: is missing"
        case "extra_forbidden":
            return f"{place}: is not known here{close_name(str(error['loc'][-1]), KEYS)}"
        case "value_error":
            return f"{place}: {error['ctx']['error']}, is {error['input']!r}"
        case "string_too_short" | "too_short":
            return f"{place}: must not be empty"
        case "string_pattern_mismatch":
            return f"{place}: {error['input']!r} is no id; ids are of lower-case letters, digits, - and ."
        case "model_type" | "dict_type":
            return f"{place}: must be a table, is {error['input']!r}"
        case _:
            says = error["msg"].removeprefix("Input should be ").removeprefix("Value should be ")
            return f"{place}: must be {says}, is {error['input']!r}"


def _relations(raw: dict[str, Any], stem: str, known: frozenset[str]) -> list[str]:
    """Faults between parts of the document. Parts of a wrong type are passed over: pydantic tells those."""
    faults: list[str] = []
    name = raw.get("name")
    if isinstance(name, str) and name != stem:
        faults.append(f"name: is {name!r}, but the file is called {stem}.toml; they must be the same")
    if name == "local":
        faults.append('name: "local" is this machine, which is detected; choose another name')
    faults += _specification_faults(_dict(raw.get("specification")))
    faults += _kind_faults(raw, known)
    offered = [r.get("name") for r in _list(raw.get("runtimes")) if isinstance(r, dict)]
    faults += _offer_faults(offered)
    runtimes = {*RUNTIMES, *(name for name in offered if isinstance(name, str))}
    seen: dict[tuple[Any, ...], str] = {}
    for number, group in enumerate(_list(raw.get("published"))):
        if isinstance(group, dict):
            faults += _id_faults(group, f"published[{number}]", runtimes)
            faults += _group_faults(group, f"published[{number}]", seen)
    return faults


def _offer_faults(names: list[Any]) -> list[str]:
    """Runtimes offered twice, or under a name that is all but a known one's. Others may be new, and are accepted:

    "tflite-npu" is one more variant, however like "tflite-gpu" it looks.
    """
    faults: list[str] = []
    for number, name in enumerate(names):
        place = f"runtimes[{number}].name"
        if not isinstance(name, str):
            continue
        close = get_close_matches(name, RUNTIMES, n=1, cutoff=MISSPELT)
        if name in names[:number]:
            faults.append(f"{place}: {name!r} is offered above already")
        elif name not in RUNTIMES and close and not any(name.startswith(f"{known}-") for known in RUNTIMES):
            faults.append(f"{place}: no runtime {name!r}; did you mean {close[0]!r}?")
    return faults


def _id_faults(group: dict[str, Any], place: str, runtimes: Collection[str]) -> list[str]:
    """Ids in a group of figures that name nothing: no estimate would ever use its figures."""
    faults: list[str] = []
    runtime = group.get("runtime")
    if isinstance(runtime, str) and runtime and runtime not in runtimes:
        hint = close_name(runtime, runtimes) or "; it is neither offered under [[runtimes]] nor known"
        faults.append(f"{place}.runtime: no runtime {runtime!r}{hint}")
    for number, row in enumerate(_list(group.get("figures"))):
        if isinstance(row, list) and row and isinstance(row[0], str) and row[0] not in network_names():
            hint = close_name(row[0], network_names()) or "; `selector catalog` lists backbones"
            faults.append(f"{place}.figures[{number}]: no backbone {row[0]!r}{hint}")
    return faults


def _specification_faults(specification: dict[str, Any]) -> list[str]:
    faults: list[str] = []
    for name, item in specification.items():
        place = f"specification.{name}"
        if name not in SPECIFICATION:
            hint = close_name(name, SPECIFICATION) or f"; known are {', '.join(SPECIFICATION)}"
            faults.append(f"{place}: is no item of a specification{hint}")
        if not isinstance(item, dict):
            continue
        given = {key for key in ("value", "source", "unknown") if key in item}
        if given not in ({"value", "source"}, {"unknown"}):
            faults.append(f'{place}: needs both value and source, or unknown = "why" alone')
        if "value" in item and not _fits(name, item["value"]):
            what = "text that is not empty" if name in TEXT_ITEMS else "a number greater than 0"
            faults.append(f"{place}.value: must be {what}, is {item['value']!r}")
    return faults


def _fits(name: str, value: Any) -> bool:
    """Whether the item `name` of a specification can have this value."""
    if name in TEXT_ITEMS:
        return isinstance(value, str) and value != ""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < inf


def _kind_faults(raw: dict[str, Any], known: frozenset[str]) -> list[str]:
    """A class has limits and reference devices and no figures of its own; a device the other way round."""
    faults: list[str] = []
    references = _list(raw.get("reference_devices"))
    if raw.get("kind") == "class":
        if not references:
            faults.append("reference_devices: a class names at least one device, the first of which its limits hold on")
        if "limits" not in raw:
            faults.append("limits: a class states its default limits and why")
        faults += [
            f"{part}: belongs to a device; a class has reference_devices instead"
            for part in ("specification", "published")
            if raw.get(part)
        ]
    elif raw.get("kind") == "device" and references:
        faults.append("reference_devices: belongs to a class")
    for number, device in enumerate(references):
        if isinstance(device, str) and device not in known:
            faults.append(f"reference_devices[{number}]: there is no profile {device!r}{close_name(device, known)}")
    return faults


def _group_faults(group: dict[str, Any], place: str, seen: dict[tuple[Any, ...], str]) -> list[str]:
    """Faults of one group of figures; `seen` collects every figure of the file, to find those stated twice."""
    faults: list[str] = []
    metrics, source = _list(group.get("metrics")), group.get("source")
    if "ms_per_sample" not in metrics and group.get("batch_size") not in (1, None):
        faults.append(f"{place}.batch_size: a latency is of batch 1; many at once is the metric ms_per_sample")
    placeholders = source.count("{}") if isinstance(source, str) else 0
    if placeholders > 1:
        faults.append(f"{place}.source: has {placeholders} places {{}}, a row fills one")
    conditions = [group.get(key) for key in ("runtime", "version", "precision", "batch_size", "threads")]
    for number, row in enumerate(_list(group.get("figures"))):
        where = f"{place}.figures[{number}]"
        if not isinstance(row, list) or len(row) < 3:
            continue
        log = row[-1] if isinstance(row[-1], str) else None
        values = row[2:] if log is None else row[2:-1]
        if metrics and len(values) != len(metrics):
            faults.append(f"{where}: has {len(values)} values for {len(metrics)} metrics")
        if (log is not None) != (placeholders > 0):
            says = "ends in a text, but the source has no {}" if log else "needs a last text for the {} of the source"
            faults.append(f"{where}: {says}")
        if isinstance(source, str):
            key = (*map(str, metrics), *map(str, conditions), str(row[0]), str(row[1]), source, log)
            if key in seen:
                faults.append(f"{where}: states the figure of {seen[key]} again")
            seen.setdefault(key, where)
    return faults


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
