"""Trials an hour with the activation cache and without it: same search, same seed, same images.

    python benchmarks/tune_cache.py --freeze head                 about 10 minutes
    python benchmarks/tune_cache.py --freeze last-3 --trials-without 20   about half an hour
    python benchmarks/tune_cache.py --views                       some minutes: what a finite number of views costs

Runs `selector tune --freeze DEPTH` on a stratified part of elpv-dataset with an empty cache for 20 trials, and the
same with `--cache-gb 0` for the first 3 of them, or as many as `--trials-without` says, and divides the trials by the
time from the start of the screening to the end of the search: the caching itself is in it. The budget is so long that
no trial is cut short. Beside it stand the seconds of the first three trials in both, and the test macro-F1 of the
winners with its interval. `--only` runs one of the two again. Writes `results/tune_cache.json` and `.md`.

`--views` trains one recipe on random crops, from 1, 2, 4 and 8 cached views and from views drawn anew for every
step, three seeds each, and compares the validation scores.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from tune_data import BACKBONE, write_table, write_weights

RESULTS = Path(__file__).parent / "results"
JSON, MARKDOWN = RESULTS / "tune_cache.json", RESULTS / "tune_cache.md"
SELECTOR = [sys.executable, "-c", "from selector.cli.main import main; main()"]
IMAGES = 600
TRIALS, WITHOUT = 20, 3
VIEWS = (1, 2, 4, 8)


def main() -> None:
    """Measure, and write both results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--freeze", choices=["head", "last-3"])
    parser.add_argument("--views", action="store_true")
    parser.add_argument("--budget", type=int, default=7200)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--trials-without", type=int, default=WITHOUT)
    parser.add_argument("--only", choices=["with the cache", "without"])
    asked = parser.parse_args()
    results = json.loads(JSON.read_text(encoding="utf-8")) if JSON.is_file() else {}
    with tempfile.TemporaryDirectory() as folder:
        table = write_table(Path(folder) / "data", images=asked.images)
        weights = write_weights(Path(folder) / "weights")
        if asked.freeze:
            for name, gigabytes, trials in (("with the cache", "20", TRIALS), ("without", "0", asked.trials_without)):
                if asked.only not in (None, name):
                    continue
                limits = (gigabytes, asked.budget, trials)
                found = _search(table, weights, asked.freeze, *limits, Path(folder) / name)
                results.setdefault(asked.freeze, {})[name] = {**found, "images": asked.images}
                print(asked.freeze, name, {k: found[k] for k in ("trials", "hours", "trials_an_hour")})
        if asked.views:
            results["views"] = {"images": asked.images, **_price_of_views(table, weights, Path(folder) / "views")}
    RESULTS.mkdir(exist_ok=True)
    JSON.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    MARKDOWN.write_text(_table(results), encoding="utf-8")
    print(MARKDOWN.read_text(encoding="utf-8"))


