"""Workers that are forked: the same as others, and nothing of them stays behind."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from test_training import VALUES

from search.datasets import prepare
from search.machine.devices import worker_environment
from search.machine.memory import holds_more, memory_of, most_memory_of
from search.machine.processes import module_command
from search.orders import Order, Outcome, Progress
from search.studies import Study
from search.workers import keepers, starting
from search.workers.places import hang_up
from search.workers.starting import ForkedWorker, WorkerProcess, start_worker
from search.workers.worker_processes import WorkerProcesses

pytestmark = pytest.mark.skipif(not starting.CAN_FORK, reason="needs Linux")
ROOT = Path(__file__).parents[1]


def order(folder: Path, epochs: int = 2, **changes: object) -> Order:
    study = Study("tiny", "classification", "shapes", "convnet", limit_train=64)
    data = prepare("shapes", task="classification", image_size=32)
    return Order(
        order_id="0000",
        job="train",
        study={**asdict(study), **changes},
        data_folder=str(data.folder),
        folder=str(folder),
        logs=str(folder / "logs"),
        values=VALUES,
        seed=0,
        epochs=epochs,
        length=epochs,
    )


def workers(tmp_path: Path, is_forked: bool = True) -> WorkerProcesses:
    return WorkerProcesses(
        1,
        tmp_path / "worker_logs",
        memory_limit=None,
        per_gpu=1,
        say=str,
        command=() if is_forked else module_command("workers.worker"),
    )


def outcome_of(
    executor: WorkerProcesses, report: Callable[[Progress], None] = lambda _: None
) -> Outcome:
    while True:
        outcome = executor.wait(report)
        if outcome is not None:
            return outcome


def carried_out(tmp_path: Path, *orders: Order) -> list[Outcome]:
    """Carry out an order in a forked worker, and one in another, at the same time."""
    executors = [workers(tmp_path / str(way), way) for way in (True, False)]
    for executor, given in zip(executors, orders, strict=True):
        executor.submit(given)
    kinds = [isinstance(e._places[0].process, ForkedWorker) for e in executors]
    assert kinds == [True, False]
    outcomes = [outcome_of(executor) for executor in executors]
    for executor in executors:
        executor.close()
    return outcomes


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_forked_worker_trains_the_same_bit_for_bit(tmp_path: Path) -> None:
    given = [order(tmp_path / "forked"), order(tmp_path / "started")]
    forked, started = carried_out(tmp_path, *given)
    assert forked.state == "COMPLETED", forked.traceback
    assert forked.history == started.history
    for name in ("last.npz", "best.npz"):
        a, b = (np.load(Path(each.folder) / name) for each in given)
        arrays = [key for key in a.files if a[key].dtype.kind == "f"]
        assert set(a.files) == set(b.files) and len(arrays) > 20
        assert all(np.array_equal(a[key], b[key]) for key in arrays)


def test_workers_leave_no_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorFlow writes one for each function it traces; a worker may be killed."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    executor = workers(tmp_path)
    executor.submit(order(tmp_path / "ends"))
    outcome_of(executor)
    assert list(temporary.rglob("*.py"))
    executor.submit(order(tmp_path / "killed", epochs=50))
    epochs: list[Progress] = []
    while not epochs:
        executor.wait(epochs.append)
    process = executor._places[0].process
    assert process is not None
    process.kill()
    executor.close()
    assert not list(temporary.iterdir())


def test_temporary_files_of_a_killed_driver_are_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel kills its workers with it: no one is left to tidy up."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    killed = tmp_path / f"vision-tuner-worker-{ended.pid}-abcd1234"
    lives = tmp_path / f"vision-tuner-worker-{os.getppid()}-abcd1234"
    for folder in (killed, lives):
        folder.mkdir()
        (folder / "traced.py").touch()
    executor = workers(tmp_path)
    assert not killed.exists() and lives.exists()
    executor.submit(order(tmp_path / "named"))
    assert list(tmp_path.glob(f"vision-tuner-worker-{os.getpid()}-*"))
    executor.close()


# What a process is, beside what it computes.
TELLING = """
import gc, importlib.util, json, os, signal, sys, tempfile
import threadpoolctl

