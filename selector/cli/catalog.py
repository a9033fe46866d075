"""`selector catalog`: every backbone that the product knows, with its facts."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from selector.cli.console import PIPED_WIDTH, folded, stdout_console
from selector.cli.options import Json, Output
from selector.errors import Faults, InvalidInput, close_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from selector.backbones.catalog import Backbone, Family, ImageNetTop1

FamilyName = Annotated[
    str | None,
    typer.Option("--family", "-f", help="Only of resnet, vgg, efficientnet, mobilenet, with commas between."),
]


def catalog(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[BACKBONE]...", help="Only these. Without them: all.")
    ] = None,
    family: FamilyName = None,
    as_json: Json = False,
    output: Output = None,
) -> None:
    """List the backbones: family, blocks, size, computation, resolution and ImageNet accuracy with its source.

    -o FILE.json writes JSON without --json too.
    """
    from selector.backbones.catalog import backbones
    from selector.reporting.output import opened_output

    faults = Faults()
    with faults:
        families = _families(family)
    asked = _named(names or (), faults)
    faults.tell()
    listed = [b for b in asked or backbones() if not families or b.family in families]
    if not listed:
        raise InvalidInput(f"none of {', '.join(names or ())} is of the family {family}")
    with opened_output(output or Path("-")) as write:
        if as_json or (output is not None and output.suffix.lower() == ".json"):
            write(json.dumps(document(listed), ensure_ascii=False, indent=2) + "\n")
        else:
            write(_table(listed, to_terminal=output is None))


def document(listed: "Sequence[Backbone]") -> dict[str, Any]:
    """The command's JSON document."""
    return {"schema_version": 1, "backbones": [_entry(backbone) for backbone in listed]}


def _entry(b: "Backbone") -> dict[str, Any]:
    return {
        "name": b.name,
        "family": b.family.value,
        "blocks": len(b.blocks),
        "params": b.params,
        "macs": {"torchvision": b.macs_torchvision, "fvcore": b.macs_fvcore},
        "activations": b.activations,
        "resolution": b.resolution,
        "weights": b.weights,
        "imagenet_top1": _top1(b.imagenet_top1),
        "imagenet_top1_larger": _top1(b.imagenet_top1_larger),
        "artifact_bytes": b.artifact_bytes,
        "classifier_params": b.classifier_params,
        "feature_width": b.feature_width,
        "preprocessing": {
            "mean": list(b.preprocessing.mean),
            "std": list(b.preprocessing.std),
            "interpolation": b.preprocessing.interpolation,
            "crop_pct": b.preprocessing.crop_pct,
        },
        "block_list": [
            {
                "name": block.name,
                "params": block.params,
                "macs": block.macs,
                "activations": block.activations,
                "convolutions": block.convolutions,
            }
            for block in b.blocks
        ],
    }


def _top1(top1: "ImageNetTop1 | None") -> dict[str, Any] | None:
    if top1 is None:
        return None
    return {"value": top1.value, "weights": top1.weights, "resolution": top1.resolution, "source": top1.source}


def _families(text: str | None) -> "tuple[Family, ...]":
    from selector.backbones.catalog import Family

    known = [family.value for family in Family]
    names = [name.strip() for name in (text or "").split(",") if name.strip()]
    faults = [f"no family {n!r}; there are {', '.join(known)}{close_name(n, known)}" for n in names if n not in known]
    if faults:
        raise InvalidInput(faults)
    return tuple(map(Family, names))


def _named(names: "Sequence[str]", faults: Faults) -> "list[Backbone]":
    """The backbones that are asked for, each once; unknown names are added to `faults`."""
    from selector.backbones.catalog import backbone

    found = []
    for name in dict.fromkeys(names):
        with faults:
            found.append(backbone(name))
    return found


def _table(listed: "Sequence[Backbone]", *, to_terminal: bool) -> str:
    from rich.console import Console

    columns = {
        "Params\nM": [f"{b.params / 1e6:.2f}" for b in listed],
        "GMACs": [f"{b.macs_torchvision / 1e9:.3f}" for b in listed],
        "Pixels": [str(b.resolution) for b in listed],
        "ImageNet\ntop-1 %": [f"{b.imagenet_top1.value:.1f}" if b.imagenet_top1 else "–" for b in listed],
        "Blocks": [str(len(b.blocks)) for b in listed],
        "Family": [b.family.value for b in listed],
        "GMACs as\nfvcore counts": [f"{b.macs_fvcore / 1e9:.3f}" for b in listed],
        "Activations\nM": [f"{b.activations / 1e6:.2f}" for b in listed],
        "Weights": [b.weights or "none published" for b in listed],
    }
    names = [("Backbone", [b.name for b in listed])]
    console = stdout_console() if to_terminal else Console(color_system=None, width=PIPED_WIDTH, highlight=False)
    sources = sorted({b.imagenet_top1.source for b in listed if b.imagenet_top1})
    with console.capture() as captured:
        for table in folded(None, names, list(columns.items()), console.width, left=("Family", "Weights")):
            console.print(table, "")
        console.print(
            f"Backbones: {len(listed)}, at the resolution of their default weights. A GMAC is 10⁹ multiply-accumulates "
            "(half as many as GFLOPs), without bias, norm, activation and pooling, which fvcore counts in part.",
        )
        if sources:
            console.print(f"ImageNet top-1: {', '.join(sources)}")
    return captured.get()
