import subprocess
import sys
import textwrap

import numpy as np
import pytest
from process_checks import ends

from selector.profiling.memory import mapped_library_pages, peak_rss_bytes, peak_rss_of_fork


def probe(body: str) -> str:
    """The stdout of a fresh process: forking the test process itself, with torch's threads in it, would be unsafe."""
    script = "from selector.profiling.forks import *\n" + textwrap.dedent(body)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip()


def test_a_result_comes_back() -> None:
    assert (
        probe("print(in_fork(lambda: {'a': 1.5}, patience_s=20))")
        == "Outcome(kind='done', result={'a': 1.5}, detail='')"
    )


@pytest.mark.parametrize(
    ("work", "kind", "detail"),
    [
        ("lambda: 1 / 0", "failed", "ZeroDivisionError: division by zero"),
        ("lambda: [bytearray(1 << 60)]", "out-of-memory", "MemoryError"),
        ("lambda: os.kill(os.getpid(), signal.SIGSEGV)", "crashed", "SIGSEGV"),
        ("lambda: os.kill(os.getpid(), signal.SIGKILL)", "killed", "SIGKILL"),
        ("lambda: os._exit(3)", "crashed", "code 3"),
        ("lambda: time.sleep(60)", "hung", "no result within 1 s"),
    ],
)
def test_whatever_becomes_of_the_work_there_is_an_outcome(work: str, kind: str, detail: str) -> None:
    told = probe(f"o = in_fork({work}, patience_s=1)\nprint(o.kind); print(o.detail)").splitlines()
    assert told[0] == kind
    assert detail in told[1]


def test_a_fork_goes_on_when_it_is_asked_and_is_stopped_meanwhile() -> None:
    told = probe(
        """
        import psutil
        def results():
            for number in range(2):
                yield {"number": number, "pid": os.getpid()}
            raise ValueError("that was all")
        with Forked(results) as fork, Forked(results) as other:
            for _ in range(2):
                print(fork.ask(patience_s=20).result["number"], other.ask(patience_s=20).result["number"])
                while psutil.Process(fork.pid).status() != psutil.STATUS_STOPPED: time.sleep(0.01)
            print(fork.ask(patience_s=20).kind, fork.pid in psutil.pids())
            other.ask(patience_s=20)
        print(psutil.Process().children())
        """
    )
    assert told.splitlines() == ["0 0", "1 1", "failed False", "[]"]


@pytest.mark.parametrize(("how", "outcome"), [("os.kill(fork.pid, signal.SIGKILL)", "killed"), ("pass", "hung")])
def test_a_fork_that_ends_or_hangs_between_two_results_is_an_outcome(how: str, outcome: str) -> None:
    told = probe(
        f"""
        def results():
            yield {{}}
            time.sleep(60)
        with Forked(results) as fork:
            fork.ask(patience_s=20)
            {how}
            print(fork.ask(patience_s=1).kind)
        """
    )
    assert told == outcome


def test_a_stopped_fork_dies_with_its_parent() -> None:
    pid = int(
        probe(
            """
            def results():
                while True: yield {"pid": os.getpid()}
            fork, other = Forked(results), Forked(results)
            other.ask(patience_s=20)
            print(fork.ask(patience_s=20).result["pid"], flush=True)
            os._exit(0)
            """
        )
    )
    assert ends(pid)


def test_a_fork_dies_with_its_parent() -> None:
    pid = int(
        probe(
            """
            r, w = os.pipe()
            def work():
                os.write(w, str(os.getpid()).encode())
                time.sleep(60)
            import threading
            threading.Timer(1.0, lambda: (print(os.read(r, 20).decode(), flush=True), os._exit(0))).start()
            in_fork(work, patience_s=50)
            """
        )
    )
    assert ends(pid)


def test_the_peak_of_memory_is_seen() -> None:
    before = peak_rss_bytes()
    block = np.ones(80 << 20, dtype=np.uint8)
    assert peak_rss_bytes() >= before + (40 << 20) or before > block.nbytes * 4  # an earlier peak may hide it
    assert block.sum() == block.nbytes


def test_a_forks_peak_counts_the_libraries_that_it_inherited() -> None:
    told = probe(
        """
        import numpy
        from selector.profiling.memory import *
        pages = mapped_library_pages()
        whole = peak_rss_bytes()
        alone = in_fork(lambda: {"own": peak_rss_bytes(), "with": peak_rss_of_fork(pages)}, patience_s=20).result
        print(whole, alone["own"], alone["with"])
        """
    )
    whole, own, together = map(int, told.split())
    assert own < together
    assert abs(together - whole) < 0.1 * whole


def test_a_process_finds_its_own_pages() -> None:
    pages = mapped_library_pages()
    assert len(pages) > 100
    assert peak_rss_of_fork(pages) == pytest.approx(peak_rss_bytes(), rel=0.01)
