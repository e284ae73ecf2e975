"""Drivers and their nurseries: what is shared, and what is left of either."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from search.workers import starting

pytestmark = pytest.mark.skipif(not starting.CAN_FORK, reason="needs Linux")
ROOT = Path(__file__).parents[1]
# In the environment of what a test starts, and of what that starts.
MARK = "MARK_OF_TEST"


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def marked(mark: str) -> list[psutil.Process]:
    """Return the living processes with a mark."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != "zombie":
                found.append(process)
        except psutil.Error:
            continue
    return found


# With a second thread, or large, it is not forked to be the nursery, but starts one.
DRIVER = """
import sys, threading
from search.workers import starting
from search.machine.devices import worker_environment
from search.workers.starting import start_nursery, start_worker

way, other = sys.argv[1:]
if other == "thread":
    threading.Thread(target=threading.Event().wait, daemon=True).start()
if other == "large":
    starting.LARGEST_FORKED = 1
start_nursery()
print("began", flush=True)
if way != "at once":
    process = start_worker(worker_environment(0, 1), sys.stderr)
    print(process.pid, flush=True)
if way != "end":
    sys.stdin.read()
"""


WAYS = ("at once", "later", "stopped", "end")


@pytest.mark.parametrize(
    "way, other",
    [*((way, other) for way in WAYS for other in ("", "thread")), ("later", "large")],
)
def test_nothing_is_left_of_a_driver(tmp_path: Path, way: str, other: str) -> None:
    """Killed when the nursery begins or later, its worker stopped; or at its end."""
    mark = str(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER, way, other],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, MARK: mark},
        text=True,
    ) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "began\n"
        wait_until(lambda: len(marked(mark)) >= 2 or driver.poll() is not None)
        if way in ("later", "stopped"):
            worker = int(driver.stdout.readline())
            assert worker in [process.pid for process in marked(mark)]
            nursery = psutil.Process(worker).parent()
            assert nursery is not None
            assert ("search.workers.nursery" in nursery.cmdline()) == bool(other)
            if way == "stopped":
                wait_until(lambda: os.getsid(worker) == worker)  # it has settled
                os.kill(worker, signal.SIGSTOP)
        if way == "end":
            assert driver.wait(60) == 0
        driver.kill()
    wait_until(lambda: not marked(mark))


def test_bad_input_leaves_no_nursery(tmp_path: Path) -> None:
    """The space is checked when there is one."""
    mark = str(tmp_path)
    asked = ["search", "shapes-convnet", "--fix", "learning_rat=1", "--workers", "1"]
    result = subprocess.run(
        [sys.executable, "-m", "search", *asked],
        cwd=tmp_path,
        env={**os.environ, MARK: mark, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert marked(mark) == []


# A driver with much that is its own, read from a pipe with lines that follow.
SHARING = """
import fcntl, gc, json, os, signal, sys
from pathlib import Path
import numpy as np
import psutil
from search.workers import starting
from search.machine.devices import worker_environment

signal.signal(signal.SIGTERM, lambda *_: print("the driver's"))
signal.signal(signal.SIGINT, signal.SIG_IGN)
reads, writes = os.pipe()
os.set_blocking(writes, False)
signal.set_wakeup_fd(writes)
lock = open("lock", "w")
fcntl.flock(lock, fcntl.LOCK_EX)
print("not yet written out", end=" ")
starting.start_nursery()
lock.close()
again = open("lock", "w")
fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
product = np.ones((500, 500)) @ np.ones((500, 500))  # OpenBLAS has its threads again
log = open("log", "w")
worker = starting.start_worker(worker_environment(0, 2), log)
nursery = psutil.Process(worker.pid).parent()
def state(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, value in (x.split(":", 1) for x in lines)}
def shared(pid):
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    sizes = {line.split()[0]: int(line.split()[1]) for line in lines}
    return sizes["Private_Dirty:"] / sizes["Anonymous:"]
told = {
    "is a fork": nursery.ppid() == os.getpid(),
    "product": float(product[0, 0]),
    "collects": gc.isenabled(),
    "frozen": gc.get_freeze_count(),
    "session": os.getsid(nursery.pid) == nursery.pid,
    "caught": int(state(nursery.pid)["SigCgt"], 16),
    "ignored": int(state(nursery.pid)["SigIgn"], 16),
    "descriptors": len(os.listdir(f"/proc/{nursery.pid}/fd")),
    "own": shared(nursery.pid),
}
nursery.kill()
told["worker"] = worker.wait(60)
other = starting.start_worker(worker_environment(0, 2), log)
told["has another"] = psutil.Process(other.pid).ppid() not in (os.getpid(), nursery.pid)
other.stdin.close()
told["other"] = other.wait(60)
told["children"] = [p.pid for p in psutil.Process().children() if p.pid == nursery.pid]
told["signal"] = signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
json.dump(told, open("told.json", "w"))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what a driver tells of a nursery that was forked from it."""
    folder = tmp_path_factory.mktemp("driver")
    result = subprocess.run(
        [sys.executable, "-"],
        input=SHARING,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == "not yet written out "
    found: dict[str, Any] = json.loads((folder / "told.json").read_text())
    return found


def test_a_nursery_shares_what_the_driver_has_imported(told: dict[str, Any]) -> None:
    assert told["is a fork"]
    assert told["own"] < 0.2


def test_a_nursery_holds_nothing_else_of_the_driver(told: dict[str, Any]) -> None:
    """Neither its session, files and locks, nor what it does on signals."""
    assert told["session"]
    # The standard streams, the driver's orders, and two that watch the worker.
    assert told["descriptors"] == 6
    assert told["caught"] & 1 << signal.SIGINT - 1
    for number in (signal.SIGTERM, signal.SIGUSR1):
        assert not (told["caught"] | told["ignored"]) & 1 << number - 1


def test_a_driver_goes_on_as_if_it_was_not_forked(told: dict[str, Any]) -> None:
    assert told["product"] == 500
    assert told["collects"] and not told["frozen"]
    assert told["signal"]


def test_a_forked_nursery_that_was_killed_is_replaced(told: dict[str, Any]) -> None:
    assert told["worker"] == -signal.SIGKILL
    assert told["has another"] and told["other"] == 0
    assert told["children"] == []
