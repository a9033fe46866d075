"""Where a study is kept: Optuna's journal file on one host, PostgreSQL for several; patient and without zombies."""

import fcntl
import os
import socket
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar

import optuna
import psutil
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from selector.errors import InvalidInput, StoreFailed

if TYPE_CHECKING:
    from sqlalchemy import Connection

PATIENCE_S = 120.0
"""How long a lost database is waited for: longer than a server takes to restart."""

STALE_S = 300.0
"""A running trial of another host that has given no sign of life for so long is lost."""

UNOWNED_S = 20.0
"""A trial's owner is noted right after it is asked for: one that nobody owns for so long has none."""

_OTHER_SPACE = ("does not support dynamic value space", "to the same parameter name")
"""How Optuna tells that a parameter's choices, or its kind, are not those of the study's trials before."""

OWNER, SEEN = "owner", "seen_at"
T = TypeVar("T")


class _FileLock:
    """A lock that the kernel frees when its holder dies; Optuna's own is a file that a killed process leaves behind."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def acquire(self) -> bool:
        """Wait for the lock."""
        self._file = self._path.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        """Free the lock."""
        assert self._file is not None
        self._file.close()
        self._file = None


def open_storage(url: str | None, folder: Path) -> BaseStorage:
    """The storage at `url`, or the journal in `folder`. Raises InvalidInput for another kind of URL, StoreFailed."""
    if url is None:
        return _journal(folder / "journal.log")
    if not url.startswith(("postgresql://", "postgresql+psycopg://")):
        raise InvalidInput(
            f"--storage {url.split('://')[0]}://…: a study is kept in a journal file (no --storage) or postgresql://"
        )
    try:
        return patiently(
            lambda: RDBStorage(
                url.replace("postgresql://", "postgresql+psycopg://", 1),
                engine_kwargs={"pool_pre_ping": True, "pool_recycle": 300},
            )
        )
    except ImportError as error:
        raise StoreFailed("PostgreSQL needs psycopg: pip install 'backbone-selector[postgresql]'") from error


def _journal(file: Path) -> BaseStorage:
    """The journal, with a line that a killed process left half written cut off."""
    lock = _FileLock(file.with_suffix(".lock"))
    lock.acquire()
    try:
        if file.exists():
            content = file.read_bytes()
            if content and not content.endswith(b"\n"):
                with file.open("r+b") as whole:
                    whole.truncate(content.rfind(b"\n") + 1)
    except OSError as error:
        raise StoreFailed(f"cannot open the study's journal {file}: {error}") from error
    finally:
        lock.release()
    backend: BaseJournalBackend = JournalFileBackend(str(file), lock_obj=lock)  # type: ignore[arg-type]
    return JournalStorage(backend)


def patiently(call: Callable[[], T], *, patience_s: float = PATIENCE_S) -> T:
    """The result of `call`, tried again while the database is away. Raises StoreFailed when patience ends."""
    from sqlalchemy.exc import SQLAlchemyError

    end, pause = time.monotonic() + patience_s, 0.2
    while True:
        try:
            return call()
        except (SQLAlchemyError, optuna.exceptions.StorageInternalError, ConnectionError) as error:
            if time.monotonic() + pause > end:
                raise StoreFailed(
                    f"the study's storage was away for {patience_s:.0f} s: {_first_line(error)}"
                ) from error
        time.sleep(pause)
        pause = min(pause * 1.5, 3.0)


def first_wins(storage: BaseStorage, study: optuna.Study, name: str, value: T) -> T:
    """What the study holds under the attribute `name`; where it held nothing, `value`, which it then holds.

    Of processes that come together, on whatever hosts, one is the first and all get its value. Raises StoreFailed.
    """
    with _others_held_off(storage, f"{study.study_name} {name}"):
        attributes = patiently(lambda: study.user_attrs)
        if name in attributes:
            there: T = attributes[name]
            return there
        patiently(lambda: study.set_user_attr(name, value))
    return value


@contextmanager
def _others_held_off(storage: BaseStorage, name: str) -> Iterator[None]:
    """Hold a lock of the database, which frees it when its holder is gone; a journal's study is one process's alone."""
    if not isinstance(storage, RDBStorage):
        yield
        return
    from sqlalchemy import text
    from sqlalchemy.exc import SQLAlchemyError

    def locked() -> "Connection":
        connection = storage.engine.connect()
        try:
            connection.execute(text("SELECT pg_advisory_xact_lock(:name)"), {"name": zlib.crc32(name.encode())})
        except BaseException:
            connection.close()
            raise
        return connection

    connection = patiently(locked)
    try:
        yield
    finally:
        with suppress(SQLAlchemyError):  # the database went away, and the lock with it
            connection.close()  # its transaction ends, and the lock with it


def ask(study: optuna.Study, distributions: dict[str, BaseDistribution]) -> optuna.Trial:
    """A new trial with parameters of `distributions`.

    Raises InvalidInput where the study's trials were drawn from another space, StoreFailed.
    """
    try:
        return patiently(lambda: study.ask(distributions))
    except ValueError as error:
        if not any(says in str(error) for says in _OTHER_SPACE):
            raise
        raise InvalidInput(
            f"the study {study.study_name!r} holds trials of another search space, such as another version of selector "
            f"has ({error}); begin a new one with --study NAME, without --resume"
        ) from error


def owner() -> str:
    """Names this process so that another can tell whether it lives: host, process id, when it started."""
    return f"{socket.gethostname()} {os.getpid()} {psutil.Process().create_time():.2f}"


def fail_lost_trials(study: optuna.Study, mine: set[int], *, alone: bool = False) -> list[FrozenTrial]:
    """Mark as failed every running trial whose process is gone; returns them. `mine` are running here, by number.

    `alone`: this process holds the study by itself, and whatever else is running is lost. Else a trial of this host
    is lost when its process does not live any more, one of another host when it has given no sign of life for
    `STALE_S`, and one that nobody owns (its process ended right after asking for it) after `UNOWNED_S`.
    """
    lost = []
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if trial.number not in mine and (alone or _is_lost(trial)):
            study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
            lost.append(trial)
    return lost


def _is_lost(trial: FrozenTrial) -> bool:
    seen = trial.user_attrs.get(SEEN)
    if seen is None:
        seen = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
    host, pid, created = (str(trial.user_attrs.get(OWNER, "")) + "  ").split(" ")[:3]
    if not host:
        return time.time() - float(seen) > UNOWNED_S
    if host == socket.gethostname():
        try:
            return bool(abs(psutil.Process(int(pid)).create_time() - float(created)) > 1.0)
        except psutil.Error:
            return True
    return time.time() - float(seen) > STALE_S


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextmanager
def study_lock(folder: Path) -> Iterator[None]:
    """Hold a study's folder. Raises InvalidInput where another process of this host works on the study."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InvalidInput(
                f"another process works on the study in {folder}; give this one a name with --study"
            ) from None
        yield
