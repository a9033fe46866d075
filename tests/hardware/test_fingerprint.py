import json
from dataclasses import replace
from importlib import metadata
from pathlib import Path

from selector.hardware.fingerprint import environment, fingerprint
from selector.hardware.gpus import Gpu
from selector.hardware.machine import Machine, detect

HERE = detect()


def of(machine: Machine, **changes: object) -> str:
    return fingerprint({**environment(machine), **changes})


def test_versions_are_those_installed() -> None:
    libraries = environment(HERE, ["psutil", "no-such-library"])["libraries"]
    assert libraries == {"psutil": metadata.version("psutil"), "no-such-library": None}


def test_it_is_plain_json_that_comes_back_the_same() -> None:
    document = environment(replace(HERE, gpus=(Gpu("NVIDIA L4", 24 << 30, "8.9", "550.1"),)))
    assert json.loads(json.dumps(document)) == document
    assert fingerprint(json.loads(json.dumps(document))) == fingerprint(document)


def test_short_and_stable() -> None:
    assert of(HERE) == of(detect())
    assert len(of(HERE)) == 12
    recorded = {
        "machine": {"cpu_model": "Cortex-A72", "cores": 4, "isa": ["neon"], "gpus": []},
        "threads": 4,
        "python": "3.11.9",
        "python_implementation": "CPython",
        "libraries": {"torch": "2.9.0", "tensorrt": None},
    }
    # fixed: a change of this value parts all figures that people have measured from what they measure next
    assert fingerprint(recorded) == "979c816cd052"


def test_what_makes_figures_incomparable_changes_it() -> None:
    document = environment(HERE)
    changed = [
        of(replace(HERE, cpu_model="another")),
        of(replace(HERE, usable_cpus=(HERE.usable_cpus or 1) + 1)),
        of(replace(HERE, quota_cpus=0.5)),
        of(replace(HERE, governor="another")),
        of(replace(HERE, turbo=not HERE.turbo)),
        of(replace(HERE, gpus=(Gpu("NVIDIA L4"),))),
        of(replace(HERE, isa=("avx512f",))),
        of(HERE, python="3.99.0"),
        of(HERE, libraries={**document["libraries"], "torch": "0.0.1"}),
    ]
    assert len({of(HERE), *changed}) == len(changed) + 1


def test_what_does_not_leaves_it(tmp_path: Path) -> None:
    document = environment(HERE)
    minor = ".".join(document["python"].split(".")[:2])
    same = [
        of(replace(HERE, memory_bytes=1, kernel="another", container="another", os="another")),
        of(HERE, python=f"{minor}.99"),
        of(HERE, libraries={**document["libraries"], "not-installed": None}),
    ]
    assert set(same) == {of(HERE)}
