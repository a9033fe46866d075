"""The progress bar of `selector profile`."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from selector.profiling.jobs import Job


class Progress:
    """A bar on stderr. It draws only when it is told something, so that no thread of it runs during a measurement."""

    def __init__(self, console: "Console", *, shown: bool) -> None:
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
            transient=True,
            disable=not shown,
        )
        self._task = self._bar.add_task("starting", total=None)
        self._done = 0
        self._underway: dict[Job, float] = {}

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take the bar away."""
        self._bar.stop()

    def planned(self, steps: int) -> None:
        """So many steps will be taken in all."""
        self._bar.update(self._task, total=steps, refresh=True)

    def at(self, job: "Job", doing: str, progress: float) -> None:
        """`job` is being worked on."""
        self._underway[job] = progress
        self._draw(f"{job.backbone}: {doing}")

    def done(self, steps: int) -> None:
        """So many more steps are done."""
        self._done += steps
        self._draw(None)

    def _draw(self, description: str | None) -> None:
        completed = self._done + sum(self._underway.values())
        self._bar.update(self._task, completed=completed, refresh=True)
        if description is not None:
            self._bar.update(self._task, description=description, refresh=True)
