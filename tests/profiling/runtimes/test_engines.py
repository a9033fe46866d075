"""TensorRT engines are built for real, without a GPU, by TensorRT-RTX for the architecture SM89."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from selector.errors import MeasurementFailed
from selector.hardware.gpus import Gpu
from selector.hardware.machine import detect
from selector.profiling.runtimes import export, runtime
from selector.profiling.runtimes.engines import Target
from selector.profiling.runtimes.tensorrt import RTX_SERVES

needs_rtx = pytest.mark.skipif(
    find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx-cu13 is not installed; `pip install -e '.[tensorrt-rtx]'`"
)

# one a family; mobilenet in every precision, because a quantised and a cast graph are other graphs
Built = dict[str, dict[str, Any]]

BUILDS = (
    ("resnet18", "fp32"),
    ("vgg11_bn", "fp32"),
    ("efficientnet_b0", "fp32"),
    ("mobilenetv2_100", "fp32"),
    ("mobilenetv2_100", "tf32"),
    ("mobilenetv2_100", "fp16"),
    ("mobilenetv2_100", "int8-static"),
    ("efficientnet_b0", "int8-static"),
)
SM89 = Target((8, 9))


@pytest.fixture(scope="module")
def engines(model_home: Path) -> Built:
    """All engines, built in a process of their own after another has made the graphs."""
    done = subprocess.run(
        [sys.executable, __file__, str(model_home)], capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr
    built: Built = json.loads(done.stdout.splitlines()[-1])
    return built


@needs_rtx
@pytest.mark.parametrize(("backbone", "precision"), BUILDS)
def test_an_engine_is_built_without_a_gpu(engines: Built, backbone: str, precision: str) -> None:
    engine = engines[f"{backbone} {precision}"]
    assert engine["first"]["cached"] is False
    assert engine["first"]["build_s"] > 0
    assert engine["first"]["bytes"] == engine["file_bytes"]
    assert any("Engine generation completed" in line for line in engine["first"]["log"])
    # the second time it comes from the cache, with what is known of its making
    assert engine["second"] == {**engine["first"], "cached": True}


@needs_rtx
def test_half_and_quantised_engines_are_smaller(engines: Built) -> None:
    size = {name: engine["file_bytes"] for name, engine in engines.items()}
    assert size["mobilenetv2_100 fp16"] < 0.6 * size["mobilenetv2_100 fp32"]
    # TensorRT for RTX 1.7 keeps much of a quantised graph's weights in fp32: smaller, but not by a factor of four
    assert size["mobilenetv2_100 int8-static"] < 0.9 * size["mobilenetv2_100 fp32"]


@needs_rtx
def test_what_an_engine_depends_on_names_its_folder(engines: Built) -> None:
    folders = {engine["folder"] for engine in engines.values()}
    assert len(folders) == len(BUILDS)  # tf32 is a flag, the graph is fp32's
    assert all("-sm89-" in str(folder) for folder in folders)


@needs_rtx
def test_what_a_killed_build_left_goes_with_the_next(engines: Built, model_home: Path) -> None:
    assert engines
    assert not list((model_home / "cache" / "engines").glob(".building-*"))


@needs_rtx
def test_an_architecture_that_is_not_served_is_told(engines: Built) -> None:
    assert "does not serve SM90" in str(engines["resnet18 fp32"]["hopper"])


@needs_rtx
def test_a_file_that_is_no_graph_is_refused_in_the_parsers_words(
    engines: Built,
) -> None:
    assert "cannot read the graph" in str(engines["resnet18 fp32"]["broken"])


@needs_rtx
def test_the_list_of_architectures_is_the_librarys() -> None:
    script = "import tensorrt_rtx; print(*tensorrt_rtx.ComputeCapability.__members__)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    served = {name for name in done.stdout.split() if name.startswith("SM")}
    assert served == {Target(capability).architecture for capability in RTX_SERVES}


@needs_rtx
def test_what_is_called_where_there_is_a_gpu_has_the_names_that_the_library_has() -> None:
    called = (
        "Runtime.deserialize_cuda_engine ICudaEngine.create_execution_context ICudaEngine.create_runtime_config "
        "IRuntimeConfig.create_runtime_cache IRuntimeConfig.set_runtime_cache IRuntimeCache.serialize "
        "IRuntimeConfig.dynamic_shapes_kernel_specialization_strategy IRuntimeCache.deserialize "
        "DynamicShapesKernelSpecializationStrategy.EAGER IExecutionContext.set_input_shape "
        "IExecutionContext.set_tensor_address IExecutionContext.execute_async_v3 "
        "IBuilderConfig.create_timing_cache IBuilderConfig.set_timing_cache ITimingCache.serialize"
    )
    script = (
        "import sys, tensorrt_rtx; "
        "print([n for n in sys.argv[1:] if not hasattr(getattr(tensorrt_rtx, n.split('.')[0]), n.split('.')[1])])"
    )
    done = subprocess.run([sys.executable, "-c", script, *called.split()], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@needs_rtx
def test_a_gpu_that_is_not_served_is_told_and_one_that_is_served_is_offered() -> None:
    rtx = runtime("tensorrt-rtx")
    hopper = rtx.availability(replace(detect(), gpus=(Gpu("NVIDIA H100", compute_capability="9.0"),)))
    assert not hopper.usable
    assert "does not serve NVIDIA H100 (SM90)" in str(hopper.why)
    ada = rtx.availability(replace(detect(), gpus=(Gpu("NVIDIA L4", compute_capability="8.9"),)))
    assert ada.usable
    assert ada.precisions == ("fp32", "tf32", "fp16", "int8-static")


def build_all(home: Path) -> Built:
    import tensorrt_rtx

    from selector.profiling.runtimes.engines import build_engine

    built: Built = {}
    left = home / "cache" / "engines" / f".building-{socket.gethostname()}-abc"  # of a process that was killed
    left.mkdir(parents=True)
    os.utime(left, (0, 0))
    for backbone, precision in BUILDS:
        graph = wanted(backbone, precision).path
        both = [build_engine(tensorrt_rtx, graph, SM89, tf32=precision == "tf32") for _ in range(2)]
        facts = [{"build_s": e.build_s, "bytes": e.bytes, "log": list(e.log), "cached": e.cached} for e in both]
        built[f"{backbone} {precision}"] = {
            "first": facts[0],
            "second": facts[1],
            "file_bytes": both[0].path.stat().st_size,
            "folder": both[0].path.parent.name,
        }
    first = built["resnet18 fp32"]
    broken = home / "broken" / "model.onnx"
    broken.parent.mkdir(exist_ok=True)
    broken.write_bytes(b"no graph")
    for name, graph, target in (
        ("hopper", wanted("resnet18", "fp32").path, Target((9, 0))),
        ("broken", broken, SM89),
    ):
        try:
            build_engine(tensorrt_rtx, graph, target)
        except MeasurementFailed as error:
            first[name] = str(error)
    return built


def wanted(backbone: str, precision: str) -> export.Recipe:
    # VGG's pooling to 7 × 7 can only be exported from multiples of that: its own resolution, 224
    resolution = 224 if backbone.startswith("vgg") else 64
    return export.recipe_for(runtime("tensorrt-rtx"), backbone, resolution=resolution, precision=precision)


if __name__ == "__main__":
    os.environ["SELECTOR_HOME"] = sys.argv[1]
    if os.fork() == 0:  # torch makes the graphs in a process of its own
        for backbone, precision in BUILDS:
            export.make(wanted(backbone, precision))
        os._exit(0)
    assert os.wait()[1] == 0, "making the graphs failed"
    sys.stdout.write(json.dumps(build_all(Path(sys.argv[1]))))
