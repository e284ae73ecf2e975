"""60 trials: does the driver grow, does a worker swell, do checkpoints fill the disk?

    python benchmarks/reliability/memory.py FOLDER [--trials 60] [--light]

Samples the driver, its worker and the checkpoints once a second. With --light the
workers train a network of NumPy, and driver and workers are forked.
"""

import argparse
import os
import time
from pathlib import Path
from typing import Any

import forked
import psutil
import searches

from search.commands.who_trains import parse_size
from search.driving.retention import TOP_KEPT, checkpoint_bytes
from search.machine.memory import memory_of
from search.paths import study_paths
from search.training.checkpoints import BEST, LAST, PREVIOUS

NAME = "memory"
LIMIT = "2g"
MIB = 2**20
# What the driver has loaded after so many trials it keeps: Keras, TensorBoard.
SETTLED_AFTER = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--light", action="store_true")
    options = parser.parse_args()
    folder = searches.fresh(options.folder)
    driver = started(folder, options.trials, options.light)
    samples = []
    while psutil.pid_exists(driver) and os.waitpid(driver, os.WNOHANG)[0] == 0:
        samples.append(sampled(folder, NAME, driver))
        time.sleep(0.1 if options.light else 1)
        if len(samples) % 60 == 0 and samples[-1]["ended"] >= SETTLED_AFTER:
            report(samples, options)
    report(samples, options)


def started(folder: Path, trials: int, light: bool) -> int:
    """Start the search; return its process id."""
    if not light:
        size = ("--tuner", "random", "--trials", str(trials), "--epochs", "2")
        limit = ("--worker-memory", LIMIT)
        return searches.start(folder, searches.command(NAME, *size, *limit)).pid
    os.environ[forked.LIGHT] = "1"
    forked.warm_up(folder)
    return forked.start(folder, NAME, tuner="random", trials=trials, epochs=2)


def report(samples: list[dict[str, int]], options: argparse.Namespace) -> None:
    """Write what was seen so far."""
    name = "memory-light.json" if options.light else "memory.json"
    record = result(samples, options.trials, options.folder, NAME)
    searches.write_result(name, record)


def sampled(folder: Path, name: str, pid: int) -> dict[str, int]:
    """Return sizes now, in bytes, and how many trials have ended."""
    paths = study_paths(name, folder / "results", folder / "tensorboard_logs")
    trials = searches.table(folder / "results" / name)
    try:  # forked by the driver itself, or by its nursery
        below = psutil.Process(pid).children(recursive=True)
        workers = [process for process in below if not process.children()]
    except psutil.Error:
        workers = []
    files = [
        path.stat().st_size
        for file in (BEST, LAST, PREVIOUS)
        for path in paths.work.glob(f"trials/*/{file}")
        if path.exists()
    ]
    return {
        "ended": sum(trial["epochs"] > 0 for trial in trials),
        "driver": memory_of(pid),
        "worker": max((memory_of(worker.pid) for worker in workers), default=0),
        "workers": sum(worker.pid for worker in workers),
        "checkpoints": checkpoint_bytes(paths),
        "largest checkpoint": max(files, default=0),
    }


def result(
    samples: list[dict[str, int]], trials: int, folder: Path, name: str
) -> dict[str, Any]:
    """Return the largest sizes and the growth."""
    # None of its memory is seen of a driver that has just ended.
    settled = [s["driver"] for s in samples if s["ended"] >= SETTLED_AFTER]
    settled = [memory for memory in settled if memory]
    largest = max(s["largest checkpoint"] for s in samples)
    table = searches.table(folder / "results" / name)
    # One trial runs (best, last, previous); of the top there are best and last.
    bound = (3 + 2 * TOP_KEPT) * largest
    most = max(s["checkpoints"] for s in samples)
    return {
        **searches.circumstances(),
        "trials": sum(trial["epochs"] > 0 for trial in table),
        "trials asked for": trials,
        "driver, MiB after 5 trials": round(settled[0] / MIB, 1),
        "driver, MiB at the end": round(settled[-1] / MIB, 1),
        "driver grew at most, MiB": round((max(settled) - settled[0]) / MIB, 1),
        "worker, largest MiB": round(max(s["worker"] for s in samples) / MIB, 1),
        "worker limit, MiB": round(parse_size(LIMIT) / MIB, 1),
        "worker processes": len({s["workers"] for s in samples} - {0}),
        "checkpoints, largest MB": round(most / 1e6, 3),
        "checkpoints, bound MB": round(bound / 1e6, 3),
        "checkpoints without removal, MB": round(2 * len(table) * largest / 1e6, 3),
        "trials that failed": sum(trial["state"] == "FAILED" for trial in table),
    }


if __name__ == "__main__":
    main()
