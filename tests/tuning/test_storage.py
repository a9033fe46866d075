import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState

from selector.errors import InvalidInput, StoreFailed
from selector.tuning.search.storage import (
    OWNER,
    SEEN,
    ask,
    fail_lost_trials,
    first_wins,
    open_storage,
    owner,
    patiently,
    study_lock,
)


def study(folder: Path) -> optuna.Study:
    return optuna.create_study(storage=open_storage(None, folder), study_name="s", load_if_exists=True)


def test_a_half_written_line_of_a_killed_process_is_cut_off(tmp_path: Path) -> None:
    study(tmp_path).ask()
    with (tmp_path / "journal.log").open("ab") as file:
        file.write(b'{"op_code": 4, "worker_')
    again = study(tmp_path)
    again.ask()
    assert [t.number for t in study(tmp_path).trials] == [0, 1]


def test_trials_of_a_dead_process_fail_and_those_of_a_living_one_go_on(tmp_path: Path) -> None:
    opened = study(tmp_path)
    mine, theirs, nobodys = opened.ask(), opened.ask(), opened.ask()
    mine.set_user_attr(OWNER, owner())
    dead = subprocess.run(
        [sys.executable, "-c", "from selector.tuning.search.storage import owner; print(owner())"],
        capture_output=True,
        text=True,
        check=True,
    )
    theirs.set_user_attr(OWNER, dead.stdout.strip())
    nobodys.set_user_attr(OWNER, "elsewhere 1 1.0")
    nobodys.set_user_attr(SEEN, time.time())
    assert [t.number for t in fail_lost_trials(opened, set())] == [theirs.number]
    nobodys.set_user_attr(SEEN, time.time() - 3600)
    assert [t.number for t in fail_lost_trials(opened, {mine.number})] == [nobodys.number]
    assert [t.state for t in study(tmp_path).trials] == [TrialState.RUNNING, TrialState.FAIL, TrialState.FAIL]


def test_the_lock_of_a_killed_process_does_not_hold(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from selector.tuning.search.storage import _FileLock\n"
        "lock = _FileLock(Path(sys.argv[1])); lock.acquire(); print('held', flush=True); time.sleep(60)"
    )
    held = [sys.executable, "-c", code, str(tmp_path / "journal.lock")]
    with subprocess.Popen(held, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        process.kill()
    began = time.monotonic()
    study(tmp_path).ask()
    assert time.monotonic() - began < 20  # Optuna's own lock file would be waited for


def test_two_processes_do_not_work_in_one_folder(tmp_path: Path) -> None:
    with study_lock(tmp_path), pytest.raises(InvalidInput, match="another process"), study_lock(tmp_path):
        pass
    with study_lock(tmp_path):
        pass


def test_a_database_that_comes_back_is_waited_for_and_one_that_stays_away_is_told() -> None:
    calls = []

    def flaky() -> str:
        calls.append(1)
        if len(calls) < 3:
            raise ConnectionError("away")
        return "back"

    assert patiently(flaky) == "back"
    with pytest.raises(StoreFailed, match="away"):
        patiently(lambda: (_ for _ in ()).throw(ConnectionError("gone")), patience_s=0.3)


def test_other_storages_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="postgresql"):
        open_storage("sqlite:///x.db", tmp_path)
    assert os.listdir(tmp_path) == []


def test_what_a_study_holds_already_is_not_replaced(tmp_path: Path) -> None:
    storage = open_storage(None, tmp_path)
    opened = study(tmp_path)
    assert first_wins(storage, opened, "space", "mine") == "mine"
    assert first_wins(storage, opened, "space", "another") == "mine"
    assert study(tmp_path).user_attrs == {"space": "mine"}


def test_hosts_that_begin_a_study_together_agree_on_what_it_holds(tmp_path: Path) -> None:
    url = os.environ.get("SELECTOR_TEST_POSTGRESQL")
    if not url:
        pytest.skip("SELECTOR_TEST_POSTGRESQL names no server")
    storages = [open_storage(url, tmp_path) for _ in range(4)]  # each with connections of its own, as hosts have
    name = f"together-{time.time_ns()}"
    optuna.create_study(storage=storages[0], study_name=name)
    studies = [optuna.load_study(storage=storage, study_name=name) for storage in storages]
    together = threading.Barrier(len(storages))

    def begin(host: int, attribute: str) -> str:
        together.wait(60)
        return first_wins(storages[host], studies[host], attribute, f"host {host}'s")

    try:
        with ThreadPoolExecutor(len(storages)) as pool:
            for number in range(20):
                attribute = f"space {number}"
                got = list(pool.map(begin, range(len(storages)), [attribute] * len(storages)))
                assert set(got) == {studies[0].user_attrs[attribute]}
    finally:
        optuna.delete_study(storage=storages[0], study_name=name)


@pytest.mark.parametrize("other", [CategoricalDistribution(["a", "c"]), FloatDistribution(0.0, 1.0)])
def test_a_study_of_another_search_space_is_bad_input(tmp_path: Path, other: BaseDistribution) -> None:
    opened = study(tmp_path)
    ask(opened, {"backbone": CategoricalDistribution(["a", "b"])})
    with pytest.raises(InvalidInput, match="'s' holds trials of another search space"):
        ask(opened, {"backbone": other})
    assert ask(opened, {"backbone": CategoricalDistribution(["a", "b"])}).params["backbone"] in "ab"
