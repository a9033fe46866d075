"""What a session's models are made of: which weights, and which images quantisation is calibrated and judged on."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from selector.errors import InvalidInput, WeightsUnavailable
from selector.profiling.images import ImageSet, unreadable
from selector.profiling.models import WEIGHTS_NOTE


@dataclass(frozen=True, slots=True)
class Material:
    """Weights from a folder of files named after timm ids, and images; without them, seeded random and synthetic."""

    weights: Path | None = None
    images: Path | None = None

    def check(self, backbones: tuple[str, ...]) -> None:
        """Read all files once. Raises InvalidInput with all that are missing or cannot be read for these backbones."""
        faults: list[str] = []
        for name in backbones:
            try:
                self.weights_digest(name)
            except InvalidInput as error:
                faults += error.faults
            except OSError as error:
                faults.append(f"the weights of {name} in {str(self.weights)!r} cannot be read: {error}")
        if self.images is not None:
            try:
                faults += unreadable(self.folder)
            except InvalidInput as error:
                faults += error.faults
        if faults:
            raise InvalidInput(list(dict.fromkeys(faults)))

    def weights_file(self, backbone: str) -> Path | None:
        """The backbone's weights; None for random ones. Raises InvalidInput, for a missing file WeightsUnavailable."""
        if self.weights is None:
            return None
        if not self.weights.is_dir():
            raise InvalidInput(f"weights folder {str(self.weights)!r} does not exist")
        from selector.backbones.weights import SUFFIXES  # needs torch, which a run with random weights does not

        for suffix in SUFFIXES:
            file = self.weights / f"{backbone}{suffix}"
            if file.is_file():
                return file
        raise WeightsUnavailable(f"{str(self.weights)!r} has no file {backbone} with {' or '.join(SUFFIXES)}")

    def weights_digest(self, backbone: str) -> str:
        """Names the weights' content; empty for random ones."""
        file = self.weights_file(backbone)
        return "" if file is None else _digest(file)

    def weights_note(self, backbone: str) -> str:
        """Which weights, as figures' sources tell it."""
        file = self.weights_file(backbone)
        return WEIGHTS_NOTE if file is None else f"weights of {file.name} (sha256 {_digest(file)})"

    @property
    def folder(self) -> str:
        """The images' folder as `ImageSet` takes it."""
        return str(self.images) if self.images else ""

    def calibration(self) -> ImageSet:
        """What static quantisation is calibrated on."""
        return ImageSet("calibration", self.folder)

    def agreement(self) -> ImageSet:
        """What agreement with fp32 is measured on."""
        return ImageSet("agreement", self.folder)


@lru_cache(maxsize=64)
def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:12]
