"""TensorRT engines: built from an ONNX graph through TensorRT's parser (practice P11), and kept.

Works with either library, `tensorrt` or `tensorrt_rtx`: they share this part of their interface. Networks are strongly
typed: the graph alone says what is computed in which precision. An engine is kept under `SELECTOR_HOME/cache/engines/`
in a folder named after everything that it depends on: the graph's content, the GPU and its compute capability, the
driver, the library and its version, and the flags. It appears there whole or not at all, with its log beside it.
"""

import hashlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from types import ModuleType
from typing import Any

from selector import resources
from selector.errors import MeasurementFailed
from selector.profiling.runtimes.drafts import draft, put_in_place
from selector.profiling.runtimes.graph_files import digest_of

MAX_BATCH = 64  # engines take 1 to so many images, and are tuned for one


@dataclass(frozen=True, slots=True)
class Target:
    """What an engine is built for. `gpu` and `driver` are None where none is at hand (TensorRT-RTX needs none)."""

    compute_capability: tuple[int, int]
    gpu: str | None = None
    driver: str | None = None

    @property
    def architecture(self) -> str:
        """As NVIDIA writes it: SM89."""
        return "SM{}{}".format(*self.compute_capability)


@dataclass(frozen=True, slots=True)
class Engine:
    """A finished engine on disk."""

    path: Path
    bytes: int
    build_s: float  # of the build itself, whenever that was
    log: tuple[str, ...]  # what the library said while building, a line each with its severity
    cached: bool  # whether it was there before


def build_engine(library: ModuleType, graph: Path, target: Target, *, tf32: bool = False) -> Engine:
    """The engine of the ONNX graph for `target`, built where it is not kept yet.

    Raises MeasurementFailed with the parser's or builder's own words where the graph cannot be built.
    """
    key = {
        "graph": digest_of(graph),
        "target": asdict(target),
        "library": library.__name__,
        "version": library.__version__,
        "flags": {"tf32": tf32, "strongly_typed": True, "max_batch": MAX_BATCH},
    }
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    engines = resources.home() / "cache" / "engines"
    folder = engines / f"{graph.parent.name}-{target.architecture.lower()}-{digest}"
    cached = folder.is_dir()
    if not cached:
        with draft(engines, ".building-") as made:
            _build(library, graph, target, tf32, made, key)
            put_in_place(made, folder)
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    path = folder / "model.engine"
    return Engine(path, path.stat().st_size, about["build_s"], tuple(about["log"]), cached)


def _build(library: ModuleType, graph: Path, target: Target, tf32: bool, made: Path, key: dict[str, Any]) -> None:
    """Build into the folder `made`: the engine, and `about.json` with its key, time and log."""
    start = perf_counter()
    logger = recorder(library)
    builder = library.Builder(logger)
    network = builder.create_network(1 << int(library.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = library.OnnxParser(network, logger)
    if not parser.parse_from_file(str(graph)):
        said = "; ".join(str(parser.get_error(i)) for i in range(parser.num_errors))
        raise MeasurementFailed(f"{library.__name__} cannot read the graph of {graph.parent.name}: {said}")
    config = builder.create_builder_config()
    (config.set_flag if tf32 else config.clear_flag)(library.BuilderFlag.TF32)
    _aim(library, config, target)
    profile = builder.create_optimization_profile()
    image = network.get_input(0)
    shape = tuple(image.shape)[1:]
    profile.set_shape(image.name, (1, *shape), (1, *shape), (MAX_BATCH, *shape))
    config.add_optimization_profile(profile)
    timings = _timings(library, target)
    cache = _use_timings(library, config, timings)
    serialised = builder.build_serialized_network(network, config)
    if serialised is None:
        raise MeasurementFailed(f"{library.__name__} built no engine of {graph.parent.name}: {logger.complaints()}")
    (made / "model.engine").write_bytes(serialised)
    if cache is not None:
        write_whole(timings, bytes(cache.serialize()))
    about = {**key, "build_s": perf_counter() - start, "log": logger.lines}
    (made / "about.json").write_text(json.dumps(about, indent=2), encoding="utf-8")


def _aim(library: ModuleType, config: Any, target: Target) -> None:
    """Build for the target's architecture. TensorRT-RTX names it; TensorRT builds for the GPU that is there."""
    capabilities = getattr(library, "ComputeCapability", None)
    if capabilities is None:
        return
    wanted = capabilities.__members__.get(target.architecture)
    if wanted is None:
        served = ", ".join(name for name in capabilities.__members__ if name.startswith("SM"))
        raise MeasurementFailed(f"{library.__name__} does not serve {target.architecture}; it serves {served}")
    config.num_compute_capabilities = 1
    if not config.set_compute_capability(wanted, 0):
        raise MeasurementFailed(f"{library.__name__} refused to build for {target.architecture}")


def _timings(library: ModuleType, target: Target) -> Path:
    """Where the library's kernel timings on this kind of GPU are kept between builds."""
    text = json.dumps([library.__name__, library.__version__, asdict(target)], sort_keys=True)
    return resources.home() / "cache" / "engines" / f"timings-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _use_timings(library: ModuleType, config: Any, file: Path) -> Any:
    """Give the builder the kept timings; None for TensorRT-RTX, which times nothing while it builds."""
    if hasattr(library, "ComputeCapability"):
        return None
    cache = config.create_timing_cache(file.read_bytes() if file.exists() else b"")
    config.set_timing_cache(cache, ignore_mismatch=False)
    return cache


def recorder(library: ModuleType) -> Any:
    """A logger for `library` that keeps what is said, without the chatter below "info"."""

    class Recorder(library.ILogger):  # type: ignore[misc, name-defined] # the base class depends on the library
        """Keeps each message with its severity."""

        def __init__(self) -> None:
            library.ILogger.__init__(self)
            self.lines: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity != library.ILogger.Severity.VERBOSE:
                self.lines.append(f"{severity.name.lower()}: {message}")

        def complaints(self) -> str:
            """Errors, or the last words where there are none."""
            errors = [line for line in self.lines if "error" in line.partition(":")[0]]
            return "; ".join(errors or self.lines[-1:]) or "no reason given"

    return Recorder()


def write_whole(file: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    handle, draft = tempfile.mkstemp(dir=file.parent, prefix=".writing-")
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)
    os.replace(draft, file)
