"""A search in processes forked from one that has imported Keras.

A driver killed 100 times imports Keras 100 times, its worker 200 times: all of a
harness's time. A fork takes none. What runs in the processes is ours, unchanged;
TensorFlow itself starts in each worker, after the fork.
"""

import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import searches
from light_network import LightModel

from search.beginning.inputs import described, only_driver
from search.beginning.study_record import fingerprint, record_study
from search.commands.knobs import parse_fixed
from search.datasets import prepare
from search.driving.driver import Driver
from search.machine.backend import load_keras
from search.oracles import make_oracle
from search.paths import study_paths
from search.spaces import declare_space
from search.studies import Study
from search.training import loop, streams
from search.training.loop import make_hypermodel
from search.watching.live import Quiet
from search.workers import worker, worker_processes

# Set where workers train the network of light_network.py instead of Keras'.
LIGHT = "VISION_TUNER_LIGHT_NETWORK"
# The last one is trained.
networks: list[type[LightModel]] = [LightModel]


class ForkedWorker:
    """Stands for `search.workers.starting.start_worker`."""

    def __init__(
        self, env: Mapping[str, str], stderr: Any, command: Sequence[str] = ()
    ) -> None:
        orders, self_orders = os.pipe()
        self_answers, answers = os.pipe()
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            run_worker(orders, answers, stderr.fileno(), env)
        os.close(orders)
        os.close(answers)
        self.stdin = os.fdopen(self_orders, "w")
        self.stdout = os.fdopen(self_answers)

    def wait(self, timeout: float | None = None) -> int:
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("worker", timeout or 0)
            time.sleep(0.01)
        assert self.returncode is not None
        return self.returncode

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


def run_worker(orders: int, answers: int, log: int, env: Mapping[str, str]) -> None:
    """Be a worker until the orders end; never return."""
    os.setsid()
    for number, descriptor in enumerate((orders, answers, log)):
        os.dup2(descriptor, number)
    os.closerange(3, 1024)  # the lock and the other pipes of the driver
    os.environ.update(env)
    sys.stdin = os.fdopen(0)
    if os.environ.get(LIGHT):
        loop.build_model = lambda order, *unused: networks[-1](order)
        streams.pipeline = lambda stream: stream  # it starts TensorFlow
    try:
        worker.main()
    finally:
        traceback.print_exc()
        os._exit(1)


def start(folder: Path, name: str, **changes: Any) -> int:
    """Fork a driver that searches in `folder`; return its process id.

    Args:
        changes: fields of the study.
    """
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        with (folder / "search.log").open("ab") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        fork_workers()
        drive(folder, replace(small_study(name), **changes))
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def fork_workers() -> None:
    """Let workers be forks of this process from now on."""
    worker_processes.start_worker = ForkedWorker  # type: ignore[attr-defined]


def drive(folder: Path, study: Study) -> None:
    """Search as the command does, without counting FLOPs, which starts TensorFlow."""
    paths = study_paths(study.name, folder / "results", folder / "tensorboard_logs")
    data = prepare(study.dataset, task=study.task, image_size=study.image_size)
    hypermodel = make_hypermodel(study, data, study.epochs)
    with only_driver(paths):
        mark = fingerprint(study, data.fingerprint, None)
        record_study(paths, study, described(data), mark, "kills.py")
        Driver(
            study=study,
            paths=paths,
            data_folder=data.folder,
            oracle=make_oracle(study, declare_space(hypermodel, study.fixed)),
            executor=worker_processes.WorkerProcesses(
                1, paths.worker_logs, memory_limit=None, per_gpu=1, say=print
            ),
            watcher=Quiet(),
        ).search()


def small_study(name: str) -> Study:
    """Return the study of `searches.command`."""
    return Study(
        name,
        "classification",
        "shapes",
        "convnet",
        tuner="hyperband",
        trials=20,
        epochs=9,
        limit_train=64,
        image_size=32,
        fixed=parse_fixed(list(searches.FIXED)),
    )


def warm_up(folder: Path) -> None:
    """Import what drivers and workers import, and prepare the data."""
    os.environ["VISION_TUNER_CACHE"] = str(folder / "cache")
    load_keras()
    import keras_tuner.oracles  # noqa: F401
    from tensorboard.plugins.hparams import summary_v2  # noqa: F401

    prepare("shapes", task="classification", image_size=32)
