"""Training steps of `selector tune` with freed memory kept and with it given back, which is glibc's default.

    python benchmarks/tune_step.py          about five minutes

Each run is a process of its own that trains the tail of `tf_efficientnet_lite0` for 40 steps of 32 images from
features of one image, with the environment of a worker of `tune` or with the same one without `KEEP_FREED_MEMORY`; the
two take turns. Writes `results/tune_step.json` and `.md`.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from tune_data import BACKBONE, write_weights

RESULTS = Path(__file__).parent / "results"
SETUPS = (("last-1", 224), ("last-3", 224), ("last-5", 224), ("last-5", 288))
RUNS, IMAGES, EPOCHS = 3, 640, 2


def main() -> None:
    """Measure and write, or be one run."""
    if len(sys.argv) > 1:
        print(json.dumps(run(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))))
        return
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        weights = write_weights(Path(folder)).parent
        for freeze, resolution in SETUPS:
            runs: dict[str, list[dict[str, float]]] = {"kept": [], "given back": []}
            for _ in range(RUNS):
                for name, results in runs.items():
                    results.append(_process(freeze, resolution, weights, kept=name == "kept"))
            found[f"{freeze}, {resolution} px"] = runs
            print(freeze, resolution, {n: [round(r["step_s"], 3) for r in rs] for n, rs in runs.items()}, flush=True)
    (RESULTS / "tune_step.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (RESULTS / "tune_step.md").write_text(_table(found), encoding="utf-8")
    print((RESULTS / "tune_step.md").read_text(encoding="utf-8"))


def _process(freeze: str, resolution: int, weights: Path, *, kept: bool) -> dict[str, float]:
    from selector.profiling.workers import KEEP_FREED_MEMORY

    environment = {k: v for k, v in os.environ.items() if k not in KEEP_FREED_MEMORY}
    done = subprocess.run(
        [sys.executable, __file__, freeze, str(resolution), str(weights)],
        env={"OMP_WAIT_POLICY": "PASSIVE", **environment, **(KEEP_FREED_MEMORY if kept else {})},
        stdout=subprocess.PIPE,
        check=True,
    )
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def run(freeze: str, resolution: int, weights: Path) -> dict[str, float]:
    """One run: median seconds a step, page faults a step, peak memory in bytes."""
    import numpy as np
    import torch

    from selector.backbones.depth import FreezeDepth
    from selector.tuning.model import WeightsFrom, build, split_model
    from selector.tuning.recipe import Recipe
    from selector.tuning.trainer import Examples, train

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    split = split_model(build(BACKBONE, 4, WeightsFrom(weights), dropout=0.3), FreezeDepth.parse(freeze))
    torch.manual_seed(0)
    with torch.inference_mode():
        features = split.prefix(torch.randn(1, 3, resolution, resolution)).numpy()[0]

    class Same:
        """Features of one image for all."""

        views = 1

        def batch(self, positions: np.ndarray, views: np.ndarray) -> torch.Tensor:
            del views
            return torch.from_numpy(np.repeat(features[None], len(positions), axis=0))

    rows = np.arange(IMAGES)
    examples = Examples(rows % 4, rows, np.empty(0, dtype=np.int64), 4)
    recipe = Recipe(BACKBONE, freeze=freeze, resolution=resolution, epochs=EPOCHS, lr=1e-3)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    trained = train(split, Same(), examples, recipe)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    steps = EPOCHS * IMAGES // recipe.batch_size
    return {
        "step_s": trained.step_seconds,
        "faults_a_step": (usage.ru_minflt - before) / steps,
        "peak_bytes": usage.ru_maxrss * 1024,
    }


def _table(found: dict[str, Any]) -> str:
    lines = [
        "# A training step with freed memory kept, and given back to the kernel",
        "",
        f"`{BACKBONE}`, 32 images a step, {len(os.sched_getaffinity(0))} cores, {RUNS} runs each in turns; medians "
        "and the range over the runs. Made by `benchmarks/tune_step.py`.",
        "",
        "| trained | kept, s | given back, s | given back / kept | page faults a step | peak memory, MB |",
        "|---|---|---|---|---|---|",
    ]
    for name, runs in found.items():
        kept, back = ([r["step_s"] for r in runs[n]] for n in ("kept", "given back"))
        ratios = sorted(b / k for k, b in zip(kept, back, strict=True))
        faults, peaks = (
            ", ".join(f"{median(r[key] for r in runs[n]) / unit:,.0f}" for n in ("kept", "given back"))
            for key, unit in (("faults_a_step", 1), ("peak_bytes", 1e6))
        )
        lines.append(
            f"| {name} | {_range(kept)} | {_range(back)} | {median(ratios):.2f} ({ratios[0]:.2f} – {ratios[-1]:.2f}) "
            f"| {faults} | {peaks} |"
        )
    return "\n".join(lines) + "\n"


def _range(values: list[float]) -> str:
    return f"{median(values):.3f} ({min(values):.3f} – {max(values):.3f})"


if __name__ == "__main__":
    # it takes no arguments: what is not understood, and --help, must not begin a run that overwrites results
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    main()
