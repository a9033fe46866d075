"""A graph and the weights beside it."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from selector.profiling.runtimes.graph_files import bytes_of, digest_of, files_of, in_one_file, move_weights_out

WEIGHTS = np.arange(4096, dtype=np.float32).reshape(64, 64)


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """A product with a constant of 16 kB, and a sum with one of four bytes."""
    nodes = [helper.make_node("MatMul", ["image", "weights"], ["product"])]
    nodes += [helper.make_node("Add", ["product", "bias"], ["logits"])]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 64]) for name in ("image", "logits")]
    constants = [numpy_helper.from_array(WEIGHTS, "weights"), numpy_helper.from_array(np.float32([2.0]), "bias")]
    body = helper.make_graph(nodes, "product", ends[:1], ends[1:], constants)
    file = tmp_path / "model.onnx"
    onnx.save(helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(file))
    return file


def answer(file: Path) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    found: NDArray[np.float32] = session.run(None, {"image": np.ones((1, 64), dtype=np.float32)})[0]
    return found


def test_weights_move_out_and_back_and_nothing_else_changes(graph: Path, tmp_path: Path) -> None:
    alone, whole = answer(graph), graph.stat().st_size
    assert files_of(graph) == (graph,)
    assert np.array_equal(alone, WEIGHTS.sum(axis=0, keepdims=True) + 2)
    move_weights_out(graph)
    weights = tmp_path / "model.onnx.data"
    assert files_of(graph) == (graph, weights)
    assert graph.stat().st_size < 1024
    assert bytes_of(graph) == graph.stat().st_size + weights.stat().st_size
    assert np.array_equal(answer(graph), alone)
    there = tmp_path / "elsewhere"
    there.mkdir()
    with in_one_file(graph, there) as copy:
        assert copy.parent.parent == there
        assert files_of(copy) == (copy,)
        assert copy.stat().st_size == pytest.approx(whole, abs=64)
        assert np.array_equal(answer(copy), alone)
    assert not list(there.iterdir())


def test_weights_begin_where_memory_of_their_own_would_and_lie_there_once(graph: Path) -> None:
    model = onnx.load(str(graph))
    odd = [numpy_helper.from_array(np.ones(n, dtype=np.uint8), f"odd{n}") for n in (1025, 2049)]
    model.graph.initializer.extend(odd)
    onnx.save(model, str(graph))
    move_weights_out(graph)
    once = bytes_of(graph)
    tensors = onnx.load(str(graph), load_external_data=False).graph.initializer
    begins = {t.name: int(e.value) for t in tensors for e in t.external_data if e.key == "offset"}
    assert set(begins) == {"weights", "odd1025", "odd2049"}
    assert not [begin for begin in begins.values() if begin % 64]
    move_weights_out(graph)
    assert bytes_of(graph) == once
    back = {t.name: numpy_helper.to_array(t) for t in onnx.load(str(graph)).graph.initializer}
    assert np.array_equal(back["weights"], WEIGHTS)
    assert [back[tensor.name].sum() for tensor in odd] == [1025, 2049]


def test_a_file_of_that_name_in_the_working_directory_is_nobodys_business(
    graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "model.onnx.data").write_text("the user's")
    monkeypatch.chdir(own)
    move_weights_out(graph)
    assert len(files_of(graph)) == 2
    assert (own / "model.onnx.data").read_text() == "the user's"


def test_what_lies_in_one_file_is_taken_as_it_is(graph: Path, tmp_path: Path) -> None:
    with in_one_file(graph, tmp_path) as same:
        assert same == graph
    assert graph.exists()


def test_the_digest_is_of_graph_and_weights(graph: Path, tmp_path: Path) -> None:
    whole = digest_of(graph)
    move_weights_out(graph)
    both = digest_of(graph)
    assert both != whole
    weights = tmp_path / "model.onnx.data"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\0")
    assert digest_of(graph) != both
    weights.unlink()
    assert len(digest_of(graph)) == 64
    with pytest.raises(FileNotFoundError):
        bytes_of(tmp_path / "none.onnx")
