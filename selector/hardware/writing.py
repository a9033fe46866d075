"""Hardware profiles of the user's own, written as TOML: figures added to a profile, or a new device like another."""

import json
import tomllib
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from selector.errors import InvalidProfile, OutputFailed
from selector.hardware.profile_file import ProfileFile
from selector.hardware.profiles import HardwareProfile, PublishedFigure
from selector.resources import home


def own_folder(folder: Path | None = None) -> Path:
    """Where profiles of the user's own are written: `folder`, else hardware_profiles in the user's data folder."""
    return folder or home() / "hardware_profiles"


def with_figures(text: str, figures: Sequence[PublishedFigure]) -> str:
    """A profile's TOML with groups of figures added at its end; they are read back as the same figures."""
    groups = groupby(sorted(figures, key=_conditions), key=_conditions)
    return text.rstrip("\n") + "\n" + "".join("\n" + _group(list(each)) for _, each in groups)


def new_device(name: str, title: str, like: HardwareProfile) -> str:
    """The TOML of a device without figures that offers what `like` offers; its specification is unknown."""
    lines = [
        f"name = {_text(name)}",
        'kind = "device"',
        f"title = {_text(title)}",
        f"title_zh = {_text(title)}",
        f"device_kind = {_text(like.device_kind)}",
        "",
        "[specification]",
        *(
            f'{item} = {{ unknown = "not stated; fill it in with its source" }}'
            for item in ("cores", "clock_ghz", "bandwidth_gb_s")
        ),
    ]
    for offer in like.runtimes:
        lines += ["", "[[runtimes]]", f"name = {_text(offer.name)}"]
        lines += [f"precisions = [{', '.join(map(_text, offer.precisions))}]"]
    return "\n".join(lines) + "\n"


def runtimes_in(text: str) -> tuple[str, ...]:
    """The runtimes that a profile's TOML offers, as far as they can be read; `checked` tells what is wrong with it."""
    found = tomllib.loads(text).get("runtimes", [])
    return tuple(str(offer["name"]) for offer in found if isinstance(offer, dict) and "name" in offer)


def checked(name: str, text: str, known: Iterable[str]) -> HardwareProfile:
    """The profile that `text` is; `known` are the names of all profiles. Raises InvalidProfile with every fault."""
    found, faults = ProfileFile.check(tomllib.loads(text), stem=name, known=frozenset({*known, name}))
    if found is None:
        raise InvalidProfile(faults)
    return found.profile(origin=f"{name}.toml")


def write_profile(folder: Path, name: str, text: str) -> Path:
    """Write the profile `name` into `folder`, whole or not at all. Raises OutputFailed."""
    path = folder / f"{name}.toml"
    draft = path.with_suffix(".toml.part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise OutputFailed(f"cannot write {path}: {error.strerror or error}") from error
    return path


def _conditions(f: PublishedFigure) -> tuple[str, str, str, str, int, int]:
    return (f.metric, f.runtime, f.runtime_version, f.precision, f.batch_size, f.threads or 0)


def _group(figures: Sequence[PublishedFigure]) -> str:
    first = figures[0]
    lines = ["[[published]]", f"metrics = [{_text(first.metric)}]", f"runtime = {_text(first.runtime)}"]
    lines += [f"version = {_text(first.runtime_version)}", f"precision = {_text(first.precision)}"]
    lines += [f"batch_size = {first.batch_size}"]
    lines += [f"threads = {first.threads}"] if first.threads else []
    lines += ['source = "{}"', "figures = ["]  # a source of its own for each row
    lines += [f"    [{_text(f.backbone)}, {f.resolution}, {f.value!r}, {_text(f.source)}]," for f in figures]
    return "\n".join([*lines, "]"]) + "\n"


def _text(value: str) -> str:
    # TOML's basic strings escape as JSON's do, but for one control character more
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
