"""What a session's models are made of: which weights, and which images quantisation is calibrated and judged on."""

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from selector.errors import InvalidInput, WeightsUnavailable
from selector.profiling.agreement import LOSSY
from selector.profiling.images import ImageSet, Role, files_of, unreadable
from selector.profiling.models import WEIGHTS_NOTE


@dataclass(frozen=True, slots=True)
class Material:
    """Weights from a folder of files named after timm ids, and images; without them, seeded random and synthetic."""

    weights: Path | None = None
    images: Path | None = None

    def check(
        self,
        backbones: Collection[str],
        precisions: Collection[str],
        told: Callable[[int, int], None] = lambda done, of: None,
    ) -> None:
        """Read once all files that these backbones need in these precisions; `told` hears how many of them are read.

        Raises InvalidInput with all that are missing or cannot be read.
        """
        looks = [partial(self._unreadable, name) for name in backbones if self.weights is not None]
        folder_faults: tuple[str, ...] = ()
        if self.images is not None:
            try:
                looks += [partial(unreadable, file) for file in files_of(self.folder, roles(precisions))]
            except InvalidInput as error:
                folder_faults = error.faults
        faults: list[str] = []
        for done, look in enumerate(looks):
            told(done, len(looks))
            faults += look()
        faults += folder_faults
        if faults:
            raise InvalidInput(list(dict.fromkeys(faults)))

    def _unreadable(self, backbone: str) -> tuple[str, ...]:
        """What is wrong with the backbone's weights."""
        try:
            self.weights_digest(backbone)
        except InvalidInput as error:
            return error.faults
        except OSError as error:
            return (f"the weights of {backbone} in {str(self.weights)!r} cannot be read: {error}",)
        return ()

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


def roles(precisions: Collection[str]) -> tuple[Role, ...]:
    """What images are needed for: static quantisation is calibrated, and all that is lossy is compared with fp32."""
    wanted: dict[Role, bool] = {
        "calibration": "int8-static" in precisions,
        "agreement": any(precision in LOSSY for precision in precisions),
    }
    return tuple(role for role, needed in wanted.items() if needed)


@lru_cache(maxsize=64)
def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:12]
