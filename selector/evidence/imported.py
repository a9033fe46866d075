"""The check of one imported row: types, names and meaning, all its faults at once."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from selector.errors import InvalidEvidence, UnknownName
from selector.evidence.check import faults
from selector.evidence.metrics import METRICS, metric
from selector.evidence.record import Provenance, Record
from selector.evidence.rows import LOCAL, record_of

NEEDED = ("backbone", "hardware", "metric", "value", "provenance", "source", "recorded_at")

Count = Annotated[int, Field(ge=1)] | None
Blocks = Annotated[int, Field(ge=0)] | None


class Row(BaseModel):
    """One figure as a file states it, numbers in words or not. Only what a source may not say is optional."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    backbone: str
    hardware: str
    runtime: str | None = None
    runtime_version: str | None = None
    precision: str | None = None
    resolution: Count = None
    batch_size: Count = None
    threads: Count = None
    freeze: str | None = None
    frozen_blocks: Blocks = None
    total_blocks: Blocks = None
    metric: str
    value: float
    unit: str | None = None
    low: float | None = None
    high: float | None = None
    provenance: Provenance = Field(strict=False)  # JSON has no enumerations
    source: str
    n: Count = None
    stable: bool | None = None
    fingerprint: str | None = None
    protocol: str | None = None
    recorded_at: AwareDatetime = Field(strict=False)  # JSON has no times

    @field_validator("hardware")
    @classmethod
    def _names_a_device(cls, name: str) -> str:
        if name == LOCAL:
            raise ValueError("names no device; a file carries the device's own name")
        return name

    @field_validator("metric")
    @classmethod
    def _is_registered(cls, name: str) -> str:
        try:
            return metric(name).name
        except UnknownName as error:
            raise ValueError(str(error)) from error

    @field_validator("unit")
    @classmethod
    def _is_the_metrics(cls, unit: str | None, info: ValidationInfo) -> str | None:
        registered = METRICS.get(info.data.get("metric", ""))  # absent where the metric itself is at fault
        if unit is not None and registered is not None and unit != registered.unit:
            raise ValueError(f"{registered.name} is in {registered.unit or 'no unit'}")
        return unit

    @model_validator(mode="after")
    def _freeze_is_whole(self) -> Self:
        given = [part is not None for part in (self.freeze, self.frozen_blocks, self.total_blocks)]
        if any(given) and not all(given):
            raise ValueError("freeze, frozen_blocks and total_blocks are stated together or not at all")
        return self


class TypedRow(Row):
    """One figure as JSON states it: types stand as they are."""

    model_config = ConfigDict(strict=True)


def record_from(row: Mapping[str, Any], *, typed: bool) -> Record:
    """The record that a row states. Raises InvalidEvidence with every fault.

    `typed`: types stand as they are, as in JSON. Else numbers are read from words (CSV) and whole numbers from
    floating ones (data frames write a column of integers so once one is missing).
    """
    if "" in row:  # the reader's own remark: there are no cells to check
        raise InvalidEvidence(str(row[""]))
    try:
        checked = (TypedRow if typed else Row).model_validate(row)
    except ValidationError as error:
        raise InvalidEvidence([_sentence(fault) for fault in error.errors()]) from error
    record = record_of({**checked.model_dump(), "recorded_at": checked.recorded_at.isoformat()}, device=None)
    found = faults(record)
    if found:
        raise InvalidEvidence(found)
    return record


def _sentence(fault: Any) -> str:
    name = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "missing" or fault["input"] is None:
        return f"{name} is missing"
    if fault["type"] == "extra_forbidden":
        return f"{name!r} is unknown"
    said = str(fault["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    return f"{name} {fault['input']!r:.80}: {said}" if name else said
