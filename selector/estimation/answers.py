"""Latency of many backbones on one device: the figure that exists, and the estimate where there is none."""

from collections import defaultdict
from collections.abc import Sequence

from selector.backbones.layers import network
from selector.errors import InvalidInput
from selector.estimation.estimator import latency_estimator
from selector.estimation.knowledge import shipped
from selector.estimation.latency import LatencyQuery
from selector.evidence.choice import choose
from selector.evidence.metrics import LATENCY_P50
from selector.evidence.record import Conditions, Figure, Provenance, Record
from selector.hardware.profiles import LARGEST_RESOLUTION, HardwareProfile

NAMED = 3  # backbones that are named where nothing can be said of them; more are counted


def estimates(
    profile: HardwareProfile,
    backbones: Sequence[str],
    measured: Sequence[Record] = (),
    *,
    runtimes: Sequence[str] = (),
    precisions: Sequence[str] = (),
    resolution: int | None = None,
    batch_size: int = 1,
) -> tuple[list[Record], list[str]]:
    """One record for each backbone, runtime and precision, and a sentence for each of the latter two without some.

    `runtimes` and `precisions` narrow what the profile offers, or name what it does not list; empty: all it offers.
    `resolution` None: the backbone's own. Raises InvalidInput where the profile offers nothing that was asked for, and
    with what `beyond_figures` finds.
    """
    if found_faults := beyond_figures(resolution, batch_size, profile, measured):
        raise InvalidInput(found_faults)
    estimator = latency_estimator(profile, measured)
    known = _known(profile, measured)
    records: list[Record] = []
    silent: dict[tuple[str, str], list[str]] = defaultdict(list)
    for runtime, precision in _offers(profile, runtimes, precisions):
        for name in backbones:
            side = resolution or network(name).resolution
            found = choose(known.get((name, side, runtime, precision, batch_size), []))
            if found is not None:
                records.append(found.record)
                continue
            figure = estimator.estimate(LatencyQuery(name, side, runtime, precision, batch_size))
            if figure is None:
                silent[runtime, precision].append(f"{name} at {side} px")
                continue
            conditions = Conditions(
                name, profile.name, runtime, None, precision, resolution=side, batch_size=batch_size
            )
            records.append(Record(conditions, figure))
    return records, [_nothing(profile.name, offer, names) for offer, names in silent.items()]


def beyond_figures(
    resolution: int | None, batch_size: int, profile: HardwareProfile | None = None, measured: Sequence[Record] = ()
) -> list[str]:
    """What is wrong with a resolution and a batch size that no figure says anything of; empty: nothing.

    Figures are the shipped ones, those of the `profile` where it is known, and those `measured` on its device.
    """
    batches = [s.batch_size for f in shipped().fitted for s in f.residuals.subjects]
    batches += [p.batch_size for p in (profile.published if profile else ())]
    batches += [r.conditions.batch_size or 1 for r in measured]
    faults = []
    if resolution is not None and not 1 <= resolution <= LARGEST_RESOLUTION:
        faults.append(f"resolution {resolution} is not between 1 and {LARGEST_RESOLUTION} pixels")
    if not 1 <= batch_size <= max(batches):
        faults.append(f"batch {batch_size} is not between 1 and {max(batches)}, the largest that any figure is of")
    return faults


def _nothing(device: str, offer: tuple[str, str], names: Sequence[str]) -> str:
    what = ", ".join(names) if len(names) <= NAMED else f"{len(names)} backbones"
    return f"nothing can be said of {what} with {' '.join(offer)} on {device}"


def _offers(profile: HardwareProfile, runtimes: Sequence[str], precisions: Sequence[str]) -> list[tuple[str, str]]:
    offered = {offer.name: offer.precisions for offer in profile.runtimes}
    pairs = []
    for runtime in runtimes or offered:
        for precision in precisions or offered.get(runtime, ("fp32",)):
            if runtimes or precision in offered[runtime]:
                pairs.append((runtime, precision))
    if not pairs:
        listed = "; ".join(f"{name} ({', '.join(p)})" for name, p in offered.items())
        raise InvalidInput(f"{profile.name} offers no {', '.join(precisions)}; it offers {listed or 'no runtime'}")
    return pairs


def _known(
    profile: HardwareProfile, measured: Sequence[Record]
) -> dict[tuple[str, int | None, str | None, str | None, int], list[Record]]:
    """Measured and published p50 figures by what they are about."""
    published = [
        Record(
            Conditions(
                p.backbone,
                profile.name,
                p.runtime,
                p.runtime_version,
                p.precision,
                p.resolution,
                p.batch_size,
                p.threads,
            ),
            Figure(LATENCY_P50, p.value, None, None, Provenance.PUBLISHED, p.source),
        )
        for p in profile.published
        if p.metric == LATENCY_P50.name
    ]
    table = defaultdict(list)
    for r in [*published, *measured]:
        c = r.conditions
        if r.figure.metric == LATENCY_P50 and r.figure.provenance is not Provenance.ESTIMATED:
            table[c.backbone, c.resolution, c.runtime, c.precision, c.batch_size or 1].append(r)
    return table
