"""`python -m selector.estimation.refit FOLDER` fits what the product ships: `data/latency.json`, `data/training.json`.

FOLDER holds figures as CSV (see figures.py). Deterministic: the same figures and hardware profiles give the same file.
Takes about a minute, most of it for leaving each device out to find how wide the intervals have to be.
"""

import json
import sys
from pathlib import Path

from selector.errors import InvalidInput
from selector.estimation import training
from selector.estimation.figures import read_series
from selector.estimation.fit import fit, promised_by
from selector.estimation.kinship import SETTINGS
from selector.estimation.knowledge import KNOWLEDGE, Knowledge, as_json
from selector.estimation.leave_out import leave_devices_out, widening
from selector.hardware.loading import load_profiles

OUTPUT = Path(__file__).parent / "data" / KNOWLEDGE


def refit(folder: Path) -> Knowledge:
    """Everything that the product knows, from the figures in `folder`. Raises InvalidInput where there are none."""
    profiles = load_profiles()
    series = read_series(folder, profiles)
    promised = promised_by(series, profiles)
    without, calibrated = leave_devices_out(series, promised, SETTINGS, done=_say)
    return Knowledge(fit(series, promised, SETTINGS), SETTINGS, widening(without, calibrated))


def write(knowledge: Knowledge, path: Path) -> None:
    """One configuration a line, so that a change shows as one."""
    text = json.dumps(as_json(knowledge), separators=(",", ":"))
    path.write_text(text.replace('{"device":', '\n{"device":') + "\n", encoding="utf-8")


def _say(device: str) -> None:
    print(f"left out: {device}", file=sys.stderr)  # noqa: T201 - a script's progress


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise InvalidInput("usage: python -m selector.estimation.refit FOLDER")
    source = Path(sys.argv[1])
    write(refit(source), OUTPUT)
    trained = training.fit_training(source, load_profiles())
    if trained is not None:
        text = json.dumps(training.as_json(trained), indent=1)
        OUTPUT.with_name(training.DATA).write_text(text + "\n", encoding="utf-8")