def _search(
    table: Path, weights: Path, freeze: str, gigabytes: str, budget: int, trials: int, home: Path
) -> dict[str, Any]:
    done = subprocess.run(
        [
            *SELECTOR,
            *("tune", str(table), "--budget", f"{budget}s", "--backbones", BACKBONE, "--freeze", freeze, "--json"),
            *("--weights", str(weights.parent), "--cache-gb", gigabytes, "--max-trials", str(trials)),
        ],
        env={**os.environ, "SELECTOR_HOME": str(home), "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.PIPE,
        check=True,
    )
    document = json.loads(done.stdout)
    phases = document["budget"]["phases"]
    hours = (phases["screening"] + phases["search"]) / 3600
    finished = [t for t in document["trials"] if t["outcome"] in ("complete", "pruned")]
    return {
        "trials": len(finished),
        "complete": sum(t["outcome"] == "complete" for t in finished),
        "hours": hours,
        "trials_an_hour": len(finished) / hours,
        "test_macro_f1": document["winner"]["test"]["macro_f1"],
        "budget": document["budget"],
        "seconds_a_trial": [t["seconds"] for t in finished],
    }


def _price_of_views(table: Path, weights: Path, folder: Path) -> dict[str, Any]:
    """Validation macro-F1 of one recipe from K cached views and from fresh ones, three seeds each."""
    from dataclasses import replace

    from selector.tuning.data.dataset import load_dataset
    from selector.tuning.data.split import Split
    from selector.tuning.features import CachedFeatures
    from selector.tuning.jobs.common import Task, save_dataset
    from selector.tuning.jobs.fill import fill_cache
    from selector.tuning.jobs.trial import prepare
    from selector.tuning.recipe import Recipe
    from selector.tuning.trainer import Examples, train

    folder.mkdir(parents=True)
    dataset = load_dataset(table)
    save_dataset(dataset, folder / "data.json")
    cached = Task(folder, weights.parent, False, folder / "activations", 20 * 1024**3, len(os.sched_getaffinity(0)))
    live = replace(cached, cache_limit=0)
    rows = cached.rows(Split.TRAIN), cached.rows(Split.VALIDATION)
    examples = Examples(cached.labels, *rows, len(dataset.classes))
    recipe = Recipe(
        BACKBONE, freeze="last-1", resolution=160, lr=1e-3, head_factor=1.0, strength=0.5, epochs=10,
        schedule="warmup-cosine", class_weights="sqrt", weight_decay=0.05,
    )  # fmt: skip
    found: dict[str, Any] = {}
    for views in (*VIEWS, 1_000_000):
        task = live if views > max(VIEWS) else cached
        drawn = replace(recipe, views=views)
        if task is cached:
            depths = [prepare(task, drawn)[0].frozen_blocks]
            fill_cache(task, {"recipe": drawn.as_json(), "depths": depths, "seconds": 3600.0}, lambda event: None)
        scores, seconds = [], []
        for seed in range(3):
            split, source = prepare(task, replace(drawn, seed=seed))
            assert isinstance(source, CachedFeatures) == (task is cached)
            result = train(split, source, examples, replace(drawn, seed=seed))
            scores.append(result.macro_f1)
            seconds.append(result.seconds)
        name = "fresh" if task is live else str(views)
        found[name] = {"macro_f1": scores, "seconds": float(np.mean(seconds))}
        print(name, found[name])
    return found


def _table(results: dict[str, Any]) -> str:
    lines = [
        "# The activation cache: trials an hour with it and without it",
        "",
        f"A stratified part of elpv-dataset, `{BACKBONE}`, 224 px, {len(os.sched_getaffinity(0))} cores; same space, "
        "sampler and seed; the time includes screening and caching. A run of three trials has not the mix of twenty: "
        "what the same first three took in both stands beside the ratio. Each depth was measured on a machine of its "
        "own: their rates do not compare. "
        "Made by `benchmarks/tune_cache.py`.",
        "",
        "| depth | cache | images | trials | an hour | ratio | first three | test macro-F1 (95 % interval) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for freeze in ("head", "last-3"):
        if freeze not in results:
            continue
        ratio = results[freeze]["with the cache"]["trials_an_hour"] / max(
            results[freeze]["without"]["trials_an_hour"], 1e-9
        )
        for name, r in results[freeze].items():
            score = r["test_macro_f1"]
            first = ", ".join(f"{s:.0f} s" for s in r["seconds_a_trial"][:3])
            shown = f"{ratio:.1f} ×" if name == "with the cache" else ""
            lines.append(
                f"| {freeze} | {name} | {r['images']} | {r['trials']} | {r['trials_an_hour']:.0f} | {shown} | {first} "
                f"| {score['value']:.3f} ({score['low']:.3f} – {score['high']:.3f}) |"
            )
    if "views" in results:
        lines += [
            "",
            f"The price of a finite number of views of {results['views']['images']} images (random crops of P5 at half "
            "strength, last block trained, 160 px, three seeds): validation macro-F1, mean and deviation, and seconds "
            "of training.",
            "",
            "| views | macro-F1 | seconds |",
            "|---|---|---|",
        ]
        lines += [
            f"| {name} | {mean(r['macro_f1']):.3f} ± {stdev(r['macro_f1']):.3f} | {r['seconds']:.0f} |"
            for name, r in results["views"].items()
            if name != "images"
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
