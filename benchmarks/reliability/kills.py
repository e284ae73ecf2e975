"""200 kills at random instants, of the driver or of its worker, over small searches.

    python benchmarks/reliability/kills.py FOLDER [--kills 200] [--seed 0] [--light]

Each search runs the same 20 Hyperband trials and is killed again and again until it
ends; then its table must be that of a search nobody killed. Looks at every file after
every kill. Goes on where it was left; the record has what was counted so far. With
--light the workers train a network of NumPy, whose epochs take milliseconds.
"""

import argparse
import itertools
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import forked
import psutil
import searches

from search.files import read_json, write_json

# Between starting a search (or the last kill) and a kill, in seconds.
SHORTEST = 0.05
PLAIN = ("trial_id", "state", "values", "best_epoch", "epochs", "failure")
COUNTED = (
    *("kills", "kills of the driver", "kills of the worker", "searches ended"),
    *("unreadable files", "trials lost", "trials duplicated"),
    *("finished epochs trained again", "epochs under way lost, at most"),
    *("tables that differ", "scores that differ by more than 1e-6"),
    "scores that differ at all",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest", type=float, help="wait for a kill, in seconds")
    parser.add_argument("--light", action="store_true")
    parser.add_argument("--results", type=Path, default=searches.RESULTS)
    options = parser.parse_args()
    if options.light:
        os.environ[forked.LIGHT] = "1"
    # An uninterrupted search takes 4 s, and 45 s with Keras.
    options.longest = options.longest or (2.0 if options.light else 15.0)
    options.folder.mkdir(parents=True, exist_ok=True)
    forked.warm_up(options.folder)
    counts = Counter(kept_counts(options.folder))
    whole = uninterrupted(options.folder)
    rng = random.Random(f"{options.seed} {counts['kills']}")
    for number in itertools.count(counts["searches ended"]):
        if counts["kills"] >= options.kills:
            break
        name = f"killed{number:03d}"
        for change in killed_search(options, name, rng, counts):
            counts.update(change)
            record(options, counts)
        table = searches.table(options.folder / "results" / name)
        counts.update(compared(whole, table))
        counts["searches ended"] += 1
        record(options, counts)


def kept_counts(folder: Path) -> dict[str, int]:
    path = folder / "counts.json"
    return read_json(path) if path.exists() else {}


def record(options: argparse.Namespace, counts: Counter[str]) -> None:
    """Write what was counted so far."""
    write_json(options.folder / "counts.json", dict(counts))
    result = {
        **searches.circumstances(),
        "trials a search": 20,
        "kills asked for": options.kills,
        **{name: counts[name] for name in COUNTED},
    }
    name = "kills-light.json" if options.light else "kills.json"
    searches.write_result(name, result, options.results)


def uninterrupted(folder: Path) -> list[dict[str, Any]]:
    """Return the table of a search that nobody kills."""
    if not (folder / "whole.done").exists():
        status = os.waitpid(forked.start(folder, "whole"), 0)[1]
        assert status == 0, f"the uninterrupted search failed; see {folder}/search.log"
        (folder / "whole.done").touch()
    return searches.table(folder / "results" / "whole")


def killed_search(
    options: argparse.Namespace, name: str, rng: random.Random, counts: Counter[str]
) -> Iterator[dict[str, int]]:
    """Run a search to its end with kills on the way; yield what each one did.

    After the last kill asked for, it runs on to its end.
    """
    results = options.folder / "results" / name
    known: list[str] = []
    driver = forked.start(options.folder, name)
    while True:
        enough = counts["kills"] >= options.kills
        wait = float("inf") if enough else rng.uniform(SHORTEST, options.longest)
        if ended(driver, wait):
            break
        victim = rng.choice(["driver", "worker"])
        if not kill(driver, victim):
            continue
        if victim == "driver":
            os.waitpid(driver, 0)
        ids = [trial["trial_id"] for trial in searches.table(results)]
        yield {
            "kills": 1,
            f"kills of the {victim}": 1,
            "unreadable files": len(searches.unreadable(results)),
            "trials lost": len(set(known) - set(ids)),
            "trials duplicated": len(ids) - len(set(ids)),
            "epochs under way lost, at most": 1,
        }
        known = ids
        if victim == "driver":
            driver = forked.start(options.folder, name)
    yield {"finished epochs trained again": epochs_logged_twice(options.folder, name)}


def ended(driver: int, seconds: float) -> bool:
    """Wait, and return whether the search ended by itself meanwhile."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        pid, status = os.waitpid(driver, os.WNOHANG)
        if pid:
            assert status == 0, "a search failed; see search.log"
            return True
        time.sleep(0.02)
    return False


def kill(driver: int, victim: str) -> bool:
    """Kill the driver or its worker; return whether there was one."""
    workers = psutil.Process(driver).children()
    if victim == "worker":
        if workers:
            workers[0].send_signal(signal.SIGKILL)
        return bool(workers)
    os.kill(driver, signal.SIGKILL)
    psutil.wait_procs(workers)
    return True


def epochs_logged_twice(folder: Path, name: str) -> int:
    """Return how many epochs were written to TensorBoard more than once.

    An epoch is written when its checkpoint is on disk: one that is finished and trained
    again is there twice.
    """
    from tensorboard.backend.event_processing.event_file_loader import (
        EventFileLoader,
    )

    again = 0
    for run in (folder / "tensorboard_logs" / name).glob("*/train"):
        steps: Counter[int] = Counter()
        for path in run.glob("events.*"):
            for event in EventFileLoader(str(path)).Load():
                tags = [value.tag for value in event.summary.value]
                steps.update([event.step] if "epoch_loss" in tags else [])
        again += sum(count - 1 for count in steps.values())
    return again


def compared(
    whole: list[dict[str, Any]], killed: list[dict[str, Any]]
) -> dict[str, int]:
    """Return whether the final tables differ, and how many scores do."""
    plain = [[{k: t[k] for k in PLAIN} for t in rows] for rows in (whole, killed)]
    pairs = zip(whole, killed, strict=False)
    differences = [abs((a["score"] or 0) - (b["score"] or 0)) for a, b in pairs]
    scores = sum(difference > 1e-6 for difference in differences)
    return {
        "tables that differ": int(plain[0] != plain[1] or scores > 0),
        "scores that differ by more than 1e-6": scores,
        "scores that differ at all": sum(d > 0 for d in differences),
    }


if __name__ == "__main__":
    main()
