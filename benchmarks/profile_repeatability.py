"""Do two runs of `selector profile` agree? Measures eight backbones of four families twice and compares the medians.

    python benchmarks/profile_repeatability.py            # about four minutes on two quiet cores

Each run is a command of its own with a store of its own; model files are made before the first. Writes
results/profile_repeatability.json and .md beside this file.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

BACKBONES = (
    "resnet18",
    "resnet50",
    "vgg11_bn",
    "vgg13",
    "efficientnet_b0",
    "tf_efficientnet_lite0",
    "mobilenetv3_large_100",
    "mobilenetv2_100",
)
RUNTIMES = ("torch-eager", "onnxruntime")
TOLERANCE = 0.10
SHARE = 0.90
RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Run A, run B, compare, write. Exit code 1 where they do not agree."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(os.environ.get("SELECTOR_HOME", folder))
        make_files(home)
        runs = []
        for name in "AB":
            start = time.monotonic()
            document = profile(home, Path(folder) / f"{name}.json")
            runs.append({"wall_s": round(time.monotonic() - start, 1), **document})
    result = compare(*runs)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "profile_repeatability.json").write_text(json.dumps(result, indent=2) + "\n")
    (RESULTS / "profile_repeatability.md").write_text(page(result))
    print(page(result))
    return 0 if result["share_within"] >= SHARE else 1


def make_files(home: Path) -> None:
    """Make the model files, so that neither run has to."""
    script = (
        "import sys; from selector.profiling.runtimes.export import make, recipe; "
        "from selector.backbones.catalog import backbone\n"
        "for name in sys.argv[1:]:\n"
        "    for kind in ('weights', 'onnx'):\n"
        "        make(recipe(kind, name, resolution=backbone(name).resolution))\n"
    )
    subprocess.run(
        [sys.executable, "-c", script, *BACKBONES], check=True, env={**os.environ, "SELECTOR_HOME": str(home)}
    )


def profile(home: Path, output: Path) -> dict[str, Any]:
    """The document of one run of the command."""
    options = [option for name in RUNTIMES for option in ("--runtime", name)]
    command = [str(Path(sys.executable).with_name("selector")), "profile", *BACKBONES, *options, "--quiet"]
    environment = {**os.environ, "SELECTOR_HOME": str(home), "SELECTOR_STORE": str(output.with_suffix(".db"))}
    subprocess.run([*command, "-o", str(output)], check=True, stdout=subprocess.DEVNULL, env=environment)
    document: dict[str, Any] = json.loads(output.read_text())
    return document


def medians(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """The p50 records of a run by backbone and runtime."""
    return {(r["backbone"], r["runtime"]): r for r in document["records"] if r["metric"] == "latency_ms_p50"}


def compare(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    """Both medians of each configuration and how far they are apart, relative to their mean."""
    first, second = medians(a), medians(b)
    rows = [
        {
            "backbone": key[0],
            "runtime": key[1],
            "a_ms": first[key]["value"],
            "b_ms": second[key]["value"],
            "apart": abs(first[key]["value"] - second[key]["value"])
            / ((first[key]["value"] + second[key]["value"]) / 2),
            "n": [first[key]["n"], second[key]["n"]],
            "stable": first[key]["stable"] and second[key]["stable"],
        }
        for key in first
        if key in second
    ]
    expected = len(BACKBONES) * len(RUNTIMES)
    machine = a["environment"]["machine"]
    return {
        "schema_version": 1,
        "date": a["state"]["before"]["at"][:10],
        "fingerprint": a["records"][0]["fingerprint"],
        "same_fingerprint": a["records"][0]["fingerprint"] == b["records"][0]["fingerprint"],
        "cpu": machine["cpu_model"],
        "usable_cpus": machine["usable_cpus"],
        "libraries": {k: v for k, v in a["environment"]["libraries"].items() if v},
        "load_before": [d["state"]["before"]["load_average"] for d in (a, b)],
        "wall_s": [a["wall_s"], b["wall_s"]],
        "timed_s": [round(a["timed_s"], 1), round(b["timed_s"], 1)],
        "tolerance": TOLERANCE,
        "configurations": expected,
        # a configuration that is missing from a run does not agree
        "share_within": sum(row["apart"] <= TOLERANCE for row in rows) / expected,
        "share_within_5_percent": sum(row["apart"] <= 0.05 for row in rows) / expected,
        "worst_apart": max(row["apart"] for row in rows),
        "failures": a["failures"] + b["failures"],
        "rows": rows,
    }


def page(result: dict[str, Any]) -> str:
    """The result as a short page."""
    lines = [
        "# Two runs of `selector profile`",
        "",
        f"{result['date']}, {result['cpu']}, {result['usable_cpus']} cores, fingerprint `{result['fingerprint']}`, "
        + ", ".join(f"{k} {v}" for k, v in result["libraries"].items())
        + ".",
        "",
        f"{result['share_within']:.0%} of {result['configurations']} configurations agree within "
        f"±{result['tolerance']:.0%} on the median, {result['share_within_5_percent']:.0%} within ±5 %; "
        f"the worst are {result['worst_apart']:.1%} apart. "
        f"The runs took {result['wall_s'][0]:.0f} and {result['wall_s'][1]:.0f} s, "
        f"of which {result['timed_s'][0]:.0f} and {result['timed_s'][1]:.0f} s were timed inference.",
        "",
        "| backbone | runtime | A, ms | B, ms | apart | samples | stable |",
        "|---|---|---:|---:|---:|---:|---|",
    ]
    for row in result["rows"]:
        lines.append(
            f"| {row['backbone']} | {row['runtime']} | {row['a_ms']:.2f} | {row['b_ms']:.2f} | {row['apart']:.1%} "
            f"| {row['n'][0]}, {row['n'][1]} | {'yes' if row['stable'] else 'no'} |"
        )
    lines += ["", "Made by `python benchmarks/profile_repeatability.py`.", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    # it takes no arguments: what is not understood, and --help, must not begin a run that overwrites results
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    sys.exit(main())
