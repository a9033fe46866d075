"""A checked data set: every image opened once, split, with what was left out and why."""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median

from selector.errors import InvalidInput
from selector.tuning.data.images import ImageFacts, UnreadableImage, inspect
from selector.tuning.data.listing import Entry, Listing, list_images, misnaming, shown
from selector.tuning.data.split import DEFAULT_FRACTIONS, Split, join_units, stratified

VALIDATION_OF_TRAIN = 0.25  # where the user gives a test split but no validation split


DEEPEST_OF_FEWER = 14
"""Bits of a camera that stores fewer than 16 in 16: 10, 12 or 14."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One usable image. `label` is a position in the data set's classes."""

    path: str
    label: int
    split: Split
    digest: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that is not used, and why."""

    path: str
    why: str


@dataclass(frozen=True)
class Dataset:
    """Images, classes and splits; in a stable order, so that positions name images in caches and results."""

    root: str
    classes: tuple[str, ...]
    samples: tuple[Sample, ...]
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]  # sentences that the user should read

    @cached_property
    def digest(self) -> str:
        """Names the pixels and their order: two data sets with the same digest have interchangeable caches."""
        return hashlib.sha256("".join(s.digest for s in self.samples).encode()).hexdigest()[:16]

    @cached_property
    def split_digest(self) -> str:
        """Names labels and splits on top of the pixels: results are comparable only where it is equal."""
        text = "|".join(f"{s.digest}{s.label}{s.split}" for s in self.samples) + "|".join(self.classes)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def positions(self, *splits: Split) -> list[int]:
        """Positions of the samples in any of `splits`."""
        return [i for i, sample in enumerate(self.samples) if sample.split in splits]

    def summary(self) -> "DataSummary":
        """Class counts per split, imbalance and image sizes."""
        counts = {name: dict.fromkeys(Split, 0) for name in self.classes}
        for sample in self.samples:
            counts[self.classes[sample.label]][sample.split] += 1
        totals = [sum(c.values()) for c in counts.values()]
        sides = sorted((s.width, s.height) for s in self.samples)
        widths, heights = [w for w, _ in sides], [h for _, h in sides]
        return DataSummary(
            images=len(self.samples),
            counts={name: {str(k): v for k, v in c.items()} for name, c in counts.items()},
            imbalance=max(totals) / min(totals),
            smallest=(min(widths), min(heights)),
            median=(round(median(widths)), round(median(heights))),
            largest=(max(widths), max(heights)),
        )


@dataclass(frozen=True, slots=True)
class DataSummary:
    """What a data set looks like. Sizes are (width, height) in pixels, each taken on its own."""

    images: int
    counts: dict[str, dict[str, int]]  # class → split → images
    imbalance: float  # images of the largest class per image of the smallest
    smallest: tuple[int, int]
    median: tuple[int, int]
    largest: tuple[int, int]


def load_dataset(source: Path, *, seed: int = 0, progress: Callable[[int, int], None] | None = None) -> Dataset:
    """List, open, check and split the images at `source`. `progress` is told (done, total).

    Raises InvalidInput where fewer than two classes have the three images that train, validation and test need.
    """
    listing = list_images(source)
    facts = _inspect_all(listing.entries, progress)
    usable = [(entry, fact) for entry, fact in zip(listing.entries, facts, strict=True) if isinstance(fact, ImageFacts)]
    left_out = [
        LeftOut(str(entry.path), fact)
        for entry, fact in zip(listing.entries, facts, strict=True)
        if isinstance(fact, str)
    ]
    left_out += [LeftOut(shown(path), misnaming(path)) for path in listing.misnamed]
    left_out += [LeftOut(shown(path), "not an image by its suffix") for path in listing.ignored]
    left_out += [LeftOut(shown(path), "lies in no class's folder") for path in listing.loose]
    notes = _handled_notes(usable) + _depth_notes(usable) + _conflict_notes(usable)
    usable, dropped, copy_notes = _own_split_duplicates(usable)
    left_out += dropped
    classes, class_notes = _classes(source, listing, usable, left_out)
    index = {name: i for i, name in enumerate(classes)}
    splits = _splits(usable, [index[e.label] for e, _ in usable], seed)
    samples = tuple(
        Sample(str(entry.path), index[entry.label], split, fact.digest, fact.width, fact.height)
        for (entry, fact), split in zip(usable, splits, strict=True)
    )
    split_notes = _check_splits(source, usable, splits)
    notes += copy_notes + class_notes + split_notes
    return Dataset(str(source), classes, samples, tuple(left_out), tuple(notes))


def _inspect_all(entries: Sequence[Entry], progress: Callable[[int, int], None] | None) -> list[ImageFacts | str]:
    def one(entry: Entry) -> ImageFacts | str:
        if not entry.path.is_file():
            return "no such file"
        try:
            return inspect(entry.path)
        except UnreadableImage as error:
            return str(error)

    facts: list[ImageFacts | str] = []
    with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:  # decoding releases the interpreter
        try:
            for fact in pool.map(one, entries):
                facts.append(fact)
                if progress is not None:
                    progress(len(facts), len(entries))
        except BaseException:  # Ctrl-C, a budget that cannot do: the images that wait are not read first
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return facts


_Usable = list[tuple[Entry, ImageFacts]]


def _handled_notes(usable: _Usable) -> list[str]:
    handled: dict[str, list[str]] = defaultdict(list)
    for entry, fact in usable:
        for what in fact.handled:
            handled[what].append(entry.path.name)
    says = {"animated": "first frame used", "EXIF rotation": "turned upright", "16 bit": "scaled to 8 bits"}
    return [
        f"{what}: {len(names)} image{'s' * (len(names) > 1)} {says.get(what, 'converted to RGB')} ({_some(names)})"
        for what, names in sorted(handled.items())
    ]


def _depth_notes(usable: _Usable) -> list[str]:
    """Pictures of 12 or 14 bits in 16, which are taken as what they are stored as, and so come out almost black.

    That is for the user to mend: a single picture does not tell how deep the camera of all of them was.
    """
    largest = [fact.largest_of_16 for _, fact in usable if fact.largest_of_16 is not None]
    bits = max(largest, default=0).bit_length()
    if not any(largest) or bits > DEEPEST_OF_FEWER:
        return []
    return [
        f"16 bit: no value of {len(largest)} image{'s' * (len(largest) > 1)} is above {max(largest)}, as of {bits} "
        f"bits in 16: they are seen {2 ** (16 - bits)} times too dark; stretch them to 0 … 65535, or to 8 bits, here "
        "and before `selector predict`"
    ]


def _conflict_notes(usable: _Usable) -> list[str]:
    labels: dict[str, set[str]] = defaultdict(set)
    names: dict[str, list[str]] = defaultdict(list)
    for entry, fact in usable:
        labels[fact.digest].add(entry.label)
        names[fact.digest].append(f"{entry.label}/{entry.path.name}")
    torn = [_some(names[digest]) for digest, found in labels.items() if len(found) > 1]
    return [f"the same picture under different labels: {'; '.join(torn[:5])}"] if torn else []


def _own_split_duplicates(usable: _Usable) -> tuple[_Usable, list[LeftOut], list[str]]:
    """With the user's own split, copies of a test image leave the other splits; the test split stays as it is."""
    rank = {"train": 0, "validation": 1, "test": 2, None: -1}
    keeper: dict[str, str | None] = {}
    for entry, fact in usable:
        if rank[entry.split] > rank[keeper.get(fact.digest)]:
            keeper[fact.digest] = entry.split
    kept = [(e, f) for e, f in usable if e.split is None or e.split == keeper[f.digest]]
    dropped = [
        LeftOut(str(e.path), f"the same picture is in the {keeper[f.digest]} split")
        for e, f in usable
        if e.split is not None and e.split != keeper[f.digest]
    ]
    notes = [f"{len(dropped)} images lie in two splits and were kept on one side"] if dropped else []
    if not dropped:
        copies = sum(n - 1 for n in Counter(f.digest for _, f in usable).values())
        notes = [f"{copies} exact duplicates; all copies of a picture lie in one split"] if copies else []
    return kept, dropped, notes


