"""The document's own rule, beside the answer: P1 under 10,000 images, P2 from there on."""

from selector.backbones.depth import FreezeDepth
from selector.decision.answer import Candidate, PolicyAnswer, Statement

FEATURE_EXTRACTION_BELOW = 10_000  # P1: "data < 10,000 images"


def policy(data_size: int, chosen: Candidate) -> PolicyAnswer:
    """What the document would do with so many images, and whether the chosen candidate freezes the same blocks."""
    few = data_size < FEATURE_EXTRACTION_BELOW
    practice, name = ("P1", "80%") if few else ("P2", "last-3")
    frozen = FreezeDepth.parse(name).frozen_blocks(chosen.freeze.total_blocks)
    agrees = frozen == chosen.freeze.frozen_blocks
    says = Statement(
        f"policy.{practice.lower()}.{'agrees' if agrees else 'differs'}",
        {"data_size": data_size, "frozen": frozen, "total": chosen.freeze.total_blocks, "chosen": chosen.freeze.name},
    )
    return PolicyAnswer(practice, name, says, agrees)
