"""What of a request can be told to be wrong before anything is read or trained."""

import math
import os
import re

from selector.backbones.catalog import backbone as catalog_backbone
from selector.backbones.depth import FreezeDepth
from selector.errors import InvalidInput
from selector.tuning.info import TuneRequest
from selector.tuning.place import check_place

SHORTEST_BUDGET_S = 20.0
SMALLEST_SIDE = 32  # pixels; the networks of the catalog halve their input five times
LARGEST_SEED = 2**32 - 4  # numpy's largest, and the winner's further seeds


def check(request: TuneRequest) -> None:
    """Raises InvalidInput with all faults of the request at once, OutputFailed for a model's folder that is none."""
    faults = _numbers(request) + _names(request)
    if request.save is not None:
        try:
            check_place(request.save)
        except InvalidInput as error:
            faults += error.faults
    if faults:
        raise InvalidInput(faults)


def _numbers(request: TuneRequest) -> list[str]:
    faults: list[str] = []
    cores = len(os.sched_getaffinity(0))
    if request.budget_s < SHORTEST_BUDGET_S:
        faults.append(f"--budget leaves {request.budget_s:g} s for a search; {SHORTEST_BUDGET_S:.0f} s is the least")
    if request.workers < 1:
        faults.append(f"--workers {request.workers}: at least one")
    if request.workers > cores:
        faults.append(f"--workers {request.workers}: this machine has {cores} usable cores")
    if request.max_trials is not None and request.max_trials < 1:
        faults.append(f"--max-trials {request.max_trials}: at least one")
    if request.cache_bytes < 0:
        faults.append("--cache-gb: zero (no cache) or more")
    if not 0 <= request.seed <= LARGEST_SEED:
        faults.append(f"--seed {request.seed}: from 0 to {LARGEST_SEED}")
    for option, limit in (
        ("--max-latency-ms", request.limits.max_latency_ms),
        ("--max-artifact-mb", request.limits.max_artifact_mb),
    ):
        if limit is not None and not (math.isfinite(limit) and limit > 0):
            faults.append(f"{option} {limit:g}: a number above zero")
    faults += [f"resolution {r}: {SMALLEST_SIDE} pixels at least" for r in request.resolutions if r < SMALLEST_SIDE]
    return faults


def _names(request: TuneRequest) -> list[str]:
    faults: list[str] = []
    if not request.backbones:
        faults.append("no backbone to search over; name some with --backbones")
    if request.weights is not None and not request.weights.is_dir():
        faults.append(f"--weights {request.weights}: no such folder")
    if request.study is not None and not re.fullmatch(r"\w[\w .-]*", request.study):
        faults.append(f"--study {request.study!r}: letters, digits, '.', '-' and '_', a letter or digit first")
    depths: list[FreezeDepth] = []
    for text in request.freezes:
        try:
            depths.append(FreezeDepth.parse(text))
        except InvalidInput as error:
            faults += error.faults
    for name in request.backbones:
        try:
            blocks = len(catalog_backbone(name).blocks)
        except InvalidInput as error:
            faults += error.faults
            continue
        for depth in depths:
            try:
                depth.frozen_blocks(blocks)
            except InvalidInput as error:
                faults += [f"{name}: {fault}" for fault in error.faults]
    return faults