def kind(descriptor):
    target = os.readlink(f"/proc/self/fd/{descriptor}")
    return target.partition(":")[0] if target.startswith(("pipe", "sock")) else target

has_temporary = tempfile.gettempdir() == os.environ.pop("TMPDIR")
descriptors = [n for n in range(1000) if os.path.exists(f"/proc/self/fd/{n}")]
told = {
    "environment": dict(os.environ),
    "folder": os.getcwd(),
    "has its own temporary folder": has_temporary,
    "path": sys.path[1:],
    "session": os.getsid(0) == os.getpid(),
    "signals": [str(signal.getsignal(n)) for n in signal.valid_signals()],
    "blocked": [int(n) for n in signal.pthread_sigmask(signal.SIG_BLOCK, [])],
    "descriptors": sorted(map(kind, descriptors)),
    "pools": sorted({p["num_threads"] for p in threadpoolctl.threadpool_info()}),
    "collects": gc.isenabled(),
    "left out": [name for name in ("matplotlib", "sklearn") if name not in sys.modules],
    "can be imported": importlib.util.find_spec("matplotlib") is not None,
    "frozen": gc.get_freeze_count() > 100_000,
}
with open("told.json", "w") as file:
    json.dump(told, file, indent=1, sort_keys=True)
raise ValueError("told")
"""


def test_a_forked_worker_is_what_a_new_process_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its environment, folder, session, signals, descriptors and threads."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    end(start_worker(worker_environment(0, 1), sys.__stderr__))  # nursery elsewhere
    told = []
    for way in (True, False):
        folder = tmp_path / ("forked" if way else "started")
        folder.mkdir()
        (folder / "telling.py").write_text(TELLING)
        monkeypatch.chdir(folder)
        # A variable that no import reads: the nursery is not replaced for it.
        monkeypatch.setenv("ONLY_HERE", str(folder))
        other = start_worker(worker_environment(0, 1), sys.__stderr__)
        executor = workers(tmp_path, way)
        executor.submit(order(folder / "x", hypermodel="telling:Model"))
        outcome = outcome_of(executor)
        assert outcome.message and "told" in outcome.message
        executor.close()
        end(other)
        text = (folder / "told.json").read_text()
        told.append(text.replace(str(folder), "FOLDER"))
    assert '"ONLY_HERE": "FOLDER"' in told[0]
    assert '"CUDA_VISIBLE_DEVICES": "-1"' in told[0]
    assert '"frozen": true' in told[0]
    assert '"has its own temporary folder": true' in told[0]
    assert '"can be imported": true' in told[0]
    assert '"left out": [\n  "matplotlib",\n  "sklearn"\n ]' in told[0]
    assert told[0] == told[1]


def end(process: WorkerProcess) -> int:
    status = hang_up(process)
    assert process.stdout is not None
    process.stdout.close()
    return status


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[WorkerProcess]:
    with (tmp_path / "log").open("w") as log:
        process = start_worker(worker_environment(0, 2), log)
    assert isinstance(process, ForkedWorker)
    yield process
    end(process)


# SIGINT is ignored by all that a shell has started in the background.
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_the_exit_status_of_a_worker_arrives(
    worker: WorkerProcess, number: signal.Signals
) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        worker.wait(0.01)
    os.kill(worker.pid, number)
    assert worker.wait(30) == worker.wait() == -number
    worker.kill()  # of what has ended nothing comes


def test_a_worker_ends_with_its_orders_though_others_were_forked_later(
    worker: WorkerProcess, tmp_path: Path
) -> None:
    with (tmp_path / "other").open("w") as log:
        later = start_worker(worker_environment(1, 2), log)
    assert worker.stdin is not None
    worker.stdin.close()
    assert worker.wait(30) == 0
    wait_until(lambda: not psutil.pid_exists(worker.pid))  # nor is it a zombie
    with pytest.raises(subprocess.TimeoutExpired):
        later.wait(0.01)
    later.kill()
    assert end(later) == -signal.SIGKILL


def test_a_worker_holds_only_what_it_does_not_share(worker: WorkerProcess) -> None:
    assert most_memory_of(worker.pid) > 3 * memory_of(worker.pid) > 0
    assert not holds_more(worker.pid, 100_000_000)
    assert holds_more(worker.pid, 1000)


def processes_of(tmp_path: Path, *orders: Order) -> list[int]:
    """Hand orders to one place, one after the other; return the process of each."""
    executor = workers(tmp_path)
    found = []
    for given in orders:
        executor.submit(given)
        process = executor._places[0].process
        assert process is not None
        found.append(process.pid)
        outcome_of(executor)
    executor.close()
    return found


def test_each_network_has_a_process_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorFlow does not give back the memory that another network needed."""
    # It fails at once: there are no data.
    begun = replace(order(tmp_path), data_folder=str(tmp_path / "none"))
    other_rate = replace(begun, values=VALUES | {"learning_rate": 1e-4})
    goes_on = replace(begun, epochs=3)
    wider = replace(begun, values=VALUES | {"base_filters": 32})
    orders = begun, other_rate, goes_on, wider, begun
    one, two, three, four, five = processes_of(tmp_path, *orders)
    assert one == two == three
    assert len({one, four, five}) == 3
    # Where it would have to begin on a GPU again, it stays.
    monkeypatch.setattr(starting, "gpus", lambda: ["0"])
    assert len(set(processes_of(tmp_path, *orders))) == 1


