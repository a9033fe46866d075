"""What every runtime has to keep. A runtime's test class inherits `RuntimeConformance` and names its runtime.

All is observed in a process of the runtime's own, once a class: two runtimes in one process disturb each other.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from selector.hardware.machine import detect
from selector.profiling.agreement import agreement
from selector.profiling.runtimes import RUNTIMES, export, load, runtime
from selector.profiling.runtimes.base import Runtime
from selector.profiling.runtimes.export import Recipe

BACKBONE = "mobilenetv3_small_050"
RESOLUTION = 75  # odd on purpose
LARGE = "resnet18"
LARGE_BYTES = 46_800_000
LEAST_COSINE = {"tf32": 0.999, "fp16": 0.999, "bf16": 0.99, "amp": 0.99, "int8-dynamic": 0.99, "int8-static": 0.5}


class RuntimeConformance:
    name: ClassVar[str]
    tolerance: ClassVar[float] = 1e-3  # of the largest logit
    large: ClassVar[str] = LARGE
    large_bytes: ClassVar[int] = LARGE_BYTES
    loads: ClassVar[int] = 8
    everywhere: ClassVar[tuple[str, ...]] = ()  # precisions that are looked at where the hardware is slow in them, too

    @pytest.fixture(scope="class")
    @classmethod
    def seen(cls, model_home: Path) -> dict[str, Any]:
        kind = runtime(cls.name)
        offer = kind.availability(detect())
        if not offer.usable:
            pytest.skip(offer.why or cls.name)
        environment = {**os.environ, "SELECTOR_HOME": str(model_home), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, __file__, RUNTIMES[cls.name], cls.large, str(cls.loads), *cls.everywhere],
            capture_output=True,
            text=True,
            timeout=500,
            env=environment,
        )
        assert done.returncode == 0, done.stderr
        seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return seen

    def test_answers_as_eager_does_for_one_image_and_an_odd_batch(self, seen: dict[str, Any]) -> None:
        for batch in ("1", "3"):
            answer, expected = np.array(seen["answers"][batch]), np.array(seen["expected"][batch])
            assert answer.shape == (int(batch), 1000)
            assert np.abs(answer - expected).max() <= self.tolerance * np.abs(expected).max()

    def test_what_is_timed_gives_the_same_answer(self, seen: dict[str, Any]) -> None:
        assert seen["bound_twice"]

    def test_refuses_other_shapes_and_goes_on(self, seen: dict[str, Any]) -> None:
        assert all("holds a model for [n, 3, 75, 75]" in text for text in seen["refusals"])
        assert len(seen["refusals"]) == 4
        assert seen["answers_after_refusals"]

    def test_refuses_to_run_before_it_is_entered(self, seen: dict[str, Any]) -> None:
        assert "enter" in seen["before_entering"]

    def test_frees_its_memory(self, seen: dict[str, Any]) -> None:
        # the loads of a model from the third on must not each leave one behind; the system may take pages meanwhile
        assert seen["rss"][-1] - max(seen["rss"][:3]) < 2 * self.large_bytes
        if runtime(self.name).device == "gpu":
            assert seen["gpu"][-1] - seen["gpu"][2] < 2 * self.large_bytes

    def test_each_lossy_precision_offered_here_answers_much_as_fp32_does(self, seen: dict[str, Any]) -> None:
        offered = set(runtime(self.name).availability(detect()).precisions) - {"fp32"}
        assert set(seen["lossy"]) == offered | set(self.everywhere)
        for precision, answers in seen["lossy"].items():
            found = agreement(np.array(seen["expected"]["3"]), np.array(answers))
            assert found.cosine > LEAST_COSINE[precision], precision
            assert found.cosine < 1 - 1e-9, f"{precision} is fp32 under another name"
            timed = agreement(np.array(answers[:1]), np.array(seen["lossy_bound"][precision]))
            assert timed.cosine > LEAST_COSINE[precision], f"what is timed in {precision}"

    def test_says_what_to_install_where_it_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from selector.profiling.runtimes import base

        monkeypatch.setattr(base, "find_spec", lambda name: None)
        offer = runtime(self.name).availability(detect())
        assert not offer.usable
        assert offer.why is not None
        assert "pip install" in offer.why

    def test_its_file_imports_no_library(self) -> None:
        script = (
            "import sys; from selector.profiling.runtimes import runtime; "
            f"k = runtime({self.name!r}); "
            "print([m for m in ('torch', 'onnxruntime', 'openvino', 'tensorrt', 'timm') if m in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"

    def test_knows_its_version(self) -> None:
        if not runtime(self.name).availability(detect()).usable:
            pytest.skip("not usable here")
        assert runtime(self.name).version()[0].isdigit()


def numbers(answer: Any) -> Any:
    """A timed call's answer, wherever it lies."""
    answer = answer.float().cpu() if hasattr(answer, "cpu") else answer  # NumPy has no bf16
    return answer.numpy() if hasattr(answer, "numpy") else answer


