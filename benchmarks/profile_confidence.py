"""How well `selector profile` and a script by timm's protocol repeat, and what it costs the one to repeat as the other.

    python benchmarks/profile_confidence.py      # a second: reads results/profile_pairs.json, of profile_grid.py

Both sides of profile_grid.py stop once a median's 95 % interval, by the same formula, is narrow enough. The formula
knows what one run saw: the peer's samples of a model are all of one stretch of seconds, those of the product are spread
over its run. What a figure is worth shows when it is taken again. So for every pair of runs that there is, of whatever
protocol, on each side:

- how many configurations' medians repeat within 5 %, and within what the two runs' own intervals allow;
- within what half, 80 and 95 % of them repeat;
- the square of the ratio of the two sides: so many runs of the peer have a mean that repeats as well as one run of the
  product, if runs err independently; and how long these take, in their shortest form of 40 samples a model.

Two runs are one draw of a machine's mood, which all configurations share. So no pair has an interval here: what pairs
differ by is the spread. Whether a mean of several runs repeats better by the root of their number is checked with the
peer's runs on machines that have several pairs of a day. Writes results/profile_confidence.md.
"""

import json
import sys
from itertools import combinations
from math import hypot
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESULTS = Path(__file__).parent / "results"
SHARES = (0.5, 0.8, 0.95)
WITHIN = 0.05

Logs = NDArray[np.float64]  # logarithms of medians in milliseconds


def main() -> int:
    """Compare all pairs, write the page and show it."""
    pairs = json.loads((RESULTS / "profile_pairs.json").read_text(encoding="utf-8"))
    text = page(pairs)
    (RESULTS / "profile_confidence.md").write_text(text)
    print(text)
    return 0


def apart(pair: dict[str, Any], side: str) -> Logs:
    """How far the two runs lie apart, configuration by configuration: |ln|. Of those alone that all runs brought."""
    return np.abs(np.diff(logs(pair, side), axis=0)[0])


def logs(pair: dict[str, Any], side: str) -> Logs:
    """Of the pair's two runs, [2, configurations]; `side` is "ms" or "peer_ms"."""
    whole = [row for row in pair["rows"] if None not in (*row["ms"], *row["peer_ms"])]
    return np.log(np.array([row[side] for row in whole], dtype=np.float64).T)


def held(pair: dict[str, Any], side: str) -> str:
    """The share of configurations whose medians differ by no more than a difference of the told intervals may."""
    widths, runs = ("half_width", "ms") if side == "ms" else ("peer_half_width", "peer_ms")
    rows = [row for row in pair["rows"] if None not in (*row[runs], *row[widths])]
    if not rows:
        return "not told"
    inside = [abs(np.log(row[runs][0] / row[runs][1])) <= hypot(*row[widths]) for row in rows]
    return f"{np.mean(inside):.0%}"


def equal(pair: dict[str, Any], share: float) -> dict[str, float]:
    """Within what a share of the configurations repeat, and what it costs the peer to repeat as the product does."""
    ours, theirs = (float(np.quantile(apart(pair, side), share)) for side in ("ms", "peer_ms"))
    runs = (theirs / ours) ** 2
    walls = [peer / wall for peer in pair["peer_wall_fixed_s"] for wall in pair["wall_s"]]
    return {"ours": ours, "theirs": theirs, "runs": runs, "least": runs * min(walls), "most": runs * max(walls)}


def means(pairs: list[dict[str, Any]], k: int, share: float) -> float | None:
    """Within what a share of the configurations repeat where each figure is the mean of `k` of the peer's runs: the
    mean over all ways to take two times `k` runs that have none in common. None where there are too few.
    """
    runs = np.concatenate([logs(pair, "peer_ms") for pair in pairs])
    found = [
        float(np.quantile(np.abs(runs[list(a)].mean(axis=0) - runs[list(b)].mean(axis=0)), share))
        for a, b in combinations(combinations(range(len(runs)), k), 2)
        if not set(a) & set(b)
    ]
    return sum(found) / len(found) if found else None


