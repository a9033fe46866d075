"""Is a killed run safe? `selector profile --resume` is killed ten times at random moments, then let go on to its end.

    python benchmarks/profile_kill.py            # about five minutes

Moments are drawn from the length of a run that nobody disturbs, once the model files are made; a round that is over
sooner shortens it. After each kill (SIGKILL, to the command and to nothing else) the store is read: each figure that
the document named as finished or that an earlier round had left must be there, none twice (but where the machine was
too far from its reference pace, or in a slower state than it can be: those are measured again), no measurement by half,
and no worker may be left. A round that comes to its end before its kill is no kill: the store is then checked, emptied,
and begun anew. Writes results/profile_kill.json and .md beside this file.
"""

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from selector.evidence.store import open_store
from selector.profiling.machine_pace import TOO_FAR
from selector.profiling.machine_state import SLOWER, SLOWER_STATE

BACKBONES = ("resnet18", "mobilenetv2_100", "mobilenetv3_small_100", "efficientnet_b0")
RUNTIMES = ("onnxruntime", "torch-eager")
OPTIONS = ("--resolution", "96", "--resume", "--quiet")
KILLS, SEED = 10, 20
GONE_S = 10.0  # a worker that is still importing when its parent is killed notices when it reads its task
P90_SAMPLES = 64  # from so many on a latency has both figures
FIRST_MOMENTS = {"load_ms", "first_inference_ms", "memory_rss_peak_bytes", "artifact_bytes"}
RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Kill, look, go on; write. Exit code 1 where something was lost, doubled or halved."""
    moments = random.Random(SEED)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SELECTOR_HOME"] = os.environ.get("SELECTOR_HOME", folder)
        os.environ["SELECTOR_STORE"] = str(Path(folder) / "evidence.db")
        output = Path(folder) / "profile.json"
        undisturbed: list[dict[str, Any]] = []
        for _ in range(2):  # the first makes the model files
            undisturbed.append(one_round(output, None, []))
            empty(Path(folder))
        longest_s = undisturbed_s = undisturbed[-1]["took_s"]
        rounds: list[dict[str, Any]] = []
        while sum(r["killed_after_s"] is not None for r in rounds) < KILLS:
            rounds.append(one_round(output, moments.uniform(0, longest_s), rounds))
            if rounds[-1]["killed_after_s"] is None:
                longest_s = min(longest_s, rounds[-1]["took_s"])  # the machine may have grown faster meanwhile
                empty(Path(folder))
        last = one_round(output, None, rounds)
        document = json.loads(output.read_text())
    everything = [*undisturbed, *rounds, last]
    for each in everything:
        del each["held"]
    result = {
        "schema_version": 1,
        "date": document["state"]["before"]["at"][:10],
        "fingerprint": document["records"][0]["fingerprint"],
        "cpu": document["environment"]["machine"]["cpu_model"],
        "configurations": len(BACKBONES) * len(RUNTIMES),
        "seed": SEED,
        "kills": KILLS,
        "undisturbed_s": undisturbed_s,
        "rounds": rounds,
        "last": last,
        "sound": not any(r["faults"] for r in everything),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "profile_kill.json").write_text(json.dumps(result, indent=2) + "\n")
    (RESULTS / "profile_kill.md").write_text(page(result))
    print(page(result))
    return 0 if result["sound"] else 1


def empty(folder: Path) -> None:
    """Throw the store away."""
    for file in folder.glob("evidence.db*"):
        file.unlink()


def one_round(output: Path, moment_s: float | None, earlier: list[dict[str, Any]]) -> dict[str, Any]:
    """Start the command, kill it after so many seconds (None: never), and say what the store holds then."""
    output.unlink(missing_ok=True)
    options = [option for name in RUNTIMES for option in ("--runtime", name)]
    command = [str(Path(sys.executable).with_name("selector")), "profile", *BACKBONES, *options, *OPTIONS]
    start = time.monotonic()
    process = psutil.Popen([*command, "-o", str(output)], stdout=subprocess.DEVNULL)
    workers: set[psutil.Process] = set()
    deadline = start + (moment_s if moment_s is not None else 1200)
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(psutil.NoSuchProcess):  # it may end between the two
            workers.update(process.children(recursive=True))
        time.sleep(0.02)
    killed = process.poll() is None
    if killed:
        os.kill(process.pid, signal.SIGKILL)
    code = process.wait()
    took_s = time.monotonic() - start
    told = figures(json.loads(output.read_text())["records"]) if output.exists() else []
    with open_store() as store:
        stored = [record.as_json() for record in store.records()]
    begun_anew = not earlier or earlier[-1]["killed_after_s"] is None
    expected = set(told) if begun_anew else {*told, *earlier[-1]["held"]}
    found = faults(expected, stored) + left_over(workers)
    if not killed:
        found += [] if code == 0 else [f"the command ended with {code}"]
        found += missing(stored)
    return {
        "killed_after_s": round(moment_s, 2) if killed and moment_s is not None else None,
        "took_s": round(took_s, 1),
        "records": len(stored),
        "medians": sum(r["metric"] == "latency_ms_p50" for r in stored),
        "faults": found,
        "held": figures(stored),
    }


Figure = tuple[str, str, str, float]


def figures(records: list[dict[str, Any]]) -> list[Figure]:
    """What records say."""
    return [(r["backbone"], r["runtime"], r["metric"], r["value"]) for r in records]


def faults(expected: set[Figure], stored: list[dict[str, Any]]) -> list[str]:
    """What is wrong with a store that has to hold `expected`, whenever its writer was stopped."""
    held = figures(stored)
    found = [f"lost: {figure}" for figure in expected - set(held)]
    names = [figure[:3] for figure in held]
    found += [f"twice: {name}" for name in set(names) if names.count(name) > 1 and not meant(name, stored)]
    for backbone in BACKBONES:
        for runtime in RUNTIMES:
            own = {r["metric"]: r for r in stored if (r["backbone"], r["runtime"]) == (backbone, runtime)}
            latency = own.get("latency_ms_p50")
            both = latency is not None and latency["n"] >= P90_SAMPLES
            halves = (
                own.keys() & FIRST_MOMENTS not in (set(), FIRST_MOMENTS),
                ("latency_ms_p90" in own) != both,
            )
            found += [f"half: {backbone} {runtime}: {sorted(own)}"] if any(halves) else []
    return found


def missing(stored: list[dict[str, Any]]) -> list[str]:
    """What a run that came to its end did not bring."""
    wanted = {(b, r, m) for b in BACKBONES for r in RUNTIMES for m in {*FIRST_MOMENTS, "latency_ms_p50"}}
    return [f"missing: {name}" for name in wanted - {figure[:3] for figure in figures(stored)}]


def left_over(workers: set[psutil.Process]) -> list[str]:
    """Workers that outlive the command by more than a moment."""
    _, alive = psutil.wait_procs(workers, timeout=GONE_S)
    return [f"left: process {worker.pid}" for worker in alive if worker.status() != psutil.STATUS_ZOMBIE]


def meant(name: tuple[str, str, str], stored: list[dict[str, Any]]) -> bool:
    """Whether all but the last figure of that name are such as `--resume` measures again: of another pace or state."""
    own = sorted(
        (r for r in stored if (r["backbone"], r["runtime"], r["metric"]) == name), key=lambda r: r["recorded_at"]
    )
    states = [ms for r in stored if r["runtime"] == name[1] and (ms := state_ms(r)) is not None]
    return all(
        TOO_FAR in r["source"]
        or SLOWER_STATE in r["source"]
        or ((ms := state_ms(r)) is not None and ms >= SLOWER * min(states))
        for r in own[:-1]
    )


def state_ms(record: dict[str, Any]) -> float | None:
    """What told the machine's state beside a figure; None: nothing did."""
    found = re.search(r"took, at that pace, ([\d.]+) ms", record["source"])
    return float(found[1]) if found else None


def page(result: dict[str, Any]) -> str:
    """The result as a short page."""
    again = max(0, *(one["medians"] - result["configurations"] for one in result["rounds"]))
    lines = [
        "# Killing `selector profile` at ten random moments",
        "",
        f"{result['date']}, {result['cpu']}, fingerprint `{result['fingerprint']}`, {result['configurations']} "
        f"configurations, {result['kills']} kills at moments from seed {result['seed']}. Each round is the same "
        "command with `--resume`; after one that came to its end first, the store was emptied. Undisturbed, it takes "
        f"{result['undisturbed_s']:.0f} s.",
        "",
        "Every finished figure was in the store, none by half, and no worker was left. None was there twice but those "
        "of a moment too far from the reference pace or of a slower state, which `--resume` measures again: up to "
        f"{again} medians in a round."
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
    lines += ["", "Made by `python benchmarks/profile_kill.py`.", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    # it takes no arguments: what is not understood, and --help, must not begin a run that overwrites results
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    sys.exit(main())
