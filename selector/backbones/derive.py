"""`python -m selector.backbones.derive`: derives the catalog's data from timm. Needs torch and timm.

Writes `data/layers.csv` (the layer table) and `data/catalog.json` (the catalog's facts). Everything comes from the
models themselves on the meta device and from their weights' configuration, except ImageNet top-1: that column is
read from timm's published results file, given with `--imagenet-top1`; without it the figures that stand in
`catalog.json` are kept.
"""

import argparse
import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from selector.backbones.catalog import Family
from selector.backbones.facts import Top1, facts, pretrained_configuration
from selector.backbones.trace import meta_model, section

DATA = Path(__file__).parent / "data"

CATALOG: dict[Family, tuple[str, ...]] = {
    Family.RESNET: tuple(f"resnet{depth}{stem}" for depth in (18, 26, 34, 50, 101, 152) for stem in ("", "d")),
    Family.VGG: tuple(f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")),
    Family.EFFICIENTNET: (
        *(f"efficientnet_b{i}" for i in range(6)),  # timm publishes no weights of its own for B6 and B7
        *(f"tf_efficientnet_b{i}" for i in range(8)),
        "efficientnet_lite0",
        *(f"tf_efficientnet_lite{i}" for i in range(5)),
    ),
    Family.MOBILENET: (
        *("mobilenetv1_100", "mobilenetv1_100h", "mobilenetv1_125"),
        *(f"mobilenetv2_{width}" for width in ("035", "050", "075", "100", "110d", "120d", "140")),
        *("mobilenetv3_small_050", "mobilenetv3_small_075", "mobilenetv3_small_100"),
        *("mobilenetv3_large_075", "mobilenetv3_large_100", "mobilenetv3_large_150d"),
        *("tf_mobilenetv3_small_075", "tf_mobilenetv3_small_100", "tf_mobilenetv3_small_minimal_100"),
        *("tf_mobilenetv3_large_075", "tf_mobilenetv3_large_100", "tf_mobilenetv3_large_minimal_100"),
    ),
}

# not offered as backbones, but published figures exist that estimators learn from
OTHERS = (
    *("efficientnet_b6", "efficientnet_b7", "efficientnet_b8", "tf_efficientnet_b8"),
    *(f"efficientnet_lite{i}" for i in range(1, 5)),
    *(f"efficientnetv2_{size}" for size in ("s", "m", "l", "xl", "rw_t", "rw_s", "rw_m")),
    *(f"tf_efficientnetv2_{size}" for size in ("b0", "b1", "b2", "b3", "s", "m", "l", "xl")),
    *("mobilenetv1_025", "mobilenetv1_050", "mobilenetv1_075", "mobilenetv2_130", "mobilenetv3_rw"),
    *("mobilenetv4_conv_small", "mobilenetv4_conv_medium", "mobilenetv4_conv_large"),
    *("mobilenetv4_conv_blur_medium", "mobilenetv4_conv_aa_medium", "mobilenetv4_conv_aa_large"),
    *("mobilenetv4_hybrid_medium_075", "mobilenetv4_hybrid_medium"),
    *("mobilenetv4_hybrid_large_075", "mobilenetv4_hybrid_large"),
)

# names that published tables use for the same network with other weights
ALIASES = {
    **{f"tf_efficientnetv2_{size}_in21ft1k": f"tf_efficientnetv2_{size}" for size in ("s", "m", "l", "xl")},
    "mobilenetv3_large_100_miil": "mobilenetv3_large_100",
}

_HEADER = """\
# Layers of each network, derived by `python -m selector.backbones.derive` from timm's models. Never edit by hand.
# network NAME DEFAULT_RESOLUTION BLOCKS
# level,PARENT,OPERATION,KERNEL,STRIDE,PADDING       the spatial sides, numbered from 1; level 0 is the image
# output,CHANNELS,LEVEL                              of each block
# BLOCK,KIND,IN,OUT,KERNEL,STRIDE,GROUPS,IN_LEVEL,OUT_LEVEL,FLAGS,ACTIVATION,EXTRA_PARAMETERS
# kinds: c conv, p pointwise, d depthwise, g grouped, l linear, m matmul (@LEVEL: as many as that level has pixels)
# flags: b bias, n a BatchNorm follows, i reads its block's input, f fixed filter without parameters"""


def layer_table(names: tuple[str, ...]) -> Iterator[str]:
    """The sections of `layers.csv` for `names`, one at a time; each takes a second or less."""
    for name in names:
        model = meta_model(name)
        yield section(name, model, pretrained_configuration(model, name).resolution)


def catalog_names() -> tuple[str, ...]:
    """All catalog backbones, family by family."""
    return tuple(name for names in CATALOG.values() for name in names)


def read_top1(path: Path) -> Top1:
    """ImageNet top-1 in percent by (timm id with tag, resolution) from timm's `results-imagenet.csv`."""
    with path.open(newline="", encoding="utf-8") as file:
        return {(row["model"], int(row["img_size"])): float(row["top1"]) for row in csv.DictReader(file)}


def kept_top1(catalog: dict[str, Any]) -> Top1:
    """The figures that stand in the checked-in catalog, in the form of `read_top1`."""
    kept: Top1 = {}
    for entry in catalog["backbones"]:
        for top1 in (entry["imagenet_top1"], entry["imagenet_top1_larger"]):
            if top1:
                kept[f"{entry['name']}.{top1['weights']}", top1["resolution"]] = top1["value"]
    return kept


def main() -> None:
    """Derive both files, with progress on stderr: about two minutes."""
    parser = argparse.ArgumentParser(prog="python -m selector.backbones.derive", description=__doc__)
    parser.add_argument("--imagenet-top1", type=Path, help="timm's results-imagenet.csv")
    arguments = parser.parse_args()
    catalog_file = DATA / "catalog.json"
    top1 = (
        read_top1(arguments.imagenet_top1)
        if arguments.imagenet_top1
        else kept_top1(json.loads(catalog_file.read_text(encoding="utf-8")))
    )
    names = (*catalog_names(), *OTHERS)
    sections = [_HEADER]
    for done, text in enumerate(layer_table(names), start=1):
        sections.append(text)
        print(f"\rlayers {done}/{len(names)}", end="", file=sys.stderr, flush=True)  # noqa: T201
    sections += [f"alias {alias} {name}" for alias, name in ALIASES.items()]
    (DATA / "layers.csv").write_text("\n\n".join(sections) + "\n", encoding="utf-8")
    entries = []
    for done, (family, name) in enumerate(((f, n) for f, ns in CATALOG.items() for n in ns), start=1):
        entries.append(facts(name, family, top1))
        print(f"\rfacts {done}/{len(catalog_names())} ", end="", file=sys.stderr, flush=True)  # noqa: T201
    catalog_file.write_text(as_text(entries), encoding="utf-8")
    print(file=sys.stderr)  # noqa: T201


def as_text(entries: list[dict[str, Any]]) -> str:
    """The catalog as JSON with one block a line, so that a change shows as the lines that it touches."""
    parts = []
    for entry in entries:
        rest = {key: value for key, value in entry.items() if key != "blocks"}
        body = json.dumps(rest, indent=1)[:-2]
        blocks = ",\n  ".join(json.dumps(block) for block in entry["blocks"])
        parts.append(f'{body},\n "blocks": [\n  {blocks}\n ]\n}}')
    return '{"backbones": [\n' + ",\n".join(parts) + "\n]}\n"


if __name__ == "__main__":
    main()
