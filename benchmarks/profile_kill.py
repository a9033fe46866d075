"""Is a killed run safe? `selector profile --resume` is killed ten times at random moments, then let go on to its end.

    python benchmarks/profile_kill.py            # about two minutes

After each kill (SIGKILL, to the command and to nothing else) the store is read: each figure that the document named as
finished must be there, none twice, no measurement by half, and no worker may be left. Writes results/profile_kill.json
and .md beside this file.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from selector.evidence.store import open_store

BACKBONES = ("resnet18", "mobilenetv2_100", "mobilenetv3_small_100", "efficientnet_b0")
RUNTIMES = ("onnxruntime", "torch-eager")
OPTIONS = ("--resolution", "96", "--resume", "--quiet")
KILLS, SEED, LONGEST_S = 10, 20, 12.0
FIRST_MOMENTS = {"load_ms", "first_inference_ms", "memory_rss_peak_bytes", "artifact_bytes"}
RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Kill, look, go on; write. Exit code 1 where something was lost, doubled or halved."""
    moments = random.Random(SEED)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SELECTOR_HOME"] = os.environ.get("SELECTOR_HOME", folder)
        os.environ["SELECTOR_STORE"] = str(Path(folder) / "evidence.db")
        output = Path(folder) / "profile.json"
        rounds = [one_round(output, moments.uniform(0, LONGEST_S)) for _ in range(KILLS)]
        start = time.monotonic()
        last = one_round(output, None)
        document = json.loads(output.read_text())
    result = {
        "schema_version": 1,
        "date": document["state"]["before"]["at"][:10],
        "fingerprint": document["records"][0]["fingerprint"],
        "cpu": document["environment"]["machine"]["cpu_model"],
        "configurations": len(BACKBONES) * len(RUNTIMES),
        "seed": SEED,
        "rounds": rounds,
        "last_s": round(time.monotonic() - start, 1),
        "last": last,
        "sound": all(not r["faults"] for r in [*rounds, last]) and last["medians"] == len(BACKBONES) * len(RUNTIMES),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "profile_kill.json").write_text(json.dumps(result, indent=2) + "\n")
    (RESULTS / "profile_kill.md").write_text(page(result))
    print(page(result))
    return 0 if result["sound"] else 1


def one_round(output: Path, moment_s: float | None) -> dict[str, Any]:
    """Start the command, kill it after so many seconds (None: never), and say what the store holds then."""
    output.unlink(missing_ok=True)
    options = [option for name in RUNTIMES for option in ("--runtime", name)]
    command = [str(Path(sys.executable).with_name("selector")), "profile", *BACKBONES, *options, *OPTIONS]
    process = subprocess.Popen([*command, "-o", str(output)], stdout=subprocess.DEVNULL)
    workers: set[psutil.Process] = set()
    deadline = time.monotonic() + (moment_s if moment_s is not None else 600)
    while time.monotonic() < deadline and process.poll() is None:
        workers.update(psutil.Process(process.pid).children(recursive=True))
        time.sleep(0.02)
    killed = process.poll() is None
    if killed:
        os.kill(process.pid, signal.SIGKILL)
    process.wait()
    told = json.loads(output.read_text())["records"] if output.exists() else []
    with open_store() as store:
        stored = [record.as_json() for record in store.records()]
    time.sleep(0.5)
    return {
        "killed_after_s": round(moment_s, 2) if killed and moment_s is not None else None,
        "records": len(stored),
        "medians": sum(r["metric"] == "latency_ms_p50" for r in stored),
        "faults": faults(told, stored, workers),
    }


def faults(told: list[dict[str, Any]], stored: list[dict[str, Any]], workers: set[psutil.Process]) -> list[str]:
    """What is wrong with a store after a kill; `told` are the records of the document that the run wrote."""
    found = []
    held = [(r["backbone"], r["runtime"], r["metric"], r["value"]) for r in stored]
    finished = {(r["backbone"], r["runtime"], r["metric"], r["value"]) for r in told}
    found += [f"lost: {record}" for record in finished - set(held)]
    names = [record[:3] for record in held]
    found += [f"twice: {name}" for name in set(names) if names.count(name) > 1]
    for backbone in BACKBONES:
        for runtime in RUNTIMES:
            own = {metric for *which, metric in names if which == [backbone, runtime]}
            if own & FIRST_MOMENTS not in (set(), FIRST_MOMENTS):
                found.append(f"half: {backbone} {runtime}: {sorted(own)}")
    found += [f"left: process {w.pid}" for w in workers if w.is_running() and w.status() != psutil.STATUS_ZOMBIE]
    return found


def page(result: dict[str, Any]) -> str:
    """The result as a short page."""
    lines = [
        "# Killing `selector profile` at ten random moments",
        "",
        f"{result['date']}, {result['cpu']}, fingerprint `{result['fingerprint']}`, {result['configurations']} "
        f"configurations, moments from seed {result['seed']}. Each round is the same command with `--resume`.",
        "",
        "Every finished figure was in the store, none twice, none by half, and no worker was left."
        if result["sound"]
        else "**Something was lost, doubled or halved; see the faults.**",
        "",
        "| round | killed after, s | figures in the store | medians | faults |",
        "|---:|---:|---:|---:|---|",
    ]
    for number, row in enumerate([*result["rounds"], result["last"]], 1):
        after = "ran to its end" if row["killed_after_s"] is None else f"{row['killed_after_s']:.2f}"
        lines.append(
            f"| {number} | {after} | {row['records']} | {row['medians']} | {'; '.join(row['faults']) or '–'} |"
        )
    lines += ["", f"The last round took {result['last_s']:.1f} s. Made by `python benchmarks/profile_kill.py`.", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
