"""A search on two Ray nodes of this machine; nodes and drivers are killed at random.

    python benchmarks/reliability/ray.py FOLDER [--kills 4] [--seed 0]

Nodes are killed whole (all processes, as a power failure does), or only their raylet,
and replaced by new ones; drivers are killed and started again; some are asked to stop
with Ctrl-C. When the search has ended its table must be that of the same search on a
worker process here, which is kept in FOLDER for other seeds.
"""

import argparse
import os
import random
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import Any

import searches
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

sys.path.append(str(Path(__file__).parents[2] / "tests"))
from local_cluster import LocalCluster, descendants, kill_tree, wait_until

NAME = "killed"
TRIALS = 6
OPTIONS = ("--tuner", "random", "--trials", str(TRIALS), "--epochs", "6")
KINDS = ("node", "node", "raylet", "driver", "driver", "ctrl-c")
SHORTEST, LONGEST = 20.0, 60.0
ONE_CORE = {"VISION_TUNER_CORES": "1"}


@dataclass
class Chaos:
    """A search on a cluster in which things die.

    Attributes:
        nodes: of the cluster but its head, which must live.
    """

    cluster: LocalCluster
    folder: Path
    rng: random.Random
    driver: "Popen[Any] | None" = None
    nodes: list["Popen[Any]"] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def start_driver(self) -> None:
        with (self.folder / "search.log").open("ab") as log:
            self.driver = self.cluster.start(
                [*command(NAME, "--workers", "2"), "--ray", self.cluster.address],
                cwd=self.folder,
                env={**environment(self.folder), "PYTHONUNBUFFERED": "1"},
                stdout=log,
                stderr=log,
            )

    def kill_something(self) -> None:
        """Kill one thing and replace it."""
        assert self.driver is not None
        kind = self.rng.choice(KINDS)
        self.counts[f"kills: {kind}"] += 1
        self.counts["kills"] += 1
        if kind in ("node", "raylet"):
            node = self.nodes.pop(0)
            self.nodes.append(self.cluster.add_node())
            if kind == "node":
                kill_tree(node)
            else:
                raylets = [p for p in descendants(node.pid) if name_of(p) == "raylet"]
                for raylet in raylets:
                    os.kill(raylet, signal.SIGKILL)
        elif kind == "driver":
            kill_tree(self.driver)
            self.start_driver()
        else:
            for pid in descendants(self.driver.pid) or [self.driver.pid]:
                os.kill(pid, signal.SIGINT)
            self.driver.wait()
            self.start_driver()

    def run(self, most: int) -> None:
        """Search to the end; the first `most` kills come at random instants."""
        self.cluster.add_node(cpus=0)
        wait_until(self.cluster.is_listening)
        self.nodes = [self.cluster.add_node(), self.cluster.add_node()]
        self.cluster.wait_for_nodes(3)
        self.start_driver()
        while self.counts["kills"] < most and not self.ended_within(
            self.rng.uniform(SHORTEST, LONGEST)
        ):
            self.kill_something()
            unreadable = searches.unreadable(self.folder / "results" / NAME)
            self.counts["unreadable files"] += len(unreadable)
        assert self.driver is not None
        self.driver.wait()
        self.counts["exit status of the last driver"] = self.driver.returncode

    def ended_within(self, seconds: float) -> bool:
        assert self.driver is not None
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.driver.poll() is not None:
                return True
            time.sleep(0.2)
        return False


def command(name: str, *options: str) -> list[str]:
    """Return the search; OPTIONS override those of `searches`."""
    return searches.command(name, *OPTIONS, *options)


def environment(folder: Path) -> dict[str, str]:
    root = str(Path(__file__).parents[2])
    return {"VISION_TUNER_CACHE": str(folder / "cache"), "PYTHONPATH": root, **ONE_CORE}


def name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def epochs_logged(runs: Path) -> list[int]:
    """Return the epochs written to the training run of a trial, over all its lives."""
    steps = []
    for path in sorted((runs / "train").glob("events*")):
        for event in EventFileLoader(str(path)).Load():
            tags = [value.tag for value in event.summary.value]
            steps += [event.step] if "epoch_loss" in tags else []
    return steps


def differences(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> int:
    """Return how many trials differ in anything but their seconds and notes."""
    clean = [
        [{k: v for k, v in t.items() if k not in ("seconds", "notes")} for t in table]
        for table in (ours, theirs)
    ]
    lost = abs(len(ours) - len(theirs))
    return lost + sum(a != b for a, b in zip(*clean, strict=False))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = options.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.update(environment(folder))
    local = searches.start(folder, command("local"))
    assert local.wait() == 0, "the search on worker processes failed"
    for kept in ("results", "tensorboard_logs"):
        searches.fresh(folder / kept / NAME)
    started = time.monotonic()
    with LocalCluster() as cluster:
        chaos = Chaos(cluster, folder, random.Random(options.seed))
        chaos.run(options.kills)
        is_apart = cluster.is_apart
    tables = [
        searches.table(folder / "results" / name)[:TRIALS] for name in ("local", NAME)
    ]
    logged = [epochs_logged(p) for p in (folder / "tensorboard_logs" / NAME).glob("0*")]
    record = {
        **searches.circumstances(),
        "nodes": "a head without cores and two nodes of one core, on one machine"
        + (", with no network but loopback" if is_apart else ""),
        "seconds": round(time.monotonic() - started),
        "seed": options.seed,
        "trials": len(tables[1]),
        "trials that differ from the search on worker processes": differences(*tables),
        "finished epochs trained again": sum(len(e) - len(set(e)) for e in logged),
        **chaos.counts,
    }
    searches.write_result("ray.json", record)
    print(record)


if __name__ == "__main__":
    main()
