"""The environment that a measurement was made in, and a short name for all environments that compare with it."""

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import Any

from selector.hardware.machine import Machine

# what moves the figures of the runtimes: an update of any of these is another environment
LIBRARIES = ("torch", "torchvision", "timm", "onnxruntime", "openvino", "tensorrt", "numpy")

# of the machine, what makes figures comparable. Left out: memory size (the kernel's share of it moves with each
# update), kernel and container (they move a steady-state latency less than noise does), and all that varies with load
COMPARED = (
    "cpu_model",
    "board",
    "architecture",
    "sockets",
    "cores",
    "logical_cpus",
    "usable_cpus",
    "quota_cpus",
    "isa",
    "governor",
    "turbo",
    "gpus",
    "virtualisation",
)


def environment(machine: Machine, libraries: Iterable[str] = LIBRARIES) -> dict[str, Any]:
    """The environment as plain JSON data: machine, Python, versions of the installed `libraries`.

    A library that is not installed has the version None. None of them is imported.
    """
    document = {
        "schema_version": 1,
        "machine": machine.as_json(),
        "threads": machine.threads,
        "python": platform.python_version(),
        "python_implementation": platform.python_implementation(),
        "libraries": {name: installed_version(name) for name in sorted(set(libraries))},
    }
    plain: dict[str, Any] = json.loads(json.dumps(document))  # tuples become lists, as they come back from a store
    return plain


def fingerprint(environment: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits, equal for two environments whose figures compare: same hardware, threads, quota,
    governor, library versions and Python (its patch release aside). Load, time, kernel and memory size do not enter.
    """
    machine = environment["machine"]
    compared = {
        "machine": {name: machine.get(name) for name in COMPARED},
        "threads": environment["threads"],
        "python": ".".join(str(environment["python"]).split(".")[:2]),
        "python_implementation": environment["python_implementation"],
        # absent libraries do not count: a list that grows by one nobody has installed is the same environment
        "libraries": {name: version for name, version in environment["libraries"].items() if version is not None},
    }
    text = json.dumps(compared, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def installed_version(library: str) -> str | None:
    """The version of an installed distribution; None where it is not installed."""
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None
