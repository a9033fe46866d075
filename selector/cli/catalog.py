"""`selector catalog`: every backbone that the product knows, with its facts."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from selector.cli.options import Json, Output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from selector.backbones.catalog import Backbone, Family, ImageNetTop1

FamilyName = Annotated[
    str | None, typer.Option("--family", "-f", help="Only one family: resnet, vgg, efficientnet or mobilenet.")
]

_PIPED_WIDTH = 160  # columns of the table where there is no terminal that says


def catalog(family: FamilyName = None, as_json: Json = False, output: Output = None) -> None:
    """List the backbones: family, blocks, size, computation, resolution and ImageNet accuracy with its source."""
    from selector.backbones.catalog import backbones
    from selector.reporting.output import opened_output

    listed = backbones(_family(family))
    with opened_output(output or Path("-")) as write:
        if as_json:
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


def _family(name: str | None) -> "Family | None":
    from selector.backbones.catalog import Family
    from selector.errors import UnknownName

    if name is None:
        return None
    known = [family.value for family in Family]
    if name not in known:
        raise UnknownName("family", name, known, listing="selector catalog --help")
    return Family(name)


def _table(listed: "Sequence[Backbone]", *, to_terminal: bool) -> str:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("Backbone", no_wrap=True)
    table.add_column("Family")
    for heading in ("Blocks", "Params M", "GMACs\ntorchvision", "GMACs\nfvcore", "Activations M", "Pixels"):
        table.add_column(heading, justify="right")
    table.add_column("ImageNet\ntop-1 %", justify="right")
    table.add_column("Weights", overflow="fold")
    for b in listed:
        table.add_row(
            b.name,
            b.family.value,
            str(len(b.blocks)),
            f"{b.params / 1e6:.2f}",
            f"{b.macs_torchvision / 1e9:.3f}",
            f"{b.macs_fvcore / 1e9:.3f}",
            f"{b.activations / 1e6:.2f}",
            str(b.resolution),
            f"{b.imagenet_top1.value:.1f}" if b.imagenet_top1 else "–",
            b.weights or "none published",
        )
    console = Console() if to_terminal else Console(color_system=None, force_terminal=False)
    if not (to_terminal and console.is_terminal):
        console.width = _PIPED_WIDTH
    sources = sorted({b.imagenet_top1.source for b in listed if b.imagenet_top1})
    with console.capture() as captured:
        console.print(table)
        console.print(
            f"{len(listed)} backbones, at the resolution of their default weights. A GMAC is 10⁹ multiply-accumulates, "
            "half as many as GFLOPs.",
            highlight=False,
        )
        if sources:
            console.print(f"ImageNet top-1: {', '.join(sources)}", highlight=False)
    return captured.get()
