"""How far runs of the default grid on one machine, at several times of a day, agree with each other.

    selector profile BACKBONES… --runtime torch-eager,onnxruntime,openvino,onnxruntime:int8-static -o RUN.json
    python benchmarks/profile_drift.py RUN.json RUN.json …

Takes documents of `selector profile` and compares every pair of them. Writes results/profile_drift.json, which holds
the medians of every run, and results/profile_drift.md.
"""

import argparse
import json
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
WITHIN = 0.05


def main() -> int:
    """Compare the documents that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", nargs="+", type=Path)
    parser.add_argument("--note", default="", help="what a reader has to know of the runs; goes onto the page")
    asked = parser.parse_args()
    if len(asked.documents) < 2:
        parser.error("two documents at least")
    runs = sorted((read(file) for file in asked.documents), key=lambda run: str(run["at"]))
    pairs = [pair(i, j, runs[i]["medians"], runs[j]["medians"]) for i, j in combinations(range(len(runs)), 2)]
    text = page(runs, pairs, asked.note)
    (RESULTS / "profile_drift.json").write_text(json.dumps({"runs": runs, "pairs": pairs}, indent=1) + "\n")
    (RESULTS / "profile_drift.md").write_text(text)
    print(text)
    return 0


def read(file: Path) -> dict[str, Any]:
    """What is compared of a document."""
    document = json.loads(file.read_text(encoding="utf-8"))
    p50 = [r for r in document["records"] if r["metric"] == "latency_ms_p50"]
    return {
        "at": document["state"]["before"]["at"],
        "fingerprint": p50[0]["fingerprint"],
        "timed_s": document["timed_s"],
        "stable": sum(bool(r["stable"]) for r in p50),
        "medians": {f"{r['runtime']} {r['precision']} {r['backbone']}": r["value"] for r in p50},
    }


def pair(i: int, j: int, a: dict[str, float], b: dict[str, float]) -> dict[str, Any]:
    """How two runs agree on the configurations that both have."""
    ratios = sorted(b[name] / a[name] for name in a.keys() & b.keys())
    apart = [2 * abs(ratio - 1) / (ratio + 1) for ratio in ratios]
    return {
        "runs": [i + 1, j + 1],
        "configurations": len(ratios),
        "within_5_percent": sum(x <= WITHIN for x in apart),
        "worst_apart": max(apart),
        "median_ratio": ratios[len(ratios) // 2],
    }


def page(runs: list[dict[str, Any]], pairs: list[dict[str, Any]], note: str) -> str:
    """The runs and what their pairs come to."""
    lines = [
        "# Runs of the default grid at several times of a day",
        "",
        f"One machine ({runs[0]['fingerprint']}), two cores of a shared host. {note}".rstrip()
        + " Made by `python benchmarks/profile_drift.py`.",
        "",
        "| run | begun (UTC) | seconds of timed inference | called stable |",
        "|---:|---|---:|---:|",
        *(
            f"| {n} | {run['at'][:16].replace('T', ' ')} | {run['timed_s']:.0f} | "
            f"{run['stable']} of {len(run['medians'])} |"
            for n, run in enumerate(runs, 1)
        ),
        "",
        "| runs | within 5 % | worst apart | later ÷ earlier, median |",
        "|---|---:|---:|---:|",
        *(
            f"| {p['runs'][0]}, {p['runs'][1]} | {p['within_5_percent']} of {p['configurations']} | "
            f"{p['worst_apart']:.1%} | {p['median_ratio']:.3f} |"
            for p in pairs
        ),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
