"""What processes hold."""

import ctypes
import subprocess
import sys

import pytest

THREADS = """
import ctypes, threading
from search.machine.memory import share_arenas

{before}
together = threading.Barrier(8)

def allocate():
    kept = [bytes(5000) for _ in range(50)]
    together.wait()

threads = [threading.Thread(target=allocate) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
ctypes.CDLL(None).malloc_stats()
"""


def arenas(before: str) -> int:
    """Return how many arenas eight threads have allocated in."""
    code = THREADS.format(before=before)
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stderr
    return told.count("Arena ")


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "malloc_stats"), reason="glibc tells its arenas"
)
def test_threads_share_arenas() -> None:
    assert arenas("") > 4
    assert arenas("share_arenas(4)") == 4
    assert arenas("share_arenas(1)") == 2
