"""What TensorRT's runtimes do around the GPU: engines are built for real (TensorRT for RTX needs no GPU for that), what
only a GPU can refuse is refused by a library made for it.
"""

import json
import os
import subprocess
import sys
from dataclasses import replace
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from selector.errors import RuntimeUnavailable
from selector.hardware.gpus import Gpu
from selector.hardware.machine import detect
from selector.profiling.forks import classify_error
from selector.profiling.runtimes import export, runtime, tensorrt
from selector.profiling.runtimes.base import ModelFile

needs_rtx = pytest.mark.skipif(
    find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx-cu13 is not installed; `pip install -e '.[tensorrt-rtx]'`"
)
MODEL = ModelFile("resnet18", 1000, 64, Path("model.onnx"))
NO_ROOM = (  # of TensorRT 8.6, NVIDIA/TensorRT#3017
    "[executionContext.cpp::nvinfer1::rt::ExecutionContext::ExecutionContext::470] Error Code 2: OutOfMemory (no "
    "further information)"
)


class Severity(Enum):
    ERROR = 1
    VERBOSE = 4


class Logger:
    Severity = Severity


def library(*, engine: bool, complaint: str = "") -> Any:
    """A TensorRT that complains, and then makes no engine, or an engine that makes no context."""

    class Runtime:
        def __init__(self, logger: Any) -> None:
            self._logger = logger

        def complain(self) -> None:
            if complaint:
                self._logger.log(Severity.ERROR, complaint)

        def deserialize_cuda_engine(self, content: bytes) -> Any:
            if engine:
                return SimpleNamespace(create_execution_context=self.complain)
            return self.complain()

    return SimpleNamespace(ILogger=Logger, Runtime=Runtime)


def refusal(made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BaseException:
    file = tmp_path / "model.engine"
    file.write_bytes(b"an engine")
    monkeypatch.setattr(tensorrt.TensorRT, "library", staticmethod(lambda: made))
    with pytest.raises((MemoryError, RuntimeUnavailable)) as caught:
        tensorrt.TensorRT(MODEL, precision="fp32", threads=1).load_engine(file)
    return caught.value


@pytest.mark.parametrize("complaint", [NO_ROOM, "", "something new"])
def test_no_context_is_no_memory(complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome, detail = classify_error(refusal(library(engine=True, complaint=complaint), tmp_path, monkeypatch))
    assert outcome == "out-of-memory"
    assert (complaint or "no reason given") in detail


def test_no_engine_may_be_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome, detail = classify_error(refusal(library(engine=False, complaint=NO_ROOM), tmp_path, monkeypatch))
    assert outcome == "out-of-memory"
    assert NO_ROOM in detail


def test_no_engine_for_another_reason_is_told_in_the_librarys_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complaint = "The engine plan file is not compatible with this version of TensorRT"
    outcome, detail = classify_error(refusal(library(engine=False, complaint=complaint), tmp_path, monkeypatch))
    assert outcome == "unavailable"
    assert complaint in detail
    assert "another GPU, driver or version, damaged, or too large" in detail


@needs_rtx
def test_an_engine_is_looked_for_once_in_a_process(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, __file__, str(tmp_path)], capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["built_ms"] > 0
    assert seen["kept"] is None  # another build finds it in the cache
    assert seen["same"], "entering looked at the graph, which is no longer there"
    assert seen["other"] == "FileNotFoundError"  # of another precision nothing is known
    assert seen["damaged"][0] == "unavailable"
    assert "damaged" in seen["damaged"][1]


def look(home: Path) -> dict[str, Any]:
    kind = runtime("tensorrt-rtx")
    assert issubclass(kind, tensorrt.TensorRTRTX)
    here = replace(detect(), gpus=(Gpu("NVIDIA L4", compute_capability="8.9", driver="550.54"),))
    tensorrt.detect = lambda: here  # type: ignore[attr-defined]  # the GPU that is not here
    wanted = export.recipe_for(kind, "mobilenetv3_small_050", resolution=32, precision="fp32")
    if os.fork() == 0:  # torch makes the graph in a process of its own
        export.make(wanted)
        os._exit(0)
    assert os.wait()[1] == 0, "making the graph failed"
    model = wanted.model_file(32)
    built, again = kind.build(model, "fp32"), kind.build(model, "fp32")
    model.path.unlink()
    seen: dict[str, Any] = {"built_ms": built.build_ms, "kept": again.build_ms}
    seen["same"] = kind(model, precision="fp32", threads=1).engine_file() == built.path
    try:
        kind(model, precision="tf32", threads=1).engine_file()
    except FileNotFoundError as error:
        seen["other"] = type(error).__name__
    damaged = home / "model.engine"
    damaged.write_bytes(b"no engine")
    try:
        kind(model, precision="fp32", threads=1).load_engine(damaged)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is looked at
        seen["damaged"] = classify_error(error)
    return seen


if __name__ == "__main__":
    os.environ["SELECTOR_HOME"] = sys.argv[1]
    sys.stdout.write(json.dumps(look(Path(sys.argv[1]))))
