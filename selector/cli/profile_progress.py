"""What `selector profile` shows on stderr while it runs: a table that fills up, and a bar with the time left."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from selector.evidence.record import Record
    from selector.profiling.jobs import Failure, Job

MOST_ROWS = 16
REDRAW_S = 0.2  # drawing takes a hundredth of a second, and the next window waits for it
SHORT_S = 2.0  # what ends sooner has no bar
TIMES = ("latency_ms_p50", "train_step_ms", "ms_per_sample")
COLUMNS = (
    ("load_ms", "load"),
    ("memory_rss_peak_bytes", "peak MB"),
    ("agreement_top1", "= fp32 %"),
)

Key = tuple[str, str, int | None, int | None]  # backbone, how, pixels, threads


class Progress:
    """A table and a bar. They are drawn when there is something new and not by a thread, which would be measured too.

    `failures` is read at each drawing: the session's own list, once there is one.
    """

    def __init__(self, console: "Console", *, shown: bool) -> None:
        from rich.live import Live
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left:"),
            TimeRemainingColumn(),
            console=console,
            auto_refresh=False,
            disable=not shown,
        )
        self._console = console
        self._shown = shown
        self._task = self._bar.add_task("starting", total=None)
        self._done = 0
        self._drawn_at = 0.0
        self._underway: dict[Job, float] = {}
        self._rows: dict[Key, dict[str, Record]] = {}  # the newest last
        self.failures: Sequence[Failure] = ()
        self._live = Live(console=console, auto_refresh=False, transient=True, get_renderable=self._render)

    def __enter__(self) -> "Progress":
        if self._shown:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take it away."""
        self._live.stop()

    def planned(self, steps: int) -> None:
        """So many steps will be taken in all."""
        self._bar.update(self._task, total=steps)
        self._draw()

    def at(self, job: "Job", doing: str, progress: float) -> None:
        """`job` is being worked on."""
        self._underway[job] = progress
        self._bar.update(self._task, description=f"{job.backbone}: {doing}")
        self._draw()

    def done(self, steps: int) -> None:
        """So many more steps are done."""
        self._done += steps
        self._draw(now=True)

    def finished(self, records: Sequence["Record"]) -> None:
        """These figures are there."""
        for record in records:
            key = key_of_record(record)
            figures = self._rows.pop(key, {})
            figures[record.figure.metric.name] = record
            self._rows[key] = figures
        self._draw(now=True)

    def table(self, most_rows: int = MOST_ROWS) -> "Table":
        """What is finished and what is underway, the newest last; `…` stands for rows that found no room."""
        from rich.table import Table
        from rich.text import Text

        from selector.profiling.tables import cell

        made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for heading in ("backbone", "how"):
            made.add_column(heading)  # narrower where the terminal is, by what `named` says
        for heading in ("px", "threads", "ms", *(heading for _, heading in COLUMNS)):
            made.add_column(heading, justify="right", no_wrap=True)
        failed = {key_of_job(failure.job): failure.outcome for failure in self.failures if failure.whole}
        underway = {key_of_job(job): progress for job, progress in self._underway.items() if progress > 0}
        rows: dict[Key, dict[str, Record]] = {**{key: {} for key in (*failed, *underway)}, **self._rows}
        if len(rows) > most_rows:
            made.add_row("…")
        for key, figures in list(rows.items())[-most_rows:]:
            taken = next((figures[metric] for metric in TIMES if metric in figures), None)
            waiting = f"{underway[key]:.0%}" if key in underway else "–"
            time_cell = f"[red]{failed[key]}[/]" if key in failed else _time(taken) if taken else waiting
            backbone, how, pixels, threads = key
            rest = (cell(figures[metric]) if metric in figures else "" for metric, _ in COLUMNS)
            # a row is a line: two would not fit the height
            named = [Text(text, no_wrap=True, overflow="ellipsis") for text in (backbone, how)]
            made.add_row(*named, str(pixels or ""), str(threads or ""), time_cell, *rest)
        return made

    def _render(self) -> "RenderableType":
        from rich.console import Group

        bar = self._bar.get_renderable()
        if not (self._rows or self.failures):
            return bar
        room = self._console.height - 7  # the table's head, the bar, and a line of the shell's
        return Group(self.table(max(3, min(MOST_ROWS, room))), bar)

    def _draw(self, *, now: bool = False) -> None:
        if not self._shown or not (now or time.monotonic() - self._drawn_at >= REDRAW_S):
            return
        self._bar.update(self._task, completed=self._done + sum(self._underway.values()))
        self._live.refresh()
        self._drawn_at = time.monotonic()


class Reading:
    """A bar for the files that are looked through before the work, where that takes longer than SHORT_S."""

    def __init__(self, console: "Console", *, shown: bool) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("left:"),
            TimeRemainingColumn(),
            console=console,
            disable=not (shown and console.is_terminal),
            transient=True,
        )
        self._task = self._bar.add_task("reading weights and images", total=None)
        self._since = time.monotonic()

    def __enter__(self) -> "Reading":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar.live.is_started:
            self._bar.stop()

    def told(self, done: int, of: int) -> None:
        """So many of the files are read."""
        self._bar.update(self._task, completed=done, total=of)
        if time.monotonic() - self._since >= SHORT_S:
            self._bar.start()


def _time(record: "Record") -> str:
    from selector.profiling.tables import cell

    return cell(record) + ("/image" if record.figure.metric.name == "ms_per_sample" else "")


def key_of_job(job: "Job") -> Key:
    """The row of a job. Throughput has one a batch size, and one without while it is underway."""
    from selector.profiling.jobs import ThroughputJob, TrainingJob

    how = f"{job.runtime} {job.precision}"
    if isinstance(job, TrainingJob):
        how += f", training {job.freeze.name}"
    elif isinstance(job, ThroughputJob):
        how += ", throughput"
    return job.backbone, how, job.resolution, job.threads


def key_of_record(record: "Record") -> Key:
    """The row of a figure."""
    at = record.conditions
    how = f"{at.runtime} {at.precision}"
    if at.freeze is not None:
        how += f", training {at.freeze.name}"
    elif record.figure.metric.name == "ms_per_sample":
        how += f", batch {at.batch_size}"
    return at.backbone, how, at.resolution, at.threads
