"""How well `selector profile` and a script by timm's protocol repeat, and what it costs the one to repeat as the other.

    python benchmarks/profile_confidence.py      # a second: reads results/profile_pairs.json, of profile_grid.py

Both sides of profile_grid.py stop once the 95 % interval of a median's own samples is narrow enough, which knows what
that run saw: the peer's samples of a model are all of one stretch of seconds, those of the product are spread over its
run. What a figure is worth shows when it is taken again. So for every pair of runs that was committed, of whatever
protocol, on each side:

- how many configurations' medians repeat within 5 %, and within what the two runs' own intervals allow;
- within what half, 80 and 95 % of them repeat;
- the square of the ratio of the two sides: so many runs of the peer have a mean that repeats as well as one run of the
  product, if runs err independently; and how long these take, in their shortest form of 40 samples a model.

Two runs are one draw of a machine's mood, which all configurations share. So no pair has an interval here: what pairs
differ by is the spread. Whether a mean of several runs repeats better by the root of their number is checked with the
peer's runs on machines that have several pairs of a day. Writes results/profile_confidence.md.
"""

import argparse
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
AT_PACE = 5
"""The first protocol that gives figures at the machine's reference pace."""

PAGES = {2: "first_pair", 3: "second_pair", 7: "third_pair", 8: "fourth_pair", 9: "fifth_pair"}
"""What the pages of former pairs are called, by the pair's number."""

Logs = NDArray[np.float64]  # logarithms of medians in milliseconds


def main() -> int:
    """Compare all pairs, write the page and show it."""
    pairs = json.loads((RESULTS / "profile_pairs.json").read_text(encoding="utf-8"))
    text = page(pairs)
    (RESULTS / "profile_confidence.md").write_text(text, encoding="utf-8")
    print(text)
    return 0


def whole(pair: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The configurations whose medians all four runs brought, by name."""
    return {row["configuration"]: row for row in pair["rows"] if None not in (*row["ms"], *row["peer_ms"])}


def apart(pair: dict[str, Any], side: str) -> Logs:
    """How far the two runs lie apart, configuration by configuration: |ln|. `side` is "ms" or "peer_ms"."""
    return np.abs([np.log(row[side][0] / row[side][1]) for row in whole(pair).values()])


def told(pair: dict[str, Any], side: str) -> tuple[str, str]:
    """The middle of the half widths that a side told, and the share of configurations whose medians differ by no more
    than a difference of such intervals may.
    """
    widths, runs = ("half_width", "ms") if side == "ms" else ("peer_half_width", "peer_ms")
    rows = [row for row in whole(pair).values() if None not in row[widths]]
    if not rows:
        return "not kept", "–"
    held = [abs(np.log(row[runs][0] / row[runs][1])) <= hypot(*row[widths]) for row in rows]
    return f"{median(width for row in rows for width in row[widths]):.1%}", f"{np.mean(held):.0%}"


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
    rows = [whole(pair) for pair in pairs]
    names = sorted(set.intersection(*map(set, rows)))
    runs: Logs = np.log([[of[name]["peer_ms"][i] for name in names] for of in rows for i in (0, 1)])
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
        "Two runs each of `selector profile`'s default grid and of a script that follows timm's protocol, in turns, "
        "minutes apart (`benchmarks/profile_grid.py`): all pairs that were ever committed, of every protocol that the "
        "grid has had, on whatever host it was; ways of measuring that were tried and taken back are not among them. "
        "Each side stops a model at an interval of its own samples that is of the same width in a pair, and knows what "
        "that run saw. From protocol 5 on, figures of the grid are at the machine's reference pace, and the interval "
        "that it tells is wider by what is unsure about that; figures of the script are as timed. `1ae59194733e` is "
        "the machine on which the grid's gauges were made, that day.",
        "",
        "Medians that repeat within 5 %; the middle of the half widths that were told; and how many medians differ by "
        "no more than two such intervals may, which 95 % should (unstable figures of the grid included, whose "
        "intervals are wide):",
        "",
        "| pair | machine | protocol | configurations | grid, s | script, s | within 5 %: grid | script | half width: "
        "grid | script | held: grid | script |",
        "|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for n, pair in enumerate(pairs, 1):
        seconds = (" and ".join(f"{s:.0f}" for s in pair[side]) for side in ("wall_s", "peer_wall_s"))
        within = (f"{np.mean(apart(pair, side) <= WITHIN):.0%}" for side in ("ms", "peer_ms"))
        widths, held = zip(*(told(pair, side) for side in ("ms", "peer_ms")), strict=True)
        lines.append(
            f"| {linked(n, len(pairs))} | {pair['date']}, {pair['cpu']}, `{pair['fingerprint']}` | "
            f"{pair['protocol']} | {len(whole(pair))} of {len(pair['rows'])} | "
            f"{' | '.join([*seconds, *within, *widths, *held])} |"
        )
    lines += [
        "",
        "Within what a share of the configurations repeat; the square of the ratio, which is how many runs of the "
        "script have a mean that repeats as well as one run of the grid, if runs err independently; and how many times "
        "as long as the grid these take, with 40 samples a model, over the runs of the pair. Below 1, the script "
        "repeats as well in less time. At 95 % a pair hangs on three models. What pairs differ by is the spread.",
        "",
        "| share | pair | grid | script | runs of the script | times as long |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for share in SHARES:
        found = [equal(pair, share) for pair in pairs]
        at_pace = [one for one, pair in zip(found, pairs, strict=True) if int(pair["protocol"]) >= AT_PACE]
        lines += [line(share, str(n), one) for n, one in enumerate(found, 1)]
        lines += [line(share, "middle of all", middle(found)), line(share, f"protocol {AT_PACE} on", middle(at_pace))]
    lines += [
        "",
        "Whether a mean of k of the script's runs repeats better by the root of k (0.71 and 0.58 times), on machines "
        "with several pairs of a day; their runs lie minutes to hours apart. Where the ratio is larger, runs do not "
        "err independently, and it takes more of them than is told above:",
        "",
        "| machine | runs | share | one run | mean of two | ratio | mean of three | ratio |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
        *several(pairs),
        "",
        "A script that went over its models several times, a few samples each, would repeat better, too; that is what "
        "the grid does. The script's medians here are of all its samples, its time is that of its first 40. It uses "
        "the C library's allocator as it comes, which the grid does not.",
        "",
        "Made by `python benchmarks/profile_confidence.py`.",
        "",
    ]
    return "\n".join(lines)


def linked(n: int, last: int) -> str:
    """A pair's number, with its page where there is one: the newest is the grid's own."""
    name = PAGES.get(n, "")
    return f"[{n}](profile_grid{'_' * bool(name)}{name}.md)" if name or n == last else str(n)


def line(share: float, who: str, one: dict[str, float]) -> str:
    """Of the second table."""
    return (
        f"| {share:.0%} | {who} | {one['ours']:.1%} | {one['theirs']:.1%} | {one['runs']:.1f} | "
        f"{one['least']:.1f} to {one['most']:.1f} |"
    )


def middle(found: list[dict[str, float]]) -> dict[str, float]:
    """The median of each column."""
    return {how: median(one[how] for one in found) for how in found[0]}


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
    # it takes no arguments: what is not understood, and --help, must not begin a run that overwrites results
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    sys.exit(main())
