"""Hardware profiles from their TOML files. The files are checked whole: every fault of one is told at once.

The format, with an example of each part, stands in CONTRIBUTING.md ("add a device"). Figures are kept in groups that
share their conditions and their source; a group becomes one `PublishedFigure` a row and metric.
"""

import os
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selector.errors import InvalidInput, InvalidProfile, UnknownName
from selector.hardware.profile_file import ProfileFile
from selector.hardware.profiles import HardwareProfile, Kind
from selector.resources import home, shipped_folder

FOLDER = "hardware_profiles"
VARIABLE = "SELECTOR_HARDWARE_PROFILES"
LOCAL = "local"  # this machine: detected, never read from a file


@dataclass(frozen=True, slots=True)
class ProfileListing:
    """All profiles that could be read, by name, and the files that were refused, each with its faults."""

    profiles: dict[str, HardwareProfile]
    refused: dict[Path, InvalidProfile]


def load_profiles(folder: Path | None = None) -> dict[str, HardwareProfile]:
    """Every shipped and user profile by name, classes first, then devices, each sorted by name; without `local`.

    `folder` holds the user's own profiles, which win over shipped ones of the same name; without it the folder that
    `SELECTOR_HARDWARE_PROFILES` names, else `hardware_profiles` in the user's data folder. Raises InvalidProfile with
    the faults of all broken files.
    """
    listing = list_profiles(folder)
    if listing.refused:
        raise InvalidProfile([fault for error in listing.refused.values() for fault in error.faults])
    return listing.profiles


def list_profiles(folder: Path | None = None) -> ProfileListing:
    """As `load_profiles`, but a broken file is reported in `refused` instead of raised.

    A broken file of the user's hides the shipped profile of the same name: what it meant to replace is not wanted.
    """
    profiles: list[HardwareProfile] = []
    refused: dict[Path, InvalidProfile] = {}
    files = profile_files(folder)
    for path in files.values():
        try:
            profiles.append(_read(path, files))
        except InvalidProfile as error:
            refused[path] = error
    profiles.sort(key=lambda p: (p.kind is not Kind.CLASS, p.name))
    return ProfileListing({p.name: p for p in profiles}, refused)


def profile(name: str, folder: Path | None = None) -> HardwareProfile:
    """The hardware profile called `name`; reads its file alone, and detects this machine for "local".

    Raises UnknownName, which suggests the nearest name, and InvalidProfile with all faults of the file.
    """
    if name == LOCAL:
        from selector.hardware.local import local_profile  # detection is not needed for any other profile
        from selector.hardware.machine import detect

        return local_profile(detect())
    files = profile_files(folder)
    if name not in files:
        raise UnknownName("hardware", name, [*files, LOCAL], listing="selector hardware list")
    return _read(files[name], files)


def reference_device(of: HardwareProfile, folder: Path | None = None) -> HardwareProfile:
    """The device on which latency is stated for `of`: a class's first reference device, a device itself.

    Raises InvalidProfile with all faults of the device's file, and where it is a class in its turn.
    """
    if of.kind is not Kind.CLASS:
        return of
    found = profile(of.reference_devices[0], folder)
    if found.kind is Kind.CLASS:
        raise InvalidProfile(
            f"{of.origin}: reference_devices[0]: {found.name!r} is a class; name a device, for example "
            + found.reference_devices[0]
        )
    return found


def profile_files(folder: Path | None = None) -> dict[str, Path]:
    """Name → file of every shipped and user profile, the user's first. Nothing is read: a file is named as its profile.

    Raises InvalidInput where a folder was asked for and is none.
    """
    found: dict[str, Path] = {}
    for place in _folders(folder):
        for path in sorted(place.glob("*.toml")):
            found.setdefault(path.stem, path)
    return found


def _folders(folder: Path | None) -> Iterator[Path]:
    """The user's folder where there is one, then the shipped one."""
    asked = folder or (Path(os.environ[VARIABLE]).expanduser() if os.environ.get(VARIABLE) else None)
    if asked is not None and not asked.is_dir():
        raise InvalidInput(
            f"no folder {str(asked)!r} with hardware profiles; name an existing folder with --hardware-profiles or "
            f"{VARIABLE}, or leave both out"
        )
    own = asked or home() / FOLDER
    if own.is_dir():
        yield own
    yield shipped_folder(FOLDER)


def _read(path: Path, files: dict[str, Path]) -> HardwareProfile:
    """The profile in `path`. Raises InvalidProfile with all of its faults, each with its place in the file."""
    raw = _parse(path)
    known_devices = frozenset(files)
    checked, faults = ProfileFile.check(raw, stem=path.stem, known=known_devices)
    if checked is None:
        raise InvalidProfile([f"{path}: {fault}" for fault in faults])
    # a report that names where a profile came from must read the same on every machine
    shipped = path.parent == shipped_folder(FOLDER)
    return checked.profile(origin=f"{FOLDER}/{path.name}" if shipped else str(path))


def _parse(path: Path) -> dict[str, Any]:
    """The TOML document. A file that cannot be read or is no TOML is a fault of the profile."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        place = re.sub(r"^(.*) \((at [^()]*)\)$", r"\2: \1", str(error))
        raise InvalidProfile(f"{path}: not valid TOML {place}") from error
    except UnicodeDecodeError as error:
        raise InvalidProfile(f"{path}: not valid TOML: byte {error.start} is not UTF-8") from error
    except OSError as error:
        raise InvalidProfile(f"{path}: cannot be read: {error.strerror or error}") from error
