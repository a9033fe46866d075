"""Train, validation and test: stratified by class, whole groups on one side, seeded."""

import random
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from enum import StrEnum


class Split(StrEnum):
    """The three parts of a data set."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


DEFAULT_FRACTIONS = {Split.TRAIN: 0.6, Split.VALIDATION: 0.2, Split.TEST: 0.2}


def join_units(*keys: Sequence[Hashable | None]) -> list[int]:
    """For each image the number of its unit: images that share any non-None key stand and fall together.

    Each of `keys` holds one key per image, for example the groups and the pixel digests.
    """
    parent = list(range(len(keys[0])))

    def find(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for column in keys:
        first: dict[Hashable, int] = {}
        for i, key in enumerate(column):
            if key is not None:
                parent[find(i)] = find(first.setdefault(key, i))
    return [find(i) for i in range(len(parent))]


def stratified(labels: Sequence[int], units: Sequence[int], fractions: dict[Split, float], *, seed: int) -> list[Split]:
    """Assign each image a split so that every class is divided by `fractions` and no unit is torn.

    Large units are placed first. The first three of each class go to training, test and validation, so that none
    lacks it; every further one goes where its classes are most wanting.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for i, unit in enumerate(units):
        members[unit].append(i)
    order = sorted(members)
    random.Random(seed).shuffle(order)
    order.sort(key=lambda unit: -len(members[unit]))  # stable: equal sizes stay shuffled
    totals = Counter(labels)
    wanting = {
        split: {label: fraction * total for label, total in totals.items()} for split, fraction in fractions.items()
    }
    # the splits that a class still has to reach, before proportions count
    due: dict[int, list[Split]] = {
        label: [s for s in (Split.TRAIN, Split.TEST, Split.VALIDATION) if fractions.get(s, 0) > 0] for label in totals
    }
    chosen: dict[int, Split] = {}
    for unit in order:
        content = Counter(labels[i] for i in members[unit])
        rarest = min(content, key=lambda label: (totals[label], label))
        if due[rarest]:
            split = due[rarest][0]
        else:
            split = max(fractions, key=lambda s: sum(wanting[s][label] * n for label, n in content.items()))
        for label, n in content.items():
            wanting[split][label] -= n
            if split in due[label]:
                due[label].remove(split)
        chosen[unit] = split
    return [chosen[unit] for unit in units]