def page(pairs: list[dict[str, Any]]) -> str:
    """What the pairs come to, as a short page."""
    lines = [
        "# How well the grid and a script by timm's protocol repeat, and what equal repeatability costs",
        "",
        "Two runs each of `selector profile`'s default grid (48 configurations) and of a script that follows timm's "
        "protocol, in turns, minutes apart (`benchmarks/profile_grid.py`): all pairs that came to their end, of every "
        "protocol that the grid has had, on whatever host it was. Figures of the grid are at the machine's reference "
        "pace from protocol 5 on, those of the script as timed. Each side stops a model at an interval of its median, "
        "of the same width and by the same formula in a pair, which knows what that run saw.",
        "",
        "Medians that repeat within 5 %, and within what the two runs' own 95 % intervals allow (those of the grid "
        "include unstable ones, whose intervals are wide; the script's were not always written down):",
        "",
        "| pair | machine | protocol | grid, s | script, s | within 5 %: grid | script | as told: grid | script |",
        "|---:|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for n, pair in enumerate(pairs, 1):
        seconds = (" and ".join(f"{s:.0f}" for s in pair[side]) for side in ("wall_s", "peer_wall_s"))
        within = (f"{np.mean(apart(pair, side) <= WITHIN):.0%}" for side in ("ms", "peer_ms"))
        lines.append(
            f"| {n} | {pair['date']}, {pair['cpu']}, `{pair['fingerprint']}` | {pair['protocol']} | "
            f"{' | '.join(seconds)} | {' | '.join(within)} | {held(pair, 'ms')} | {held(pair, 'peer_ms')} |"
        )
    lines += [
        "",
        "Within what a share of the configurations repeat; the square of the ratio, which is how many runs of the "
        "script have a mean that repeats as well as one run of the grid, if runs err independently; and how many times "
        "as long as the grid these take, with 40 samples a model, over the runs of the pair. Below 1, the script "
        "repeats as well in less time. Of 48 configurations 95 % leave out two, so that those are luck; what pairs "
        "differ by is the spread.",
        "",
        "| share | pair | grid | script | runs of the script | times as long |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for share in SHARES:
        told = [equal(pair, share) for pair in pairs]
        lines += [
            f"| {share:.0%} | {n} | {one['ours']:.1%} | {one['theirs']:.1%} | {one['runs']:.1f} | "
            f"{one['least']:.1f} to {one['most']:.1f} |"
            for n, one in enumerate(told, 1)
        ]
        usual = {how: median(one[how] for one in told) for how in told[0]}
        lines.append(
            f"| {share:.0%} | middle of all | {usual['ours']:.1%} | {usual['theirs']:.1%} | {usual['runs']:.1f} | "
            f"{usual['least']:.1f} to {usual['most']:.1f} |"
        )
    lines += [
        "",
        "Whether a mean of k of the script's runs repeats better by the root of k (0.71 and 0.58 times), on machines "
        "with several pairs of a day; their runs lie minutes to hours apart:",
        "",
        "| machine | runs | share | one run | mean of two | ratio | mean of three | ratio |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
        *several(pairs),
        "",
        "A script that went over its models several times, a few samples each, would repeat as the grid does; that is "
        "what the grid is. The script's medians here are of all its samples, its time is that of its first 40.",
        "",
        "Made by `python benchmarks/profile_confidence.py`.",
        "",
    ]
    return "\n".join(lines)


def several(pairs: list[dict[str, Any]]) -> list[str]:
    """Lines of the last table."""
    machines: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for pair in pairs:
        machines.setdefault((pair["fingerprint"], pair["date"]), []).append(pair)
    lines = []
    for (name, date), own in machines.items():
        for share in SHARES if len(own) > 1 else ():
            one, *more = (means(own, k, share) for k in (1, 2, 3))
            assert one is not None
            ratios = [f"{of:.1%} | {of / one:.2f}" if of is not None else "– | –" for of in more]
            lines.append(f"| `{name}`, {date} | {2 * len(own)} | {share:.0%} | {one:.1%} | {' | '.join(ratios)} |")
    return lines


if __name__ == "__main__":
    sys.exit(main())
