"""The command `selector`: puts the commands together and turns errors into messages and exit codes.

Commands import what they need inside their functions, so that `selector --help` answers at once.
"""

import sys
from io import TextIOWrapper

import typer

from selector.cli import (
    catalog,
    estimate,
    evidence,
    hardware,
    hardware_calibrate,
    probe,
    profile_app,
    recommend,
    report,
    runtimes,
)
from selector.cli.options import Debug
from selector.cli.predict import predict
from selector.cli.tune import tune
from selector.errors import SelectorError

app = typer.Typer(
    name="selector",
    help="Which pretrained backbone to take, how deep to freeze it and where to run it; every figure with its source.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def root(debug: Debug = False) -> None:
    """Which pretrained backbone to take, how deep to freeze it and where to run it; every figure with its source."""


app.command()(recommend.recommend)
app.command()(catalog.catalog)
app.command()(estimate.estimate)
app.command()(runtimes.runtimes)
app.command(cls=report.Several)(report.report)
app.command()(tune)
app.command()(predict)
app.add_typer(evidence.app, name="evidence")
hardware.app.command("calibrate")(hardware_calibrate.calibrate)
hardware.app.command("plan")(hardware_calibrate.plan)
hardware.app.command("import-evidence")(hardware_calibrate.import_evidence)
app.add_typer(hardware.app, name="hardware")
app.add_typer(profile_app.app, name="profile")
app.add_typer(probe.app, name="probe")


def main() -> None:
    """Run the command line and exit with the code of design: 0 ok, 1 failed, 2 bad input, 3 infeasible, 4, 5."""
    _write_unicode()
    try:
        app()
    except SelectorError as error:
        if "--debug" in sys.argv:
            raise
        for line in str(error).splitlines():
            print(f"selector: {line}", file=sys.stderr)  # noqa: T201 - the one place where errors are printed
        sys.exit(error.exit_code)
    except BrokenPipeError:  # `selector … | head`: the reader left, which is no failure
        sys.stderr.close()
        sys.exit(0)
    except Exception as error:
        if "--debug" in sys.argv:
            raise
        what = " ".join(f"{type(error).__name__}: {error}".split())
        print(  # noqa: T201 - as above
            f"selector: unexpected failure, a fault of selector itself: {what[:500]}; "
            "`selector --debug …` shows where it happened",
            file=sys.stderr,
        )
        sys.exit(1)


def _write_unicode() -> None:
    """Let any locale print: JSON and pages are UTF-8 by their standards; a terminal shows what it can."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and stream.encoding.lower() not in ("utf-8", "utf8"):
            if stream.isatty():
                stream.reconfigure(errors="replace")
            else:
                stream.reconfigure(encoding="utf-8")
