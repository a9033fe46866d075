"""The default grid, twice, and the same configurations by a script that follows timm's benchmark protocol.

    python benchmarks/profile_grid.py            # about a quarter of an hour on two quiet cores

Twelve backbones of four families on torch-eager, onnxruntime and openvino in fp32, and on onnxruntime in int8-static,
by one command. Model files are made before anything is timed, and the agreement of int8 with fp32, which is kept beside
them, is measured; how long the int8 part with it takes is told. The peer is one process a model: import, load, 10
warm-up inferences and 40 timed ones (timm's benchmark.py at batch 1); where its median's 95 % interval is then wider
than the product asks for it goes on by 40 until it is not, or 20 s of timed inference have passed: the product's own
deadline. The same width is asked of the interval on both sides, ±3.5 % with what windows of 0.05 s differ by, here at
one pace, there as timed; how long the peer takes for its bare 40 samples is told. Whether those intervals hold is
another question, which profile_confidence.py answers, by all pairs of runs that were committed. Both sides run twice,
in turns. The peer uses each library as it comes, C allocator included; only denormal numbers are flushed, which its
random weights bring about and which would make it slower than it is. Writes results/profile_grid.json and .md beside
this file, and adds what the pair came to to results/profile_pairs.json.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any

from selector.profiling.protocol import INFERENCE, PROTOCOL_VERSION

BACKBONES = (
    *("resnet18", "resnet34", "resnet50"),
    *("vgg11_bn", "vgg13", "vgg16"),
    *("efficientnet_b0", "efficientnet_b1", "tf_efficientnet_lite0"),
    *("mobilenetv2_100", "mobilenetv3_small_100", "mobilenetv3_large_100"),
)
INT8 = "onnxruntime:int8-static"
RUNTIMES = ("torch-eager", "onnxruntime", "openvino", INT8)
WARM_UP, TIMED = 10, 40
TARGET, DEADLINE_S = INFERENCE.target, INFERENCE.deadline_s
LONGEST_S = 12 * 60
RESULTS = Path(__file__).parent / "results"

Key = tuple[str, str, str]


def main() -> int:
    """Run A, the peer, run B, the peer again; compare; write. Exit code 1 where a goal is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer", nargs=4, metavar=("RUNTIME", "BACKBONE", "PIXELS", "FILE"))
    arguments = parser.parse_args()
    if arguments.peer:
        name, backbone, pixels, file = arguments.peer
        print(json.dumps(peer(name, backbone, int(pixels), file)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("SELECTOR_HOME", folder)
        files = make_files()
        agreement_s, _ = run_command([INT8], Path(folder) / "agreement")
        first = grid_run(Path(folder) / "a")
        theirs = [peer_run(files)]
        second = grid_run(Path(folder) / "b")
        theirs.append(peer_run(files))
    result = {**compare(first, second, theirs), "int8_first_s": agreement_s}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "profile_grid.json").write_text(json.dumps(result, indent=2) + "\n")
    (RESULTS / "profile_grid.md").write_text(page(result))
    keep(result, RESULTS / "profile_pairs.json")
    print(page(result))
    return 0 if all(result["goals"].values()) else 1


def make_files() -> dict[Key, tuple[int, str]]:
    """Make every model file in a process of its own; (pixels, file) of each configuration."""
    script = """
import json, sys
from selector.hardware.machine import detect
from selector.profiling.files import model_recipe, reference_recipe
from selector.profiling.material import Material
from selector.profiling.plan import Grid, plan
from selector.profiling.runtimes.export import make
files = []
for job in plan(Grid(tuple(sys.argv[2:]), tuple(json.loads(sys.argv[1]))), detect()):
    make(model_recipe(job, Material()))
    if reference := reference_recipe(job, Material()):
        make(reference)
    path = str(model_recipe(job, Material()).path)
    files.append([job.runtime, job.backbone, job.precision, job.resolution, path])
print(json.dumps(files))
"""
    command = [sys.executable, "-c", script, json.dumps(RUNTIMES), *BACKBONES]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return {(runtime, name, precision): (pixels, path) for runtime, name, precision, pixels, path in found}


def run_command(names: Sequence[str], folder: Path) -> tuple[float, dict[str, Any]]:
    """The command for these runtimes, with the folder's store; wall time and document."""
    folder.mkdir(exist_ok=True)
    output = folder / "profile.json"
    selector = str(Path(sys.executable).with_name("selector"))
    command = [selector, "profile", *BACKBONES, "--runtime", ",".join(names), "--quiet", "-o", str(output)]
    environment = {**os.environ, "SELECTOR_STORE": str(folder / "evidence.db")}
    start = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    return time.monotonic() - start, json.loads(output.read_text())


def grid_run(folder: Path) -> dict[str, Any]:
    """The grid, with a store of its own: wall time, medians and document."""
    wall_s, document = run_command(RUNTIMES, folder)
    medians = [record for record in document["records"] if record["metric"] == "latency_ms_p50"]
    return {
        "wall_s": wall_s,
        "timed_s": document["timed_s"],
        "medians": {(r["runtime"], r["backbone"], r["precision"]): r for r in medians},
        "failures": document["failures"],
        "document": document,
    }


def peer_run(files: dict[Key, tuple[int, str]]) -> dict[Key, dict[str, Any]]:
    """One process a configuration, by the peer's protocol."""
    found = {}
    for key, (pixels, path) in files.items():
        runtime, backbone, _ = key
        start = time.monotonic()
        command = [sys.executable, __file__, "--peer", runtime, backbone, str(pixels), path]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        wall = time.monotonic() - start
        found[key] = {"wall_s": wall, **json.loads(done.stdout.splitlines()[-1])}
    return found


def peer(runtime: str, backbone: str, pixels: int, file: str) -> dict[str, Any]:
    """The peer's one process: load, warm up, time, and go on until the interval is as narrow as the product's."""
    infer = {"torch-eager": _torch, "onnxruntime": _onnxruntime, "openvino": _openvino}[runtime](backbone, pixels, file)
    for _ in range(WARM_UP):
        infer()
    times: list[float] = []
    begun = time.perf_counter()
    while True:
        for _ in range(TIMED):
            start = time.perf_counter()
            infer()
            times.append((time.perf_counter() - start) * 1e3)
        if len(times) == TIMED:
            begun = time.perf_counter()
        late = sum(times) / 1e3 >= DEADLINE_S
        if (width := half_width(times)) <= TARGET or late:
            found = {"p50": median(times), "n": len(times), "half_width": width, "wide": width > TARGET}
            return {**found, "extra_s": time.perf_counter() - begun}  # after the first TIMED


def half_width(times: list[float]) -> float:
    """Half width of the median's 95 % interval, relative to the median, with what windows of samples differ by."""
    from selector.profiling.intervals import median_interval_of_windows

    middle = median(times)
    size = max(INFERENCE.min_window, ceil(INFERENCE.window_s * 1e3 / middle))
    windows = [times[i : i + size] for i in range(0, len(times), size)]
    low, high = median_interval_of_windows(windows)
    return max(high - middle, middle - low) / middle


def _torch(backbone: str, pixels: int, file: str) -> Any:
    import timm
    import torch

    del file  # timm's script creates the model
    # before any thread of torch's pool starts: those inherit it. Random weights lead a deep net to denormal numbers
    torch.set_flush_denormal(True)
    model = timm.create_model(backbone, pretrained=False).eval()
    image = torch.randn(1, 3, pixels, pixels)

    def infer() -> object:
        with torch.inference_mode():
            return model(image)

    return infer


def _onnxruntime(backbone: str, pixels: int, file: str) -> Any:
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).standard_normal((1, 3, pixels, pixels), dtype=np.float32)
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: image})


