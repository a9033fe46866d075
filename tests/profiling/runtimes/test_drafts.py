import os
import subprocess
import sys
from pathlib import Path

import pytest

from selector.profiling.runtimes.drafts import draft, put_in_place

MAKER = """
import sys
from pathlib import Path
from selector.profiling.runtimes.drafts import draft
with draft(Path(sys.argv[1]), ".making-") as made:
    (made / "half").write_text("not all of it")
    print(made, flush=True)
    sys.stdin.read()
"""


def maker(cache: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process in the midst of making something, and its draft."""
    process = subprocess.Popen(
        [sys.executable, "-c", MAKER, str(cache)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_a_draft_is_put_in_place_whole_or_leaves_nothing(tmp_path: Path) -> None:
    cache, folder = tmp_path / "cache", tmp_path / "cache" / "model"
    with draft(cache, ".making-") as made:
        (made / "file").write_text("whole")
        put_in_place(made, folder)
    with draft(cache, ".making-") as made:
        (made / "file").write_text("too late")
        put_in_place(made, folder)
    with pytest.raises(RuntimeError, match="a reason"), draft(cache, ".making-") as made:
        raise RuntimeError("a reason")
    assert [file.name for file in cache.iterdir()] == ["model"]
    assert (folder / "file").read_text() == "whole"


def test_what_a_killed_maker_left_is_removed_and_a_living_ones_draft_stays(tmp_path: Path) -> None:
    doomed, left = maker(tmp_path)
    living, held = maker(tmp_path)
    doomed.kill()
    doomed.wait()
    for old in (left, held):
        os.utime(old, (0, 0))
    other = tmp_path / ".building-0"
    other.mkdir()  # of another kind: none of its business
    assert left.is_dir()
    with draft(tmp_path, ".making-") as outer, draft(tmp_path, ".making-") as inner:
        assert set(tmp_path.iterdir()) == {held, other, outer, inner}
    assert (held / "half").exists()
    living.communicate("")
    assert list(tmp_path.iterdir()) == [other]
    for process in (doomed, living):
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
