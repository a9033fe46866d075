"""Where shipped data and the user's own data lie on disk.

Shipped folders (`hardware_profiles`, `reports/templates`) are looked for beside the package first, as in a
checkout or an editable install, then inside it under `_data`, where the wheel puts them.
`SELECTOR_HOME` moves the user's own data.
"""

import os
import re
from functools import cache
from pathlib import Path

from selector.errors import SelectorError

PACKAGE = Path(__file__).resolve().parent


def shipped_folder(relative: str) -> Path:
    """The shipped folder `relative`, for example "hardware_profiles".

    Raises SelectorError where the installation lacks it.
    """
    checkout = PACKAGE.parent / relative
    # a folder of that name beside site-packages' `selector` could be anyone's: only a checkout has pyproject.toml
    if checkout.is_dir() and (PACKAGE.parent / "pyproject.toml").is_file():
        return checkout
    packaged = PACKAGE / "_data" / relative
    if packaged.is_dir():
        return packaged
    raise SelectorError(f"this installation lacks its folder {relative!r}; install backbone-selector again")


@cache
def network_names() -> frozenset[str]:
    """Names of all networks in the layer table (`selector.backbones.layers` reads the rest): what figures are about."""
    table = (PACKAGE / "backbones" / "data" / "layers.csv").read_text(encoding="utf-8")
    return frozenset(re.findall(r"^(?:network|alias) (\S+)", table, re.MULTILINE))


def without_password(text: str) -> str:
    """`text` with the password of a database URL in it covered: for what is shown, kept or handed on."""
    return re.sub(r"(://[^/@:]*):.*@", r"\1:***@", text)


def home() -> Path:
    """The user's data folder: `SELECTOR_HOME`, else the system's place for user data. Not created here."""
    explicit = os.environ.get("SELECTOR_HOME")
    if explicit:
        return Path(explicit).expanduser()
    from platformdirs import user_data_path  # imported here: `--help` needs no folder

    return user_data_path("backbone-selector")
