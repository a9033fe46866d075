"""JSON files that hold what was found out once: they appear whole or not at all."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any


def write_whole(place: Path, data: dict[str, Any]) -> None:
    """Write `data` to `place`, whose folder there is, over what was there. Raises OSError; leaves nothing by halves."""
    with tempfile.NamedTemporaryFile(
        "w", dir=place.parent, prefix=f".{place.stem}-", delete=False, encoding="utf-8"
    ) as draft:
        try:
            json.dump(data, draft, indent=2)
            draft.close()
            os.replace(draft.name, place)
        except BaseException:  # Ctrl-C, too
            os.unlink(draft.name)
            raise
