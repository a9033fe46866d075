import json
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from selector.errors import MeasurementFailed
from selector.profiling.runtimes import export
from selector.profiling.runtimes.export import Recipe, make, making, recipe
from selector.profiling.runtimes.graph_files import bytes_of, files_of

if TYPE_CHECKING:
    from timm.models.vgg import VGG

SMALL = "mobilenetv3_small_050"


@pytest.fixture(autouse=True)
def _home(home: Path) -> None:
    pass


def test_a_file_is_made_once() -> None:
    wanted = recipe("onnx", SMALL, resolution=64)
    first = make(wanted).stat()
    assert make(wanted).stat().st_mtime_ns == first.st_mtime_ns
    about = json.loads((wanted.folder / "about.json").read_text())
    assert about["bytes"] == bytes_of(wanted.path)
    assert len(files_of(wanted.path)) == 2  # its weights lie beside it
    assert 0 <= about["max_difference_to_eager"] <= export.TOLERANCE


@pytest.mark.parametrize("lost", ["model.onnx", "model.onnx.data"])
def test_a_graph_lost_in_part_is_made_again(lost: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SELECTOR_HOME", str(tmp_path))
    wanted = recipe("onnx", SMALL, resolution=32)
    assert not wanted.is_there()
    whole = bytes_of(make(wanted))
    assert wanted.is_there()
    (wanted.folder / lost).unlink()
    assert not wanted.is_there()
    assert bytes_of(make(wanted)) == whole
    (wanted.folder / "about.json").unlink()
    assert wanted.is_there()  # as far as anybody knows


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


def test_what_a_killed_export_left_goes_with_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SELECTOR_HOME", str(tmp_path))
    wanted = recipe("weights", SMALL, resolution=64)
    left = wanted.folder.parent / f".making-{socket.gethostname()}-abc"
    left.mkdir(parents=True)
    (left / "weights.safetensors").write_bytes(b"half")
    os.utime(left, (0, 0))
    make(wanted)
    assert list(wanted.folder.parent.iterdir()) == [wanted.folder]


@pytest.mark.parametrize("precision", ["fp16", "int8-dynamic", "int8-static", "int8-static-symmetric"])
def test_lossy_graphs_take_any_batch_and_say_how_like_eager_they_are(precision: str) -> None:
    import onnx
    import onnxruntime

    wanted = recipe("onnx", SMALL, resolution=64, precision=precision)
    session = onnxruntime.InferenceSession(str(make(wanted)))
    images = np.random.default_rng(0).standard_normal((5, 3, 64, 64), dtype=np.float32)
    assert session.run(None, {"image": images})[0].shape == (5, 1000)
    about = json.loads((wanted.folder / "about.json").read_text())
    assert about["max_difference_to_eager"] > 0 if precision == "fp16" else 0 < about["cosine_to_eager"] < 1
    operators = {node.op_type for node in onnx.load(str(wanted.path)).graph.node}
    assert ("QuantizeLinear" in operators) == precision.startswith("int8-static")
    assert ("MatMulInteger" in operators) == (precision == "int8-dynamic")
    assert len(files_of(wanted.path)) == 2
    assert bytes_of(wanted.path) < bytes_of(recipe("onnx", SMALL, resolution=64).path)


def test_dynamic_quantisation_is_of_linear_layers_only_in_both_runtimes() -> None:
    import onnx
    from safetensors import safe_open

    graph = onnx.load(str(make(recipe("onnx", SMALL, resolution=64, precision="int8-dynamic")))).graph
    assert not {node.op_type for node in graph.node} & {"ConvInteger", "QLinearConv"}
    with safe_open(str(make(recipe("weights", SMALL, resolution=64, precision="int8-dynamic"))), "pt") as file:
        integers = [name for name in file.keys() if str(file.get_slice(name).get_dtype()) == "I8"]  # noqa: SIM118
    assert integers == ["classifier.weight_int8"]


def test_a_symmetric_graph_has_no_zero_points_and_no_quantised_bias() -> None:
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(make(recipe("onnx", SMALL, resolution=64, precision="int8-static-symmetric")))).graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    points = [constants[node.input[2]] for node in graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert points
    assert all(not point.any() and point.dtype == np.int8 for point in points)


def test_weights_of_a_folder_make_other_files_and_must_stay_the_same(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    from selector.errors import InvalidInput, WeightsUnavailable
    from selector.profiling import material, models
    from selector.profiling.material import Material

    state = models.create(SMALL, seed=5).state_dict()
    save_file(dict(state), str(tmp_path / f"{SMALL}.safetensors"))
    theirs = Material(weights=tmp_path)
    wanted = recipe("weights", SMALL, resolution=64, material=theirs)
    assert wanted.folder != recipe("weights", SMALL, resolution=64).folder
    made = load_file(str(make(wanted)))
    assert all(torch.equal(made[name], tensor) for name, tensor in state.items())
    assert f"weights of {SMALL}.safetensors" in theirs.weights_note(SMALL)
    with pytest.raises(WeightsUnavailable, match="has no file resnet18"):
        recipe("weights", "resnet18", resolution=64, material=theirs)

    later = recipe("onnx", SMALL, resolution=64, material=theirs)
    save_file(dict(models.create(SMALL, seed=6).state_dict()), str(tmp_path / f"{SMALL}.safetensors"))
    material._digest.cache_clear()
    with pytest.raises(InvalidInput, match="changed meanwhile"):
        make(later)


@pytest.fixture
def small_vgg() -> "VGG":
    """A VGG with everything of timm's, and few channels."""
    import torch
    from timm.models.vgg import VGG

    torch.manual_seed(0)
    return VGG([8, "M", 8, "M", 8, "M", 8, "M", 8, "M"], num_classes=10, mlp_ratio=0.02).eval().requires_grad_(False)


@pytest.mark.parametrize("rows", range(1, 10))
@pytest.mark.parametrize("columns", [1, 5, 7, 8])
def test_features_are_stretched_as_torch_does(rows: int, columns: int) -> None:
    import torch
    from torch.nn.functional import adaptive_avg_pool2d

    from selector.profiling.runtimes.adaptive_pool import stretched

    features = torch.randn(2, 3, rows, columns, generator=torch.Generator().manual_seed(0))
    expected = adaptive_avg_pool2d(features, (max(rows, 7), max(columns, 7)))
    torch.testing.assert_close(stretched(features, 7), expected)


@pytest.mark.parametrize("side", [32, 100, 160, 224, 256])
def test_a_vgg_is_exported_at_any_resolution_and_stays_as_it_was(small_vgg: "VGG", side: int, tmp_path: Path) -> None:
    wanted, file = Recipe("onnx", "vgg16", resolution=side), tmp_path / "model.onnx"
    export._export(small_vgg, wanted, file)
    assert not small_vgg.pre_logits._forward_pre_hooks
    assert export._check_graph(small_vgg, wanted, file, export.TOLERANCE) < export.TOLERANCE


def test_a_stretched_vgg_has_its_lossy_variants_too(small_vgg: "VGG", tmp_path: Path) -> None:
    from selector.profiling.runtimes import quantise

    wanted, file, lossy = Recipe("onnx", "vgg16", resolution=160), tmp_path / "a.onnx", tmp_path / "b.onnx"
    export._export(small_vgg, wanted, file)
    quantise.cast_to_half(file, lossy)
    assert export._check_graph(small_vgg, wanted, lossy, export.HALF_TOLERANCE) > 0
    quantise.quantise_dynamic(file, lossy)
    assert export._likeness(small_vgg, wanted, lossy) > 0.9
    images = np.random.default_rng(0).standard_normal((4, 3, 160, 160), dtype=np.float32)
    for symmetric in (False, True):
        assert list(quantise.quantising_static(file, lossy, images, symmetric=symmetric)) == [0, 1, 2, 3, 4]
        assert export._likeness(small_vgg, wanted, lossy) > 0.9


def test_each_calibration_image_is_a_step() -> None:
    wanted = recipe("onnx", SMALL, resolution=40, precision="int8-static")
    assert not wanted.path.exists()
    exported, preprocessed, *calibrated = making(wanted)
    assert exported == preprocessed == 0
    assert calibrated == [(i + 1) / 33 for i in range(32)]  # and then the weights
    assert wanted.path.exists()


@pytest.mark.parametrize("symmetric", [False, True])
def test_calibrating_image_by_image_gives_the_scales_of_all_at_once(tmp_path: Path, symmetric: bool) -> None:
    import onnx
    from onnx import numpy_helper
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    from selector.profiling.runtimes import quantise

    graph = make(recipe("onnx", SMALL, resolution=64))
    images = np.random.default_rng(0).standard_normal((7, 3, 64, 64), dtype=np.float32)
    ours, plain, theirs = (tmp_path / name for name in ("ours.onnx", "plain.onnx", "theirs.onnx"))
    assert list(quantise.quantising_static(graph, ours, images, symmetric=symmetric)) == list(range(8))

    class Reader(CalibrationDataReader):  # type: ignore[misc] # onnxruntime publishes no types
        rest = iter(images)

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self.rest, None)
            return None if image is None else {"image": image[None]}

    quant_pre_process(str(graph), str(plain))
    quantize_static(
        plain,
        theirs,
        Reader(),
        op_types_to_quantize=list(quantise.STATIC_OPS),
        per_channel=True,
        weight_type=QuantType.QInt8,
        reduce_range=not symmetric,
        extra_options={"ActivationSymmetric": symmetric, "QuantizeBias": not symmetric},
    )
    constants = [
        {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(file).graph.initializer}
        for file in (ours, theirs)
    ]
    assert constants[0].keys() == constants[1].keys()
    assert sum(name.endswith("_scale") for name in constants[0]) > 100
    for name, values in constants[0].items():
        np.testing.assert_array_equal(values, constants[1][name], err_msg=name)


def test_an_image_that_cannot_be_read_ends_the_calibration(tmp_path: Path) -> None:
    from collections.abc import Iterator

    from selector.profiling.runtimes import quantise

    def images() -> Iterator[np.ndarray]:
        yield np.zeros((3, 64, 64), dtype=np.float32)
        raise MemoryError("no room for the second")

    graph = make(recipe("onnx", SMALL, resolution=64))
    going = quantise.quantising_static(graph, tmp_path / "out.onnx", images(), symmetric=False)
    assert [next(going), next(going)] == [0, 1]
    with pytest.raises(MemoryError, match="the second"):
        next(going)
    assert list(tmp_path.iterdir()) == []


def test_no_relu_is_left_beside_int8_convolutions(tmp_path: Path) -> None:
    import onnx
    import timm

    from selector.profiling.runtimes import quantise

    model = timm.create_model("mobilenetv2_100", pretrained=False).eval()
    wanted, file, lossy = Recipe("onnx", "mobilenetv2_100", resolution=64), tmp_path / "a.onnx", tmp_path / "b.onnx"
    export._export(model, wanted, file)
    assert "Clip" in {node.op_type for node in onnx.load(file).graph.node}
    images = np.random.default_rng(0).standard_normal((4, 3, 64, 64), dtype=np.float32)
    *_, seen = quantise.quantising_static(file, lossy, images, symmetric=False)
    assert seen == len(images)
    assert "Clip" not in {node.op_type for node in onnx.load(lossy).graph.node}


def test_what_onnx_cannot_express_is_told_in_one_line(tmp_path: Path) -> None:
    from torch import nn

    with pytest.raises(
        MeasurementFailed, match=r"^vgg16 at 36 px cannot be exported to ONNX: [^\n]*output size[^\n]*$"
    ):
        export._export(nn.AdaptiveAvgPool2d(7), Recipe("onnx", "vgg16", resolution=36), tmp_path / "model.onnx")
