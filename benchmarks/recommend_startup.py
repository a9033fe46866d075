"""How long `selector recommend` and `estimate` take, and how much memory, beside `python -c "import torch"`.

    python benchmarks/recommend_startup.py [--rounds 15]

Each round starts every command once, in turn, so that what else the machine does touches all of them alike; the first
round warms the disk's cache and is not counted. Wall time is taken around each process, peak memory is the kernel's
count of its resident set. Writes `results/recommend_startup.json` and `.md` beside this file.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from selector.evidence.record import Conditions, Provenance, Record
from selector.evidence.store import open_store
from selector.hardware.machine import detect

RESULTS = Path(__file__).parent / "results"
SELECTOR = [sys.executable, "-c", "from selector.cli.main import main; main()"]
RECOMMEND = [*SELECTOR, "recommend", "--hardware", "edge", "--data-size", "5000", "--json"]
ESTIMATE = [*SELECTOR, "estimate", "--all", "--hardware", "raspberry-pi-4", "--json"]
IMPORT_TORCH = "import torch"
STORED = 400  # figures: about what profiling a dozen backbones at four depths leaves behind
BUDGET_S = {"recommend": 1.5, "recommend with a store": 1.5, "estimate --all": 1.5, "help": 0.5}
BUDGET_MB = 300


def main() -> None:
    """Measure, print, and write both results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="counted rounds")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), rounds)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "recommend_startup.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    text = table(result)
    (RESULTS / "recommend_startup.md").write_text(text, encoding="utf-8")
    print(text)


def measure(folder: Path, rounds: int) -> dict[str, object]:
    """Time every command `rounds` times, interleaved."""
    empty, stored = folder / "empty", folder / "stored"
    fill(stored)
    commands: dict[str, tuple[list[str], Mapping[str, str]]] = {
        "recommend": (RECOMMEND, {"SELECTOR_HOME": str(empty)}),
        "recommend with a store": (RECOMMEND, {"SELECTOR_HOME": str(stored)}),
        "estimate --all": (ESTIMATE, {"SELECTOR_HOME": str(empty)}),
        "help": ([*SELECTOR, "--help"], {"SELECTOR_HOME": str(empty)}),
        "import torch": ([sys.executable, "-c", IMPORT_TORCH], {}),
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    megabytes: dict[str, float] = {}
    for number in range(rounds + 1):
        for name, (command, extra) in commands.items():
            wall, peak = run(command, extra)
            if number > 0:
                seconds[name].append(wall)
                megabytes[name] = max(megabytes.get(name, 0.0), peak)
    torch = statistics.median(seconds["import torch"])
    return {
        "schema_version": 1,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": detect().slug(),
        "python": platform.python_version(),
        "rounds": rounds,
        "store_figures": STORED,
        "commands": {
            name: {
                "median_s": statistics.median(times),
                "min_s": min(times),
                "max_s": max(times),
                "quartiles_s": statistics.quantiles(times, n=4)[::2],
                "ratio_to_import_torch": statistics.median(times) / torch,
                "peak_rss_mb": megabytes[name],
            }
            for name, times in seconds.items()
        },
    }


def fill(home: Path) -> None:
    """A store with figures of this machine, as after profiling; their values play no part."""
    home.mkdir()
    os.environ["SELECTOR_HOME"] = str(home)
    records = [
        Record.of(
            "latency_ms_p50",
            10.0 + number,
            Conditions("resnet18", "local", "onnxruntime", "1.20", "fp32", 64 + number, 1, 2),
            provenance=Provenance.MEASURED,
            source="made up for this benchmark, kept in a temporary folder",
            n=100,
            stable=True,
            fingerprint="0" * 12,
            protocol="1",
        )
        for number in range(STORED)
    ]
    with open_store() as store:
        store.add(records)


def run(command: list[str], extra: Mapping[str, str]) -> tuple[float, float]:
    """Wall seconds and peak resident megabytes of one process. Raises RuntimeError where it fails."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SELECTOR_")} | dict(extra)
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    begin = time.perf_counter()
    child = os.posix_spawn(command[0], command, environment, file_actions=quiet)
    _, status, usage = os.wait4(child, 0)
    wall = time.perf_counter() - begin
    if os.waitstatus_to_exitcode(status) != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return wall, usage.ru_maxrss * 1024 / 1e6  # Linux counts in KiB


def over_budget(commands: Mapping[str, Mapping[str, float]], name: str) -> bool:
    """Whether a command's median is beyond its seconds."""
    return commands[name]["median_s"] > BUDGET_S[name]


def table(result: dict[str, object]) -> str:
    """The result for people."""
    commands = result["commands"]
    assert isinstance(commands, dict)
    lines = [
        "# How long `selector recommend` and `selector estimate` take",
        "",
        f"{result['rounds']} interleaved rounds on {result['machine']}, Python {result['python']}, "
        f"{result['measured_at']}; made by `python benchmarks/recommend_startup.py`.",
        "",
        "| command | median s | quartiles s | min–max s | of `import torch` | peak MB |",
        "|---|---|---|---|---|---|",
    ]
    for name, c in commands.items():
        low, high = c["quartiles_s"]
        lines.append(
            f"| {name} | {c['median_s']:.2f} | {low:.2f}–{high:.2f} | {c['min_s']:.2f}–{c['max_s']:.2f} "
            f"| {c['ratio_to_import_torch']:.2f} × | {c['peak_rss_mb']:.0f} |"
        )
    limits = ", ".join(f"{name} ≤ {budget} s" for name, budget in BUDGET_S.items())
    over = [f"{name} takes {commands[name]['median_s']:.2f} s" for name in BUDGET_S if over_budget(commands, name)]
    over += [
        f"{name} takes {commands[name]['peak_rss_mb']:.0f} MB"
        for name in BUDGET_S
        if commands[name]["peak_rss_mb"] > BUDGET_MB
    ]
    lines += [
        "",
        f"Budget: {limits}, each ≤ {BUDGET_MB} MB: {'not kept: ' + '; '.join(over) if over else 'kept'}.",
        "",
        f"Tests hold that none of them imports torch. The second row's store holds {result['store_figures']} measured",
        "figures; estimate is asked for the whole catalog on a Raspberry Pi 4, every runtime and precision.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