def _classes(
    source: Path, listing: Listing, usable: _Usable, left_out: list[LeftOut]
) -> tuple[tuple[str, ...], list[str]]:
    counts = Counter(entry.label for entry, _ in usable)
    notes = [f"class {name!r} has no usable image and is left out" for name in listing.classes if not counts[name]]
    few = [name for name in listing.classes if 0 < counts[name] < 3]
    notes += [
        f"class {name!r} has {counts[name]} image{'s' * (counts[name] > 1)}: it is trained on and "
        "cannot be evaluated in every split"
        for name in few
    ]
    if sum(n >= 3 for n in counts.values()) < 2:
        lost = [f"{item.path}: {item.why}" for item in left_out[:20]]
        raise InvalidInput(
            [
                f"{source} has {len(usable)} usable images in {len(counts)} classes; fine-tuning needs "
                "two classes of at least three images each (training, validation, test)",
                *lost,
            ]
        )
    return tuple(name for name in listing.classes if counts[name]), notes


def _splits(usable: _Usable, labels: list[int], seed: int) -> list[Split]:
    units = join_units([e.group for e, _ in usable], [f.digest for _, f in usable])
    given = [Split(entry.split) if entry.split else None for entry, _ in usable]
    if not any(given):
        return stratified(labels, units, DEFAULT_FRACTIONS, seed=seed)
    own = [split for split in given if split is not None]
    wanting = [s for s in (Split.VALIDATION, Split.TEST) if s not in own]
    if not wanting:
        return own
    # what the user did not give is cut from the training split
    fractions = {Split.TRAIN: 1.0 - VALIDATION_OF_TRAIN * len(wanting)} | dict.fromkeys(wanting, VALIDATION_OF_TRAIN)
    pool = [i for i, split in enumerate(own) if split == Split.TRAIN]
    cut = stratified([labels[i] for i in pool], [units[i] for i in pool], fractions, seed=seed)
    for i, split in zip(pool, cut, strict=True):
        own[i] = split
    return own


