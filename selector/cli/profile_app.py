"""`selector profile` and its subcommands: what follows `profile` is measured, unless it is one of their names."""

import typer
from typer.core import TyperGroup

from selector.cli.profile import profile
from selector.cli.profile_show import show

DEFAULT = "run"


class MeasuresByDefault(TyperGroup):
    """A group whose first command is meant where none is named: `selector profile resnet50` measures."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]  # typer vendors click: its Context has no public name
        """Put the default command's name before arguments that begin with no command."""
        return super().parse_args(ctx, args if args and args[0] in self.commands else [DEFAULT, *args])


app = typer.Typer(
    cls=MeasuresByDefault,
    help="Measure backbones on this machine, and show what was measured.",
    add_completion=False,
)
app.command(DEFAULT)(profile)
app.command("show")(show)
