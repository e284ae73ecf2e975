"""Real processes that are killed, stopped, swell or crash, and what follows."""

import errno
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import scripted_worker
from test_training import VALUES

from search.datasets import prepare
from search.orders import Order, Outcome, Progress
from search.studies import Study
from search.workers import worker_processes
from search.workers.starting import WorkerProcess, start_worker
from search.workers.worker_processes import WorkerProcesses


def workers(tmp_path: Path, said: list[str], patience: float = 0.01) -> WorkerProcesses:
    return WorkerProcesses(
        1,
        tmp_path / "logs",
        memory_limit=200_000_000,
        per_gpu=1,
        say=said.append,
        patience=patience,
        command=[sys.executable, str(scripted_worker.__file__)],
    )


def order(tmp_path: Path, *acts: str, number: int = 0) -> Order:
    return Order(
        order_id=f"{number:04d}",
        job="train",
        study={},
        data_folder="",
        folder=str(tmp_path / "trial" / str(number)),
        logs=None,
        values={"acts": json.dumps(acts)},
        seed=0,
        epochs=3,
        length=3,
    )


def outcome_of(executor: WorkerProcesses, seconds: float = 60) -> Outcome:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        outcome = executor.wait(lambda progress: None)
        if outcome is not None:
            return outcome
    raise AssertionError("no outcome")


def carried_out(tmp_path: Path, *acts: str) -> tuple[Outcome, list[str]]:
    said: list[str] = []
    executor = workers(tmp_path, said, patience=0.01 if "stop" in acts else 1.0)
    try:
        executor.submit(order(tmp_path, *acts))
        return outcome_of(executor), said
    finally:
        executor.close()


@pytest.mark.parametrize(
    ("act", "words"),
    [
        ("kill", "killed from outside in epoch 1 (SIGKILL)"),
        ("stop", "hung in epoch 1"),
        ("swell", "it needed more than 200 MB"),
        ("crash", "crashed in epoch 1 (SIGSEGV): the last words"),
    ],
)
def test_a_worker_that_ends_once_is_replaced_and_the_trial_goes_on(
    tmp_path: Path, act: str, words: str
) -> None:
    outcome, said = carried_out(tmp_path, act)
    assert outcome.state == "COMPLETED"
    assert words in outcome.notes[0]
    assert "replaced, the trial goes on" in said[0]


@pytest.mark.parametrize(
    ("act", "failure"),
    [("stop", "hung"), ("swell", "out of memory"), ("crash", "crashed")],
)
def test_the_same_end_in_the_same_epoch_is_a_failure_of_its_kind(
    tmp_path: Path, act: str, failure: str
) -> None:
    outcome, _ = carried_out(tmp_path, act, act)
    assert (outcome.state, outcome.failure) == ("FAILED", failure)
    assert "2 times" in str(outcome.message)


def test_kills_from_outside_are_forgiven_for_long_and_not_for_ever(
    tmp_path: Path,
) -> None:
    outcome, _ = carried_out(tmp_path, *["kill"] * 10)
    assert len(outcome.notes) == 9
    assert (outcome.state, outcome.failure) == ("FAILED", "killed")


def test_progress_clears_the_record_of_a_trial(tmp_path: Path) -> None:
    outcome, _ = carried_out(tmp_path, "crash", "epoch then kill", "crash")
    assert outcome.state == "COMPLETED"


def test_a_notice_of_a_worker_reaches_the_user(tmp_path: Path) -> None:
    _, said = carried_out(tmp_path, "speak")
    assert said == ["trial 0000: waiting for room"]


def test_a_worker_is_recycled_before_leaks_matter(tmp_path: Path) -> None:
    executor = workers(tmp_path, [])
    pids = set()
    for number in range(26):
        executor.submit(order(tmp_path, number=number))
        pids |= set(outcome_of(executor).notes)
    executor.close()
    assert len(pids) == 2


def test_a_driver_goes_on_while_a_worn_out_worker_looks_back(tmp_path: Path) -> None:
    """And no other one begins in its place, which may be a GPU, before it has ended."""
    executor = workers(tmp_path, [], patience=1.0)
    acts = ["linger", *[""] * 24]
    for number, act in enumerate(acts):
        executor.submit(order(tmp_path, act, number=number))
        outcome = outcome_of(executor)
    first = Path("/proc") / outcome.notes[0].removeprefix("pid ")
    assert first.exists()
    executor.submit(order(tmp_path, number=25))
    for _ in range(3):
        assert executor.wait(lambda progress: None) is None
    assert first.exists() and executor._places[0].process is None
    (tmp_path / "trial" / "0" / "go").touch()
    second = Path("/proc") / outcome_of(executor).notes[0].removeprefix("pid ")
    assert second != first and not first.exists()
    executor.close()


