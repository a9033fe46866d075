"""How far runs of the default grid on one machine, at several times of a day, agree with each other.

    selector profile BACKBONES… --runtime torch-eager,onnxruntime,openvino,onnxruntime:int8-static -o RUN.json
    python benchmarks/profile_drift.py RUN.json RUN.json …

Takes documents of `selector profile` and compares every pair of them, by the figures that they tell, which are those
at the machine's reference pace, and by the medians as they were timed. Writes results/profile_drift.json, which holds
the medians of every run, and results/profile_drift.md.
"""

import argparse
import json
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

from profile_grid import apart, as_timed

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
    pairs = [
        {"runs": [i + 1, j + 1], **{how: pair(runs[i][how], runs[j][how]) for how in ("medians", "as_timed")}}
        for i, j in combinations(range(len(runs)), 2)
    ]
    text = page(runs, pairs, asked.note)
    (RESULTS / "profile_drift.json").write_text(json.dumps({"runs": runs, "pairs": pairs}, indent=1) + "\n")
    (RESULTS / "profile_drift.md").write_text(text)
    print(text)
    return 0


def read(file: Path) -> dict[str, Any]:
    """What is compared of a document."""
    document = json.loads(file.read_text(encoding="utf-8"))
    if "paces" not in document:
        raise SystemExit(f"{file} is a document of protocol 5 or before, which is not compared with later ones")
    p50 = [r for r in document["records"] if r["metric"] == "latency_ms_p50"]
    return {
        "at": document["state"]["before"]["at"],
        "fingerprint": p50[0]["fingerprint"],
        "timed_s": document["timed_s"],
        "stable": sum(bool(r["stable"]) for r in p50),
        "paces": paces(document),
        "medians": {name(r): r["value"] for r in p50},
        "as_timed": {name(r): as_timed(r) for r in p50},
    }


def paces(document: dict[str, Any]) -> dict[str, list[float]]:
    """How much longer than at the reference the workloads of each gauge took that was read."""
    return {
        told["read_by"]: [ms / of for ms, of in zip(told["session_ms"], told["reference_ms"], strict=True)]
        for told in document["paces"]
        if told["session_ms"]
    }


def name(record: dict[str, Any]) -> str:
    """A configuration."""
    return f"{record['runtime']} {record['precision']} {record['backbone']}"


def told(paces: dict[str, list[float]]) -> str:
    """The paces of a run, gauge by gauge."""
    return "; ".join(" and ".join(f"{x:.3f}" for x in times) for times in paces.values()) or "–"


def pair(a: dict[str, float], b: dict[str, float]) -> dict[str, Any]:
    """How two runs agree on the configurations that both have."""
    both = a.keys() & b.keys()
    ratios = sorted(b[name] / a[name] for name in both)
    differences = [x for name in both if (x := apart(a[name], b[name])) is not None]
    return {
        "configurations": len(ratios),
        "within_5_percent": sum(x <= WITHIN for x in differences),
        "worst_apart": max(differences),
        "median_ratio": ratios[len(ratios) // 2],
    }


def page(runs: list[dict[str, Any]], pairs: list[dict[str, Any]], note: str) -> str:
    """The runs and what their pairs come to."""
    gauges = list(dict.fromkeys(gauge for run in runs for gauge in run["paces"]))
    lines = [
        "# Runs of the default grid at several times of a day",
        "",
        f"One machine ({runs[0]['fingerprint']}), two cores of a shared host. {note}".rstrip()
        + " Made by `python benchmarks/profile_drift.py`.",
        "",
        f"Paces are how many times as long as at the reference they took: {'; '.join(gauges)}.",
        "",
        "| run | begun (UTC) | seconds of timed inference | called stable | its paces |",
        "|---:|---|---:|---:|---|",
        *(
            f"| {n} | {run['at'][:16].replace('T', ' ')} | {run['timed_s']:.0f} | "
            f"{run['stable']} of {len(run['medians'])} | {told(run['paces'])} |"
            for n, run in enumerate(runs, 1)
        ),
        "",
        "At the reference pace, as the figures are told, and as they were timed:",
        "",
        "| runs | within 5 % | worst apart | within 5 %, as timed | worst apart | later ÷ earlier, median, as timed |",
        "|---|---:|---:|---:|---:|---:|",
        *(
            f"| {p['runs'][0]}, {p['runs'][1]} | "
            + " | ".join(
                f"{p[how]['within_5_percent']} of {p[how]['configurations']} | {p[how]['worst_apart']:.1%}"
                for how in ("medians", "as_timed")
            )
            + f" | {p['as_timed']['median_ratio']:.3f} |"
            for p in pairs
        ),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
