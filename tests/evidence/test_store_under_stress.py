"""What a second process, a kill and a full disk do to a store: nothing is lost, nothing is half written."""

import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from selector.evidence.store import open_store

WRITER = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    from selector.errors import StoreFailed
    from selector.evidence.record import Conditions, Provenance, Record
    from selector.evidence.store import open_store

    place, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

    def records(first, many):
        at = Conditions("resnet50", "board-" + name)
        return [
            Record.of("load_ms", first + i, at, provenance=Provenance.MEASURED, source="x" * 200) for i in range(many)
        ]
    """
)
ONE_BY_ONE = WRITER + textwrap.dedent(
    """
    print("ready", flush=True)
    sys.stdin.readline()
    with open_store(place) as store:
        for i in range(count):
            store.add(records(i, 1))
            print(i, flush=True)
    """
)
UNTIL_FULL = WRITER + textwrap.dedent(
    """
    import resource
    if name == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    kept = 0
    with open_store(place) as store:
        try:
            while kept < count:
                store.add(records(kept, 50))
                kept += 50
        except StoreFailed as error:
            assert len(str(error).splitlines()) == 1
            print(kept, error)
    """
)


def start(script: str, place: Path, name: str, count: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", script, str(place), name, str(count)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def release(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def ready(process: "subprocess.Popen[str]") -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"


def test_two_processes_that_create_and_write_at_once_lose_nothing(tmp_path: Path) -> None:
    place = tmp_path / "new" / "evidence.sqlite"
    writers = [start(ONE_BY_ONE, place, name, 100) for name in ("a", "b")]
    for writer in writers:
        ready(writer)
    for writer in writers:
        release(writer)
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    with open_store(place) as store:
        for name in ("a", "b"):
            assert {r.figure.value for r in store.records(hardware=f"board-{name}")} == set(range(100))
    assert [p.name for p in place.parent.iterdir()] == ["evidence.sqlite"]


def test_killed_writer_loses_no_finished_record(tmp_path: Path) -> None:
    place = tmp_path / "evidence.sqlite"
    writer = start(ONE_BY_ONE, place, "a", 100_000)
    assert writer.stdout is not None
    ready(writer)
    release(writer)
    finished = [int(writer.stdout.readline()) for _ in range(20)]
    writer.send_signal(signal.SIGKILL)
    finished += [int(line) for line in writer.communicate()[0].split()]
    with open_store(place) as store:
        values = [r.figure.value for r in store.records()]
    assert set(finished) <= set(values)
    assert len(values) <= len(finished) + 1  # the last one may have been kept before it could be told


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 300 kB, where this user may mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no mount command here")
    if done.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(place: Path, name: str) -> tuple[int, str]:
    """Write until the disk refuses: how many records were kept, and what was said."""
    writer = start(UNTIL_FULL, place, name, 100_000)
    output = writer.communicate()[0]
    assert writer.returncode == 0
    kept, _, message = output.partition(" ")
    return int(kept), message


def test_full_disk_keeps_what_was_there_and_nothing_half(small_disk: Path) -> None:
    place = small_disk / "evidence.sqlite"
    kept, message = fill(place, "disk")
    assert f"cannot write the evidence store {place}: the disk" in message
    with open_store(place) as store:
        assert sorted(r.figure.value for r in store.records()) == list(range(kept))
    assert kept > 0


def test_disk_too_full_to_create_a_store_leaves_none(small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(b"\0" * 290_000)
    kept, message = fill(small_disk / "evidence.sqlite", "disk")
    assert kept == 0
    assert f"cannot write the evidence store {small_disk / 'evidence.sqlite'}: the disk" in message
    assert [p.name for p in small_disk.iterdir()] == ["ballast"]


def test_file_size_limit_keeps_what_was_there(tmp_path: Path) -> None:
    place = tmp_path / "evidence.sqlite"
    kept, message = fill(place, "limit")
    assert "the disk refused it" in message
    assert "earlier records are as they were" in message
    with open_store(place) as store:
        assert sorted(r.figure.value for r in store.records()) == list(range(kept))
    assert kept > 0