def written(logs: Path) -> bytes:
    """Return the event files of a trial."""
    files = sorted(path for path in logs.rglob("*") if path.is_file())
    return b"".join(path.read_bytes() for path in files)


def test_what_can_wait_is_done_though_the_next_network_has_another_process(
    tmp_path: Path,
) -> None:
    """It is answered before its last pictures are drawn."""
    begun = order(tmp_path / "one", epochs=1)
    wider = order(tmp_path / "two", epochs=1)
    wider = replace(wider, values=VALUES | {"base_filters": 32})
    one, two = processes_of(tmp_path, begun, wider)
    assert one != two
    for each in (begun, wider):
        assert each.logs is not None
        content = written(Path(each.logs))
        assert b"most confident mistakes" in content
        assert b"resources/latency_ms" in content


def test_a_process_that_has_trained_nothing_takes_the_next_network(
    tmp_path: Path,
) -> None:
    too_large = order(tmp_path, max_parameters=1)
    wider = replace(too_large, values=VALUES | {"base_filters": 32})
    assert len(set(processes_of(tmp_path, too_large, wider, order(tmp_path)))) == 1


def test_a_training_goes_on_when_the_nursery_is_killed(tmp_path: Path) -> None:
    executor = workers(tmp_path)
    executor.submit(order(tmp_path / "killed", epochs=3))
    nurseries = []

    def strike(progress: Progress) -> None:
        process = executor._places[0].process
        assert isinstance(process, ForkedWorker)
        nurseries.append(psutil.Process(process.pid).ppid())
        if progress.epoch == 1:
            os.kill(nurseries[0], signal.SIGKILL)

    outcome = outcome_of(executor, strike)
    executor.close()
    assert outcome.state == "COMPLETED"
    assert "killed from outside in epoch 2 (SIGKILL)" in outcome.notes[0]
    assert len(nurseries) == 3 and nurseries[0] != nurseries[1] == nurseries[2]


def test_without_a_nursery_workers_are_started_by_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = []

    def command(module: str) -> list[str]:
        commands.append(module)
        return (
            [sys.executable, "-c", ""] if module == "workers.nursery" else whole(module)
        )

    whole = module_command
    monkeypatch.setattr(starting, "_nursery", None)
    monkeypatch.setattr(starting, "_is_hopeless", False)
    for module in (starting, keepers):
        monkeypatch.setattr(module, "module_command", command)
    for _ in range(2):
        process = start_worker(worker_environment(0, 1), sys.__stderr__)
        assert isinstance(process, subprocess.Popen)
        assert end(process) == 0
    assert commands == ["workers.nursery", "workers.worker", "workers.worker"]


def test_other_variables_of_an_import_need_another_nursery(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(starting, "_nursery", None)
    monkeypatch.setattr(starting, "is_single", lambda: False)
    starting.start_nursery()
    first = starting._nursery
    starting.start_nursery()
    assert starting._nursery is first
    monkeypatch.setenv("KERAS_BACKEND", "another")
    starting.start_nursery()
    assert starting._nursery is not first