def observe(path: str, large_name: str, loads: int, everywhere: tuple[str, ...]) -> dict[str, Any]:
    """Everything that the tests look at, gathered in this process."""
    import psutil

    kind = load(path)
    kind.prepare_process(1)
    wanted = files(kind, BACKBONE, RESOLUTION, everywhere)
    file = wanted["fp32"].model_file(RESOLUTION)
    images = {
        n: np.random.default_rng(n).standard_normal((n, 3, RESOLUTION, RESOLUTION), dtype=np.float32) for n in (1, 3)
    }
    seen: dict[str, Any] = {"answers": {}, "refusals": [], "rss": [], "gpu": [], "lossy": {}, "lossy_bound": {}}
    try:
        kind(file, precision="fp32", threads=1).run(images[1])
    except RuntimeError as error:
        seen["before_entering"] = str(error)
    with kind(file, precision="fp32", threads=1) as loaded:
        for n, batch in images.items():
            seen["answers"][n] = loaded.run(batch).tolist()
        step = loaded.bind(images[1])
        step()
        seen["bound_twice"] = np.allclose(numbers(step()), seen["answers"][1], atol=1e-4)
        for shape in ((1, 3, 74, 75), (1, 1, 75, 75), (3, 75, 75), (0, 3, 75, 75)):
            try:
                loaded.run(np.zeros(shape, dtype=np.float32))
            except ValueError as error:
                seen["refusals"].append(str(error))
        seen["answers_after_refusals"] = np.allclose(loaded.run(images[1]), seen["answers"][1], atol=1e-4)
    for precision, recipe in wanted.items():
        if precision != "fp32":
            with kind(recipe.model_file(RESOLUTION), precision=precision, threads=1) as loaded:
                seen["lossy"][precision] = loaded.run(images[3]).tolist()
                seen["lossy_bound"][precision] = numbers(loaded.bind(images[3][:1])()).tolist()
    large = files(kind, large_name, 64)["fp32"].model_file(64)
    for _ in range(loads):
        with kind(large, precision="fp32", threads=1) as loaded:
            loaded.run(np.zeros((1, 3, 64, 64), dtype=np.float32))
        seen["rss"].append(psutil.Process().memory_info().rss)
        if kind.device == "gpu":
            import torch

            free, total = torch.cuda.mem_get_info()
            seen["gpu"].append(total - free)
    return seen


def files(kind: type[Runtime], backbone: str, resolution: int, everywhere: tuple[str, ...] = ()) -> dict[str, Recipe]:
    """The files that the runtime loads, by precision that it offers here, and by those `everywhere`."""
    offered = dict.fromkeys((*kind.availability(detect()).precisions, *everywhere))
    return {p: export.recipe_for(kind, backbone, resolution=resolution, precision=p) for p in offered}


def make_files(path: str, large_name: str, everywhere: tuple[str, ...]) -> None:
    """The model files that are observed."""
    kind = load(path)
    for wanted in files(kind, BACKBONE, RESOLUTION, everywhere).values():
        export.make(wanted)
    export.make(files(kind, large_name, 64)["fp32"])


def expected() -> dict[int, Any]:
    """Eager's answers, from the model that the files were made of."""
    import torch

    from selector.profiling import models

    model = models.create(BACKBONE)
    answers = {}
    for n in (1, 3):
        images = np.random.default_rng(n).standard_normal((n, 3, RESOLUTION, RESOLUTION), dtype=np.float32)
        with torch.inference_mode():
            answers[n] = model(torch.from_numpy(images)).tolist()
    return answers


if __name__ == "__main__":
    if os.fork() == 0:  # torch makes the files and the expected answers in a process of its own
        make_files(sys.argv[1], sys.argv[2], tuple(sys.argv[4:]))
        Path(os.environ["SELECTOR_HOME"], "expected.json").write_text(json.dumps(expected()))
        os._exit(0)
    assert os.wait()[1] == 0, "making the model files failed"
    observed = observe(sys.argv[1], sys.argv[2], int(sys.argv[3]), tuple(sys.argv[4:]))
    observed["expected"] = json.loads(Path(os.environ["SELECTOR_HOME"], "expected.json").read_text())
    sys.stdout.write(json.dumps(observed))
