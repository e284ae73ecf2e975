"""A search on a real Ray cluster of this machine, with nodes and driver killed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from local_cluster import LocalCluster, kill_tree, wait_until

from search.checkpoints import read_standing
from search.files import read_json

TRIALS = 4
TINY = ["search", "shapes-convnet", "--tuner", "random", "--limit-train", "128"]
TINY += ["--epochs", "6", "--trials", str(TRIALS), "--seed", "3"]
for knob in ("stages=2", "blocks_per_stage=1", "base_filters=16", "width_growth=1.5"):
    TINY += ["--fix", knob]
COMMAND = [sys.executable, "-P", "-m", "search", *TINY]
STUDY = Path("results", "shapes-convnet")


def table(folder: Path) -> list[dict[str, Any]]:
    """Return the trials without what a clock decides."""
    trials = read_json(folder / STUDY / "trials.json")
    return [{k: v for k, v in t.items() if k != "seconds"} for t in trials]


def epochs_on_disk(folder: Path) -> list[int]:
    paths = sorted(folder.glob(f"{STUDY}/work/trials/*/last.npz"))
    return [s.epochs for s in map(read_standing, paths) if s is not None]


def nodes_used(folder: Path) -> set[str]:
    """Return the ids of the nodes on which workers have printed something."""
    logs = folder.glob(f"{STUDY}/work/workers/*-*/")
    return {path.name.split("-")[0] for path in logs}


def environment(**more: str) -> dict[str, str]:
    """Return one that finds this package, with one core a worker everywhere."""
    root = str(Path(__file__).parents[1])
    return {**os.environ, "PYTHONPATH": root, "VISION_TUNER_CORES": "1", **more}


@dataclass
class Searched:
    """What was seen of two searches: on workers here, and on a cluster with deaths."""

    on_workers: list[dict[str, Any]]
    on_cluster: list[dict[str, Any]]
    said_by_first_driver: str
    nodes_of_first_driver: set[str]
    nodes_of_second_driver: set[str]
    left_in_logs: list[str]


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    pytest.importorskip("ray", reason="needs the extra [ray]")
    with LocalCluster() as cluster:
        cluster.add_node()
        yield cluster


@pytest.fixture(scope="module")
def searched(
    cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory
) -> Searched:
    here, there = (tmp_path_factory.mktemp(name) for name in ("here", "there"))
    local = cluster.start([*COMMAND, "--workers", "1"], cwd=here, env=environment())
    wait_until(cluster.is_listening)
    lost = cluster.add_node()
    cluster.wait_for_nodes(2)
    first, said = start_driver(cluster, there)
    wait_until(lambda: len(epochs_on_disk(there)) == 2, first)
    cluster.kill_node(lost)
    wait_until(lambda: "was lost" in said.read_text(), first)
    done = sum(epochs_on_disk(there))
    wait_until(lambda: sum(epochs_on_disk(there)) > done, first)
    nodes_before = nodes_used(there)
    kill_tree(first)
    second, _ = start_driver(cluster, there)
    cluster.add_node()
    assert second.wait() == 0
    assert local.wait() == 0
    return Searched(
        on_workers=table(here),
        on_cluster=table(there),
        said_by_first_driver=said.read_text(),
        nodes_of_first_driver=nodes_before,
        nodes_of_second_driver=nodes_used(there),
        left_in_logs=[p.name for p in there.glob("*/**/.*")],
    )


def start_driver(
    cluster: LocalCluster, folder: Path
) -> tuple["subprocess.Popen[Any]", Path]:
    """Start the search on the cluster; what it says goes to a file."""
    said = folder / "said.txt"
    with said.open("a") as errors:
        driver = cluster.start(
            [*COMMAND, "--ray", cluster.address],
            cwd=folder,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
    return driver, said


def test_a_search_whose_node_and_driver_die_ends_as_on_local_workers(
    searched: Searched,
) -> None:
    assert len(searched.on_cluster) == TRIALS
    assert searched.on_cluster == searched.on_workers
    assert "goes on from its last epoch" in searched.said_by_first_driver


def test_a_node_that_joins_during_the_search_is_used(searched: Searched) -> None:
    assert len(searched.nodes_of_first_driver) == 2
    new = searched.nodes_of_second_driver - searched.nodes_of_first_driver
    assert len(new) == 1


def test_no_mark_is_left_in_results_or_logs(searched: Searched) -> None:
    assert searched.left_in_logs == []
