"""JSON files that hold what was found out once: they appear whole or not at all."""

import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any


def write_whole(place: Path, data: dict[str, Any], *, only_first: bool = False) -> None:
    """Write `data` to `place`, whose folder there is, over what was there, for everybody to read.

    Raises OSError, and FileExistsError with `only_first` where something is there already; leaves nothing by halves.
    """
    with tempfile.NamedTemporaryFile(
        "w", dir=place.parent, prefix=f".{place.stem}-", delete=False, encoding="utf-8"
    ) as draft:
        try:
            json.dump(data, draft, indent=2)
            draft.close()
            os.chmod(draft.name, 0o644)
            if only_first:
                os.link(draft.name, place)
            else:
                os.replace(draft.name, place)
        finally:
            with suppress(OSError):  # it has become the file
                os.unlink(draft.name)
