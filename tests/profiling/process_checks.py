import time

import psutil


def ends(pid: int, within_s: float = 5.0) -> bool:
    """Whether the process is gone, or a zombie that nobody collects, before `within_s` seconds have passed."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False
