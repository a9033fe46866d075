"""`selector profile BACKBONE --by-block`: where one backbone spends its work."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from selector.cli.console import stdout_console
from selector.errors import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

    from rich.table import Table

    from selector.hardware.machine import Machine
    from selector.profiling.block_costs import BlockCosts
    from selector.profiling.plan import Grid


def by_block(grid: "Grid", machine: "Machine", output: "Path | None", *, as_json: bool) -> None:
    """Measure, then print a table or JSON; an output that ends in .html is a page with a picture, another one JSON."""
    from selector.profiling.block_costs import block_costs
    from selector.profiling.models import WEIGHTS_NOTE
    from selector.profiling.plan import plan
    from selector.profiling.protocol import PROTOCOL_VERSION
    from selector.profiling.workers import ask_worker
    from selector.reporting.output import STDOUT, opened_output

    job, *others = plan(grid, machine)
    if others:
        raise InvalidInput("--by-block is about one backbone, at one resolution and thread count")
    task = {"kind": "blocks", "backbone": job.backbone, "resolution": job.resolution, "threads": job.threads}
    place = output or (STDOUT if as_json else None)
    if place is None:
        _print(block_costs(job.backbone, job.resolution, job.threads, ask_worker(task)))
        return
    with opened_output(place) as write:  # before the work: an unwritable place loses none
        costs = block_costs(job.backbone, job.resolution, job.threads, ask_worker(task))
        if place.suffix.lower() in (".html", ".htm"):
            from selector.reporting.profile_page import render_blocks

            how = "torch-eager fp32, batch 1, blocks run and timed one after another in whole passes"
            settled = "" if costs.total.stable else f" It is unstable: {costs.total.reason}."
            write(
                render_blocks(
                    costs,
                    f"{how}; {costs.resolution} px, {costs.threads} threads, {costs.total.n} passes of "
                    f"{costs.total.p50:.2f} ms (median), {WEIGHTS_NOTE}, protocol {PROTOCOL_VERSION}.{settled} "
                    "MACs are torchvision's convention.",
                )
            )
            _print(costs)
        else:
            write(json.dumps({"schema_version": 1, "protocol": PROTOCOL_VERSION, **asdict(costs)}, indent=2) + "\n")


def _print(costs: "BlockCosts") -> None:
    stdout_console().print(table(costs))


def table(costs: "BlockCosts") -> "Table":
    """Blocks with their counts, time and part of the whole."""
    from rich import box
    from rich.table import Table

    mark = "" if costs.total.stable else "~"
    title = (
        f"{costs.backbone}, {costs.resolution} px, torch-eager fp32, threads {costs.threads}: "
        f"{mark}{costs.total.p50:.2f} ms a pass"
    )
    made = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    made.add_column("block", overflow="fold")
    for heading in ("MACs M", "act. M", "params M", "ms", "MACs", "time"):
        made.add_column(heading, justify="right", no_wrap=True)
    for block, (macs, _, time) in zip(costs.blocks, costs.shares(), strict=True):
        made.add_row(
            f"{block.number} {block.name}",
            f"{block.macs / 1e6:,.1f}",
            f"{block.activations / 1e6:,.3f}",
            f"{block.params / 1e6:,.3f}",
            f"{block.ms:,.3f}",
            f"{macs:.1%}",
            f"{time:.1%}",
        )
    return made