def _openvino(backbone: str, pixels: int, file: str) -> Any:
    import numpy as np
    import openvino

    core = openvino.Core()
    model = core.read_model(file)
    model.reshape([1, 3, pixels, pixels])
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(model, "CPU", options).create_infer_request()
    image = np.random.default_rng(0).standard_normal((1, 3, pixels, pixels), dtype=np.float32)
    return lambda: request.infer([image])


def compare(a: dict[str, Any], b: dict[str, Any], theirs: list[dict[Key, dict[str, Any]]]) -> dict[str, Any]:
    """Every configuration in both runs and at the peer, and what they come to."""
    rows = []
    for key in theirs[0]:
        first, second = a["medians"].get(key), b["medians"].get(key)
        row = {
            "runtime": key[0],
            "backbone": key[1],
            "precision": key[2],
            "a_ms": first and first["value"],
            "b_ms": second and second["value"],
            "apart": apart(first and first["value"], second and second["value"]),
            "stable": [bool(r and r["stable"]) for r in (first, second)],
            "half_width": [width(r) for r in (first, second)],
            "as_timed_ms": [r and as_timed(r) for r in (first, second)],
            "apart_as_timed": apart(first and as_timed(first), second and as_timed(second)),
            "n": [r and r["n"] for r in (first, second)],
            "disturbed": [disturbed(r) for r in (first, second)],
            "peer": [run[key] for run in theirs],
        }
        rows.append(row)
    total = len(rows)
    peer_s = [sum(one["wall_s"] for one in run.values()) for run in theirs]
    fixed_s = [sum(one["wall_s"] - one["extra_s"] for one in run.values()) for run in theirs]
    walls = [a["wall_s"], b["wall_s"]]
    times_faster = [theirs_s / wall for theirs_s in peer_s for wall in walls]
    within, within_as_timed = (
        sum(r[which] is not None and r[which] <= 0.05 for r in rows) / total for which in ("apart", "apart_as_timed")
    )
    worst = {
        how: max((r["apart"] for r in rows if r["apart"] is not None and called(r["stable"])), default=None)
        for how, called in (("both", all), ("either", any))
    }
    machine = a["document"]["environment"]
    return {
        "schema_version": 1,
        "date": a["document"]["state"]["before"]["at"][:10],
        "fingerprint": a["document"]["records"][0]["fingerprint"],
        "cpu": machine["machine"]["cpu_model"],
        "usable_cpus": machine["machine"]["usable_cpus"],
        "libraries": {k: v for k, v in machine["libraries"].items() if v},
        "load_before": [run["document"]["state"]["before"]["load_average"] for run in (a, b)],
        "configurations": total,
        "wall_s": walls,
        "timed_s": [a["timed_s"], b["timed_s"]],
        "outside_timed": [1 - r["timed_s"] / r["wall_s"] for r in (a, b)],
        "peer_wall_s": peer_s,
        "peer_wall_fixed_s": fixed_s,
        "peer_wide": [sum(one["wide"] for one in run.values()) for run in theirs],
        "unsettled": [sum(not r["stable"][i] for r in rows) for i in (0, 1)],
        "times_faster": times_faster,  # each of the peer's runs by each of the grid's
        "within_5_percent": within,
        "within_5_percent_as_timed": within_as_timed,
        "worst_apart_as_timed": max(
            (r["apart_as_timed"] for r in rows if r["apart_as_timed"] is not None), default=None
        ),
        "paces": [[{**pace, "kept": None} for pace in run["document"]["paces"]] for run in (a, b)],  # without the path
        "worst_apart": max((r["apart"] for r in rows if r["apart"] is not None), default=None),
        "worst_apart_stable": worst["both"],  # of those that both runs call stable
        "worst_apart_stable_in_one": worst["either"],
        "stable": sum(all(r["stable"]) for r in rows),
        "p90": [sum(r["metric"] == "latency_ms_p90" for r in run["document"]["records"]) for run in (a, b)],
        "failures": a["failures"] + b["failures"],
        "goals": {
            "at most 12 minutes": max(walls) <= LONGEST_S,
            "at least 2 times faster than the peer": min(times_faster) >= 2,
            "95 % of configurations agree within 5 %": within >= 0.95,
            "no stable configuration differs by more than 10 %": worst["both"] is not None and worst["both"] <= 0.10,
        },
        "rows": rows,
    }


