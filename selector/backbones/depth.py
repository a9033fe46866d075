"""Freeze depth: how many leading blocks of a backbone are frozen. Needs no torch.

A depth is written as a name, a number or a percentage and becomes a number of blocks only on a backbone:

    none        0 blocks: full fine-tuning
    last-N      all but the last N blocks (last-3 is the document's P2)
    P%          the leading P percent of the blocks, rounded down (80% is the document's P1)
    N           the leading N blocks
    head        all blocks: a linear probe
"""

import re
from dataclasses import dataclass

from selector.errors import InvalidInput

NAMED_DEPTHS = ("none", "last-3", "80%", "head")

_ALLOWED = "none, last-N (last-3), a percentage (80%), a number of blocks (12) or head"


@dataclass(frozen=True, slots=True)
class FreezeDepth:
    """A freeze depth as it was written; `frozen_blocks` resolves it on a backbone."""

    name: str

    @classmethod
    def parse(cls, text: str) -> "FreezeDepth":
        """Read a depth. Raises InvalidInput for anything that is not one."""
        name = text.strip().lower()
        known = name in ("none", "head") or re.fullmatch(r"last-\d+|\d+", name)
        percent = re.fullmatch(r"(\d+(?:\.\d+)?)%", name)
        if not known and not (percent and float(percent[1]) <= 100):
            raise InvalidInput(f"freeze depth {text!r} is not one of: {_ALLOWED}")
        return cls(name)

    def frozen_blocks(self, total_blocks: int) -> int:
        """How many of `total_blocks` leading blocks are frozen. Raises InvalidInput where there are not so many."""
        if self.name == "none":
            return 0
        if self.name == "head":
            return total_blocks
        if self.name.endswith("%"):
            # rounded down: "the first 80 %" never takes in a block that lies beyond it
            return int(total_blocks * float(self.name[:-1]) / 100 + 1e-9)
        if self.name.startswith("last-"):
            frozen = total_blocks - int(self.name.removeprefix("last-"))
        else:
            frozen = int(self.name)
        if not 0 <= frozen <= total_blocks:
            raise InvalidInput(f"freeze depth {self.name!r} does not fit a backbone of {total_blocks} blocks")
        return frozen
