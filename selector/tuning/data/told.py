"""What a data set looks like, in sentences."""

from selector.tuning.data.dataset import Dataset

NAMED_CLASSES = 20
NAMED_FILES = 20


def times(ratio: float) -> str:
    """A ratio of at least 1 as it is said: 1.4, 102."""
    return f"{ratio:.1f}" if ratio < 9.95 else f"{ratio:,.0f}"


def sentences(dataset: Dataset) -> list[str]:
    """Counts, imbalance and sizes, then every note, then files left out by name with the reason."""
    summary = dataset.summary()
    smallest, largest = (f"{w}×{h}" for w, h in (summary.smallest, summary.largest))
    sizes = f"{smallest} px" if smallest == largest else f"{smallest} to {largest} px"
    counts = [f"{name} {sum(splits.values())}" for name, splits in summary.counts.items()]
    rest = f" and {len(counts) - NAMED_CLASSES} more" if len(counts) > NAMED_CLASSES else ""
    told = [
        f"{summary.images} images in {len(dataset.classes)} classes ({', '.join(counts[:NAMED_CLASSES])}{rest}), "
        f"{sizes}; the largest class has {times(summary.imbalance)} × the images of the smallest",
        *dataset.notes,
        *(f"left out: {item.path}: {item.why}" for item in dataset.left_out[:NAMED_FILES]),
    ]
    if len(dataset.left_out) > NAMED_FILES:
        told.append(f"left out: {len(dataset.left_out) - NAMED_FILES} more; --json and the study's data.json list all")
    return told