def keep(result: dict[str, Any], place: Path) -> None:
    """Add to the pairs that there are what a comparison of pairs needs."""
    rows = [
        {
            "configuration": f"{row['runtime']} {row['precision']} {row['backbone']}",
            "ms": [row["a_ms"], row["b_ms"]],
            "half_width": row["half_width"],
            "stable": row["stable"],
            "peer_ms": [one["p50"] for one in row["peer"]],
            "peer_half_width": [one["half_width"] for one in row["peer"]],
        }
        for row in result["rows"]
    ]
    told = ("date", "cpu", "fingerprint", "wall_s", "peer_wall_s", "peer_wall_fixed_s")
    pair = {"protocol": PROTOCOL_VERSION, **{name: result[name] for name in told}, "rows": rows}
    pairs = json.loads(place.read_text()) if place.exists() else []
    place.write_text("[\n" + ",\n".join(map(json.dumps, [*pairs, pair])) + "\n]\n")  # a line a pair


def apart(first: float | None, second: float | None) -> float | None:
    """How far two figures lie apart, relative to their middle; None where one is missing."""
    return None if first is None or second is None else abs(first - second) / ((first + second) / 2)


def as_timed(record: dict[str, Any]) -> float:
    """A record's median as it was timed, before it was given at the machine's reference pace."""
    found = re.search(r"as timed ([\d.e+-]+) ms", record["source"])
    return float(found[1] if found else record["value"])


def disturbed(record: dict[str, Any] | None) -> int:
    """Windows that were left out because other work or the hypervisor took the processors."""
    found = re.search(r"(\d+) disturbed windows", record["source"]) if record else None
    return int(found[1]) if found else 0