def test_a_stopped_worker_dies_with_its_driver(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "from pathlib import Path; import test_worker_processes as t;"
        "e = t.workers(Path(sys.argv[2]), [], patience=100);"
        "e.submit(t.order(Path(sys.argv[2]), 'stop'));"
        "print(e._places[0].process.pid, flush=True);"
        "t.outcome_of(e)"
    )
    driver = subprocess.Popen(
        [sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert driver.stdout is not None
    worker = int(driver.stdout.readline())
    status = Path(f"/proc/{worker}/status")
    wait_until(lambda: "T (stopped)" in status.read_text())
    driver.kill()
    driver.communicate()
    wait_until(lambda: not status.exists() or "zombie" in status.read_text())


def wait_until(condition: object) -> None:
    assert callable(condition)
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_real_worker_stopped_then_killed_ends_as_if_it_were_not(
    tmp_path: Path,
) -> None:
    study = Study("tiny", "classification", "shapes", "convnet", limit_train=64)
    data = prepare("shapes", task="classification", image_size=32)
    given = Order(
        order_id="0000",
        job="train",
        study=asdict(study),
        data_folder=str(data.folder),
        folder=str(tmp_path / "killed"),
        logs=None,
        values=VALUES,
        seed=0,
        epochs=3,
        length=3,
    )
    executor = WorkerProcesses(
        1, tmp_path / "logs", memory_limit=None, per_gpu=1, say=str, patience=0.1
    )
    signals = [signal.SIGSTOP, signal.SIGKILL]

    def strike(progress: Progress) -> None:
        process = executor._places[0].process
        if signals and process is not None:
            os.kill(process.pid, signals.pop(0))

    executor.submit(given)
    outcome = None
    while outcome is None:
        outcome = executor.wait(strike)
    executor.submit(replace(given, folder=str(tmp_path / "straight")))
    straight = None
    while straight is None:
        straight = executor.wait(lambda progress: None)
    executor.close()
    assert not signals
    assert outcome.state == "COMPLETED"
    assert outcome.history == straight.history
    # On a busy machine it may be taken for hung once more, which changes nothing.
    assert sum("killed" in note for note in outcome.notes) == 1
    assert sum("hung" in note for note in outcome.notes) >= 1


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOSPC])
def test_a_worker_that_cannot_be_replaced_yet_is_waited_for(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    executor = workers(tmp_path, said, patience=1.0)
    starts = start_worker_again(2, number)
    monkeypatch.setattr(worker_processes, "start_worker", starts)
    executor.submit(order(tmp_path, "kill"))
    try:
        outcome = outcome_of(executor)
    finally:
        executor.close()
    assert outcome.state == "COMPLETED"
    assert sum("waiting for room for a worker" in text for text in said) == 1


def start_worker_again(failures: int, number: int) -> Callable[..., WorkerProcess]:
    """Return what starts the first worker, and the next after so many refusals."""
    calls = itertools.count()

    def start(*arguments: Any) -> WorkerProcess:
        if 0 < next(calls) <= failures:
            raise OSError(number, os.strerror(number))
        return start_worker(*arguments)

    return start


def test_without_any_worker_it_is_not_waited_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> WorkerProcess:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    executor = workers(tmp_path, [])
    monkeypatch.setattr(worker_processes, "start_worker", refuse)
    monkeypatch.setattr(worker_processes, "SECONDS_WITHOUT_ANY", 0.0)
    executor.submit(order(tmp_path))
    with pytest.raises(BlockingIOError):
        outcome_of(executor)
    executor.close()


def test_an_order_without_a_worker_is_paused_where_the_user_ends_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> WorkerProcess:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    executor = workers(tmp_path, [])
    monkeypatch.setattr(worker_processes, "start_worker", refuse)
    executor.submit(order(tmp_path))
    executor.stop()
    assert outcome_of(executor).state == "PAUSED"
    executor.close()
