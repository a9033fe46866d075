"""Where a result is written: tried before the work begins, and put in place whole or not at all."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from selector.errors import OutputFailed

STDOUT = Path("-")


@contextmanager
def opened_output(path: Path) -> Iterator[Callable[[str], None]]:
    """A function that writes the whole text of `path`; `-` is stdout.

    The place is tried when the block is entered, so that no work is lost to a missing folder. A regular file is
    written beside its place and moved there: a reader never sees half of one, and a failure leaves the former
    file as it was. Raises OutputFailed, with what to do.
    """
    if path == STDOUT:
        yield _write_stdout
    elif path.exists() and not path.is_file() and not path.is_dir():
        yield lambda text: _write_device(path, text)  # a pipe, /dev/null: nothing to move there
    else:
        draft = _draft_beside(path)
        try:
            yield lambda text: _write_and_place(draft, path, text)
        finally:
            draft.unlink(missing_ok=True)


def _draft_beside(path: Path) -> Path:
    """An empty file beside `path`, which shows that its folder can be written to."""
    if path.is_dir():
        raise OutputFailed(f"cannot write {path}: it is a folder; name a file in it, for example {path / 'page.html'}")
    if path.exists() and not os.access(path, os.W_OK):
        raise OutputFailed(f"cannot write {path}: the file is write-protected; choose another with -o PATH")
    try:
        place = path.resolve()  # a link keeps pointing at the file that it names
        handle, draft = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.", suffix=".part")
        os.close(handle)
    except OSError as error:
        raise _failed(path, error) from error
    return Path(draft)


def _write_and_place(draft: Path, path: Path, text: str) -> None:
    try:
        draft.write_text(text, encoding="utf-8")
        place = path.resolve()
        draft.chmod(place.stat().st_mode & 0o777 if place.exists() else 0o666 & ~_umask())
        os.replace(draft, place)
    except OSError as error:
        raise _failed(path, error) from error


def _write_device(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise _failed(path, error) from error


def _write_stdout(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()  # a full disk shows itself here, not at the interpreter's end
    except BrokenPipeError:
        raise  # the reader left; the command line knows what that means
    except OSError as error:
        raise OutputFailed(f"cannot write to stdout: {error.strerror or error}") from error


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    current = os.umask(0o022)
    os.umask(current)
    return current


def _failed(path: Path, error: OSError) -> OutputFailed:
    return OutputFailed(
        f"cannot write {path}: {error.strerror or error}; choose a folder that exists, has room and "
        "may be written to (-o PATH)"
    )
