"""The files of an ONNX graph: the graph, and beside it one with its weights, which runtimes map into memory.

A runtime that finds the weights within the graph parses all of it into memory first and copies them from there: VGG-16
then takes ONNX Runtime and OpenVINO about twice as long to load, and 0.6 and 1.1 GB more memory on the way
(`ModelFile.files` are what a runtime reads).
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

SMALLEST = 1024  # bytes of a tensor; smaller ones stay in the graph, where whoever reads it finds shapes and axes
ALIGNED = 64  # bytes; where a runtime computes on the mapped file, each tensor begins as one in memory of its own does


def files_of(model: Path) -> tuple[Path, ...]:
    """The model's file and, where it has its weights beside it, theirs."""
    weights = _weights(model)
    return (model, weights) if weights.exists() else (model,)


def bytes_of(model: Path) -> int:
    """The size of its files. Raises FileNotFoundError without the model."""
    return sum(file.stat().st_size for file in files_of(model))


def digest_of(model: Path) -> str:
    """The sha256 of its file; with weights beside it, that of both files' digests."""
    digests = []
    for file in files_of(model):
        with file.open("rb") as stream:
            digests.append(hashlib.file_digest(stream, "sha256").hexdigest())
    return digests[0] if len(digests) == 1 else hashlib.sha256(" ".join(digests).encode()).hexdigest()


def move_weights_out(graph: Path) -> None:
    """Write the graph anew, with its weights in a file beside it. Raises OSError where the disk is full."""
    import onnx
    from onnx.external_data_helper import set_external_data

    model = onnx.load(str(graph))
    for file in files_of(graph):  # what is written is appended to a file that is there
        file.unlink()
    end = 0
    for tensor in model.graph.initializer:  # onnx's own marking refuses where the working directory has such a file
        if len(tensor.raw_data) >= SMALLEST:
            begin = -(-end // ALIGNED) * ALIGNED
            set_external_data(tensor, _weights(graph).name, offset=begin)
            end = begin + len(tensor.raw_data)
    onnx.save_model(model, str(graph))


@contextmanager
def in_one_file(model: Path, folder: Path) -> Iterator[Path]:
    """The model as a single file, for who takes it elsewhere: itself, or a copy in `folder` that does not last.

    Raises OSError where the disk is full.
    """
    if len(files_of(model)) == 1:
        yield model
        return
    import onnx

    with TemporaryDirectory(dir=folder) as place:
        copy = Path(place) / model.name
        onnx.save_model(onnx.load(str(model)), str(copy))
        yield copy


def _weights(model: Path) -> Path:
    return model.with_name(f"{model.name}.data")