def _check_splits(source: Path, usable: _Usable, splits: list[Split]) -> list[str]:
    """Refuse splits that nothing can be trained or tested on; notes on those that are weaker than they look."""
    found: dict[Split, set[str]] = {split: set() for split in Split}
    groups: dict[str, set[Split]] = defaultdict(set)
    for (entry, _), split in zip(usable, splits, strict=True):
        found[split].add(entry.label)
        if entry.group is not None:
            groups[entry.group].add(split)
    empty = [split for split in Split if not found[split]]
    faults = [f"no image of {source} is left for the {split} split" for split in empty]
    if len(found[Split.TRAIN]) < 2 and Split.TRAIN not in empty:
        faults.append(f"the train split of {source} holds one class alone, {', '.join(found[Split.TRAIN])}")
    if faults:
        raise InvalidInput(
            [
                *faults,
                "images of one group and copies of one picture stay in one split: give more groups, or more images",
            ]
        )
    unseen = sorted((found[Split.VALIDATION] | found[Split.TEST]) - found[Split.TRAIN])
    torn = [group for group, where in groups.items() if len(where) > 1]
    notes = [f"no image of {_some(unseen)} is trained on: those of the other splits are all missed"] if unseen else []
    every = set[str]().union(*found.values())
    for split in (Split.VALIDATION, Split.TEST):
        if untold := sorted(every - found[split]):
            notes.append(
                f"no image of {_some(untold)} is in the {split} split: its macro-F1 is over the other "
                f"{len(found[split])} of {len(every)} classes alone"
            )
    if torn:
        notes.append(f"{len(torn)} groups lie in more than one of the given splits ({_some(sorted(torn))})")
    return notes


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
