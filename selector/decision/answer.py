"""The info objects of an answer: what was asked, what was considered, what is recommended and why.

Everything is decided when these are made; rendering (JSON, terminal, page) only reads them. Text is held as
`Statement`s, a key with its values, and becomes words of one language in `reporting` alone.
"""

from dataclasses import dataclass, field

from selector.backbones.catalog import Family
from selector.evidence.record import Figure, FreezePoint
from selector.hardware.profiles import HardwareProfile

Values = dict[str, str | int | float]


@dataclass(frozen=True, slots=True)
class Statement:
    """A sentence before it is words: `key` names the sentence in every language's catalog, `values` fill its gaps."""

    key: str
    values: Values = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit that a candidate has to keep. `origin` says whose it is: asked for, or the class's default and why."""

    name: str  # latency_ms | artifact_mb | memory_mb | accuracy
    bound: float
    sense: str  # "at most" or "at least"
    origin: Statement


@dataclass(frozen=True, slots=True)
class Request:
    """A checked question. Made by `decision.request.check`, which tells all faults at once."""

    hardware: str
    data_size: int  # labelled images in all
    classes: int | None
    domain: str | None
    limits: tuple[Limit, ...]
    runtimes: tuple[str, ...]  # empty: all that the hardware offers
    precisions: tuple[str, ...]
    backbones: tuple[str, ...]
    seed: int


@dataclass(frozen=True, slots=True)
class Violation:
    """A limit that a candidate breaks, by which figure. None: the figure is unknown, so the limit cannot be kept."""

    limit: Limit
    figure: Figure | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """Backbone × freeze depth × runtime × precision × resolution, with its evidence and its standing."""

    backbone: str
    family: Family
    freeze: FreezePoint
    runtime: str
    precision: str
    resolution: int
    params: int
    macs: int  # torchvision's convention
    accuracy: Figure
    latency: Figure | None  # None: nothing can honestly be said on this hardware
    artifact: Figure
    memory: Figure | None
    train_seconds: Figure | None  # on this machine
    violations: tuple[Violation, ...] = ()
    pareto: bool = False
    probability_best: float | None = None  # None for infeasible ones
    expected_regret: float | None = None  # percentage points of accuracy
    tied: bool = False  # within the zone of indifference around the best
    conflicts: tuple[Statement, ...] = ()  # other evidence for the same figure that disagrees with the one shown
    latency_p90: Figure | None = None  # of the same origin as `latency`; latency limits are held against it

    @property
    def feasible(self) -> bool:
        """Whether every limit is kept and the latency is known wherever it is limited."""
        return not self.violations


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The chosen candidate, how to train it, and why it was chosen."""

    candidate: Candidate
    hyperparameters: dict[str, str | float | int]
    why: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class PolicyAnswer:
    """What the document's own rule (P1 or P2) would do with the same request, beside the answer."""

    practice: str  # "P1" or "P2"
    freeze_name: str
    says: Statement
    agrees: bool


@dataclass(frozen=True, slots=True)
class TableCell:
    """One cell of the document's selection table: as the document states it, and as the evidence fills it."""

    dimension: str  # params | speed | hardware_need | typical_use
    family: Family
    document: Statement
    evidence: Statement
    source: str


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim of the document, audited."""

    id: str  # C1 … C13
    claim: Statement
    verdict: str  # confirmed | refuted | undecided
    finding: Statement
    source: str


@dataclass(frozen=True, slots=True)
class NextMeasurement:
    """A measurement that would most reduce the chance of being wrong, and the command for it."""

    what: Statement
    command: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Everything that one request was answered with. Candidates: feasible ones first, best first."""

    request: Request
    profile: HardwareProfile
    reference: HardwareProfile  # the device that latency is stated on: the profile itself, or a class's first reference
    recommendation: Recommendation
    candidates: tuple[Candidate, ...]
    policy: PolicyAnswer
    document_table: tuple[TableCell, ...]
    claims: tuple[Claim, ...]
    next_measurements: tuple[NextMeasurement, ...]
    notes: tuple[Statement, ...]  # what the answer rests on and what it cannot tell
    command: str  # reproduces the answer
