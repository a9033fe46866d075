"""`selector predict`: classify images with a model that `selector tune` saved."""

import json as jsonlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from selector.cli.options import Json
from selector.errors import InvalidInput


def predict(
    model: Annotated[Path, typer.Argument(help="The folder that `selector tune` saved its model in.")],
    images: Annotated[list[Path], typer.Argument(help="Image files.")],
    precision: Annotated[str, typer.Option("--precision", help="fp32 or int8-static.")] = "fp32",
    top: Annotated[int, typer.Option("--top", min=1, help="Classes to name for each image.")] = 3,
    json: Json = False,
) -> None:
    """Classify images. One that cannot be read is named on stderr, the others go on; the exit code is then 2."""
    from selector.tuning.data.listing import shown
    from selector.tuning.place import MODEL_FILES
    from selector.tuning.predict import Predictor

    if precision not in MODEL_FILES:
        raise InvalidInput(f"--precision {precision!r} is not one of {', '.join(MODEL_FILES)}")
    found = []
    for prediction in Predictor(model, precision=precision).predict(images, top=top):
        found.append(prediction)
        if not json and prediction.error is None:  # as it comes: many images take their time
            says = ", ".join(f"{name} {probability:.1%}" for name, probability in prediction.classes)
            sys.stdout.write(f"{shown(prediction.path)}: {says}\n")
            sys.stdout.flush()
    if json:
        document = {
            "schema_version": 1,
            "model": shown(model),
            "precision": precision,
            "predictions": [
                {
                    "path": shown(p.path),
                    "classes": [{"name": name, "probability": probability} for name, probability in p.classes],
                    "error": p.error,
                }
                for p in found
            ],
        }
        sys.stdout.write(jsonlib.dumps(document, ensure_ascii=False, indent=2) + "\n")
    if unread := [f"{p.path}: {p.error}" for p in found if p.error is not None]:
        raise InvalidInput(unread)