def width(record: dict[str, Any] | None) -> float | None:
    """Half width of a record's interval, relative to its median."""
    if record is None:
        return None
    return max(record["high"] - record["value"], record["value"] - record["low"]) / record["value"]


def took(pace: dict[str, Any]) -> str:
    """What a gauge's workloads took."""
    took, reference = (" and ".join(f"{ms:.4f}" for ms in pace[of]) for of in ("session_ms", "reference_ms"))
    return f"{pace['read_by']} took {took} ms (reference {reference})"


def page(result: dict[str, Any]) -> str:
    """The result as a short page."""
    a, b = result["wall_s"]
    (peer_a, peer_b), (fixed_a, fixed_b) = result["peer_wall_s"], result["peer_wall_fixed_s"]
    disturbed_a, disturbed_b = (sum(row["disturbed"][i] for row in result["rows"]) for i in (0, 1))
    paces = [", ".join(took(pace) for pace in run if pace["session_ms"]) for run in result["paces"]]
    outside = " and ".join(f"{share:.0%}" for share in result["outside_timed"])
    lines = [
        "# The default grid of `selector profile`",
        "",
        f"{result['date']}, {result['cpu']}, {result['usable_cpus']} cores, fingerprint `{result['fingerprint']}`, "
        + ", ".join(f"{k} {v}" for k, v in result["libraries"].items())
        + ".",
        "",
        f"{result['configurations']} configurations took {a:.0f} and {b:.0f} s with model files at hand; {outside} of "
        "that was spent outside timed inference (imports, loads, first and uncounted inferences). The agreement of "
        "int8 with fp32 was known from an earlier run, which measured it: the int8 part by itself took "
        f"{result['int8_first_s']:.0f} s then.",
        "",
        f"A script that follows timm's protocol took {peer_a:.0f} and {peer_b:.0f} s for the same configurations at "
        f"the same width of an interval, {fixed_a:.0f} and {fixed_b:.0f} s with its fixed 40 samples: the grid is "
        f"{min(result['times_faster']):.2f} to {max(result['times_faster']):.2f} times as fast (each run of the one by "
        "each of the other); [what these intervals are worth](profile_confidence.md) a second run tells. Not stable at "
        "the end, which for the script is by its interval alone: "
        f"{result['unsettled'][0]} and {result['unsettled'][1]} here, "
        f"{result['peer_wide'][0]} and {result['peer_wide'][1]} there. The peer measures a median alone, in each "
        "library as it comes; the grid also load, first inference, peak memory, file size, agreement and, for "
        f"{result['p90'][0]} and {result['p90'][1]} configurations, a bound on the 90th percentile.",
        "",
        f"A/A: {result['within_5_percent']:.1%} of configurations agree within ±5 % on the median, the worst are "
        f"{result['worst_apart']:.1%} apart; of the {result['stable']} that both runs call stable the worst are "
        f"{result['worst_apart_stable']:.1%} apart, of those that at least one does "
        f"{result['worst_apart_stable_in_one']:.1%}. Other work or the hypervisor took the processors in {disturbed_a} "
        f"windows of A and {disturbed_b} of B, which were left out. As timed, before they are given at the machine's "
        f"reference pace, {result['within_5_percent_as_timed']:.1%} agree within ±5 % and the worst are "
        f"{result['worst_apart_as_timed']:.1%} apart; of the pace's workloads, {paces[0]} in A and {paces[1]} in B."
        if result["worst_apart_stable"] is not None
        else "A/A: nothing was stable in both runs.",
        "",
        "| goal | reached |",
        "|---|---|",
        *(f"| {goal} | {'yes' if met else 'no'} |" for goal, met in result["goals"].items()),
        "",
        "| backbone | runtime | precision | A, ms | B, ms | apart | stable | samples | peer, ms | peer's samples |",
        "|---|---|---|---:|---:|---:|---|---:|---:|---:|",
    ]
    for row in result["rows"]:
        a_ms, b_ms = (f"{v:.2f}" if v is not None else "–" for v in (row["a_ms"], row["b_ms"]))
        apart = "–" if row["apart"] is None else f"{row['apart']:.1%}"
        stable = ", ".join("yes" if yes else "no" for yes in row["stable"])
        peers = [f"{one['p50']:.2f}" for one in row["peer"]]
        counts = [str(one["n"]) for one in row["peer"]]
        lines.append(
            f"| {row['backbone']} | {row['runtime']} | {row['precision']} | {a_ms} | {b_ms} | {apart} | "
            f"{stable} | {row['n'][0]}, {row['n'][1]} | {', '.join(peers)} | {', '.join(counts)} |"
        )
    lines += ["", "Made by `python benchmarks/profile_grid.py`.", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
