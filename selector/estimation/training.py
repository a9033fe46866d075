"""What training costs on a GPU that is not here: milliseconds a step and memory, at a freeze depth.

From the terms of the physical layer and published training throughputs (one GPU, mixed precision, nothing frozen).
Approximations: a forward pass is a third of a full training step and each gradient another (the identity of
backbones/cost.py, for every kind of work); other GPUs are as much faster as their specification promises. No published
figure says how well that holds at other freeze depths or on other GPUs, so the interval is wider there.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from selector.backbones.depth import FreezeDepth
from selector.backbones.layers import layers, network, networks
from selector.estimation.configuration import Configuration, Subject
from selector.estimation.features import PER_BATCH, TERMS, Vector, saved_elements, tail_terms
from selector.estimation.figures import PRECISIONS
from selector.estimation.intervals import NORMAL_80
from selector.estimation.physical import fit_rates, log_latency
from selector.estimation.specification import numbers, promise
from selector.evidence.metrics import TRAIN_MEMORY_DEVICE, TRAIN_STEP
from selector.evidence.record import Figure, Provenance
from selector.hardware.profiles import HardwareProfile

DATA = "training.json"
FORWARD = 1 / 3  # of a step with nothing frozen
RATE, RATE_SPREAD, NOISE = 2.0, 1.0, 0.05  # prior of log rates: training is about e² slower than promised inference
LAUNCH_SPREAD = 0.3  # of what is paid once a batch: big batches hardly tell it, small ones consist of it
OTHER_GPU = 0.2  # log units: how far a GPU's speed strays from its specification, over the next one's (assumed)
OTHER_DEPTH = 0.15  # log units: how far a frozen prefix strays from the identity (assumed)
RESERVED_BYTES = 1.0e9  # the driver's context, the libraries' workspaces
BYTES_A_PARAMETER, BYTES_A_TRAINED = 4, 12  # fp32 weights; gradient and AdamW's two moments
_LAUNCHED = np.array([counted == "launch" for _, counted in TERMS])
TRIED_BATCHES = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)  # by the published benchmark
MEMORY_BYTES = 24 * 2**30  # of the GPU that the benchmark filled


@dataclass(frozen=True, slots=True)
class TrainingCost:
    """Milliseconds of one step and peak memory of the GPU, each with an 80 % interval."""

    step: Figure
    memory: Figure


@dataclass(frozen=True, slots=True, eq=False)
class TrainingKnowledge:
    """Log rates [terms] on the GPU of the published figures, their left-out spread, and bytes a saved element takes."""

    device: str
    rates: Vector
    spread: float  # log units, standard deviation of a left-out network
    bytes_per_element: float
    bytes_spread: float  # log units


def training_cost(
    profile: HardwareProfile, backbone: str, depth: FreezeDepth, *, batch_size: int, resolution: int | None = None
) -> TrainingCost | None:
    """The cost of a mixed-precision step on the GPU of `profile`; None where it is no GPU.

    Raises UnknownName for a network without a layer table, InvalidInput for an image or a depth that does not fit it.
    """
    if profile.device_kind != "gpu":
        return None
    known = _shipped()
    net = network(backbone)
    side = resolution or net.resolution
    frozen = depth.frozen_blocks(net.blocks)
    promised = promise(_configuration(profile.name), numbers(profile))
    tail = tail_terms(backbone, side, frozen, cache=promised.cache / batch_size)
    tail = np.where(PER_BATCH, tail / batch_size, tail) * promised.units()
    costs = FORWARD * promised.costs([Subject(backbone, side, batch_size)]) + (1 - FORWARD) * tail
    log_ms = float(log_latency(costs, known.rates)[0][0])
    spread = float(
        np.sqrt(known.spread**2 + (profile.name != known.device) * OTHER_GPU**2 + (frozen > 0) * OTHER_DEPTH**2)
    )
    source = f"estimated from layers and published training throughputs of {known.device}, mixed precision"
    source += "" if profile.name == known.device else ", scaled by the specification"
    source += "" if not frozen else "; the frozen share follows from the identity, which no published figure checks"
    step = _figure(TRAIN_STEP, batch_size * float(np.exp(log_ms)), spread, source)
    rows = layers(backbone, side)
    trained = sum(layer.params for layer in rows if layer.block > frozen)
    elements = batch_size * saved_elements(backbone, side, frozen)
    memory = RESERVED_BYTES + BYTES_A_PARAMETER * sum(layer.params for layer in rows) + BYTES_A_TRAINED * trained
    # a frozen prefix keeps nothing, but its largest layer reads and writes in half precision
    passing = max(layer.in_channels * layer.in_h**2 + layer.activations for layer in rows)
    bytes_of_maps = known.bytes_per_element * elements + 2.0 * batch_size * passing * (frozen > 0)
    peak = _figure(
        TRAIN_MEMORY_DEVICE,
        memory + bytes_of_maps,
        known.bytes_spread,
        f"estimated: maps kept for the backward pass, as the largest batches that fit {known.device} tell; AdamW, "
        "mixed precision",
    )
    return TrainingCost(step, peak)


def fit_training(folder: Path, profiles: Mapping[str, HardwareProfile]) -> TrainingKnowledge | None:
    """Fitted to every CSV in `folder` with a column train_ms_per_sample; None where there is none.

    Figures in several memory layouts are alike to within their noise; the first layout of the file counts.
    """
    rows = _rows(folder)
    if not rows:
        return None
    device = rows[0]["device"]
    subjects = [Subject(r["model"], int(r["resolution"]), int(r["batch_size"])) for r in rows]
    costs = promise(_configuration(device), numbers(profiles[device])).costs(subjects)
    logs = np.log([float(r["train_ms_per_sample"]) for r in rows])
    count = len(TERMS)
    mean = np.full(count, RATE)
    precision = np.linalg.inv(np.diag(np.where(_LAUNCHED, LAUNCH_SPREAD**2, RATE_SPREAD**2)))
    # tf_ networks and their namesakes differ in padding alone: neither is left out without the other
    names = np.array([s.backbone.removeprefix("tf_") for s in subjects])
    errors = []
    for name in dict.fromkeys(names):
        left = names == name
        rates = fit_rates(costs[~left], logs[~left], mean, precision, NOISE)
        errors += list(logs[left] - log_latency(costs[left], rates)[0])
    spread = float(np.quantile(np.abs(errors), 0.8)) / NORMAL_80
    per_element, bytes_spread = _bytes_per_element(subjects)
    rates = fit_rates(costs, logs, mean, precision, NOISE)
    return TrainingKnowledge(device, rates, spread, per_element, bytes_spread)


def as_json(known: TrainingKnowledge) -> dict[str, Any]:
    """Plain data, as `data/training.json` holds it."""
    return {
        "schema_version": 1,
        "device": known.device,
        "terms": [name for name, _ in TERMS],
        "log_rates": [round(float(v), 4) for v in known.rates],
        "spread": round(known.spread, 4),
        "bytes_per_element": round(known.bytes_per_element, 3),
        "bytes_spread": round(known.bytes_spread, 4),
    }


def _bytes_per_element(subjects: Sequence[Subject]) -> tuple[float, float]:
    """Bytes that a saved element takes, and its log spread: from batches that fit where the next larger did not."""
    centres = []
    for s in subjects:
        larger = [b for b in TRIED_BATCHES if b > s.batch_size]
        if not larger:
            continue
        params = sum(layer.params for layer in layers(s.backbone, s.resolution))
        room = MEMORY_BYTES - RESERVED_BYTES - (BYTES_A_PARAMETER + BYTES_A_TRAINED) * params
        elements = saved_elements(s.backbone, s.resolution, 0)
        fits, does_not = room / (s.batch_size * elements), room / (larger[0] * elements)
        centres.append(0.5 * (np.log(fits) + np.log(does_not)))
    deviation = np.abs(np.array(centres) - np.median(centres))
    return float(np.exp(np.median(centres))), float(np.quantile(deviation, 0.8)) / NORMAL_80


def _rows(folder: Path) -> list[dict[str, str]]:
    known = frozenset(networks())
    found: list[dict[str, str]] = []
    for path in sorted(folder.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if "train_ms_per_sample" in (reader.fieldnames or []):
                found += [r for r in reader if r["model"] in known]
    layout = found[0]["layout"] if found else ""
    return [r for r in found if r["layout"] == layout and PRECISIONS.get(r["precision"], "") == "fp16"]


def _configuration(device: str) -> Configuration:
    return Configuration(device, "gpu", "torch-eager", "", "fp16")


def _figure(metric: Any, value: float, spread: float, source: str) -> Figure:
    half = float(np.exp(NORMAL_80 * spread))
    return Figure(metric, value, value / half, value * half, Provenance.ESTIMATED, source)


@cache
def _shipped() -> TrainingKnowledge:
    text = (files("selector.estimation") / "data" / DATA).read_text(encoding="utf-8")
    data = json.loads(text)
    return TrainingKnowledge(
        data["device"],
        np.array(data["log_rates"]),
        data["spread"],
        data["bytes_per_element"],
        data["bytes_spread"],
    )
