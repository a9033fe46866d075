import json
from pathlib import Path

import numpy as np
import pytest

from selector.errors import MeasurementFailed
from selector.profiling.runtimes import export
from selector.profiling.runtimes.export import Recipe, make, recipe

SMALL = "mobilenetv3_small_050"


@pytest.fixture(autouse=True)
def _home(home: Path) -> None:
    pass


def test_a_file_is_made_once() -> None:
    wanted = recipe("onnx", SMALL, resolution=64)
    first = make(wanted).stat()
    assert make(wanted).stat().st_mtime_ns == first.st_mtime_ns
    about = json.loads((wanted.folder / "about.json").read_text())
    assert about["bytes"] == first.st_size
    assert 0 <= about["max_difference_to_eager"] <= export.TOLERANCE


def test_a_graph_takes_any_batch() -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(make(recipe("onnx", SMALL, resolution=64))))
    images = np.random.default_rng(0).standard_normal((5, 3, 64, 64), dtype=np.float32)
    together = session.run(None, {"image": images})[0]
    alone = np.concatenate([session.run(None, {"image": image[None]})[0] for image in images])
    assert together.shape == (5, 1000)
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_whatever_changes_the_content_changes_the_place() -> None:
    base = Recipe("onnx", SMALL, resolution=64)
    others = [
        Recipe("weights", SMALL),
        Recipe("onnx", "resnet18", resolution=64),
        Recipe("onnx", SMALL, resolution=96),
        Recipe("onnx", SMALL, resolution=64, seed=1),
        Recipe("onnx", SMALL, resolution=64, classes=10),
        Recipe("onnx", SMALL, resolution=64, precision="int8-static"),
    ]
    assert len({r.folder for r in (base, *others)}) == len(others) + 1


def test_a_graph_that_answers_otherwise_is_refused_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    wanted = Recipe("onnx", SMALL, resolution=32)
    with pytest.raises(MeasurementFailed, match="differs from eager"):
        make(wanted)
    assert not wanted.folder.exists()
    assert not list(wanted.folder.parent.glob(".making-*"))
