"""A search on a real Ray cluster of this machine, with nodes and driver killed."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from local_cluster import LocalCluster, kill_tree, wait_until

from search.cli import run
from search.cluster.nodes import Node, refuse_lacking, room
from search.cluster.shared_files import inputs_of, with_absolute_paths
from search.cluster.worker import NodeReport, software, source_hash
from search.errors import InputError
from search.files import read_json
from search.orders import Order
from search.training.checkpoints import read_standing

# So many that there is work left for a node that joins late.
TRIALS = 5
TINY = ["search", "shapes-convnet", "--tuner", "random", "--limit-train", "128"]
TINY += ["--epochs", "5", "--trials", str(TRIALS), "--seed", "3"]
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
    """Return one that finds this package, with one thread for a training."""
    root = str(Path(__file__).parents[1])
    threads = {f"TF_NUM_{kind}_THREADS": "1" for kind in ("INTRAOP", "INTEROP")}
    return {**os.environ, "PYTHONPATH": root, **threads, **more}


@dataclass
class Searched:
    """What was seen of two searches: here, and on a cluster with deaths."""

    here: list[dict[str, Any]]
    there: list[dict[str, Any]]
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
    local = cluster.start([*COMMAND, "--workers", "0"], cwd=here, env=environment())
    wait_until(cluster.is_listening)
    # The node that will die does not see the cache of prepared data.
    lost = cluster.add_node(hides=Path(os.environ["VISION_TUNER_CACHE"]))
    cluster.wait_for_nodes(2)
    first, said = start_driver(cluster, there)
    try:
        wait_until(lambda: len(epochs_on_disk(there)) >= 2, first)
    finally:
        print(said.read_text())  # shown where it has ended too early
    kill_tree(lost)
    wait_until(lambda: "was lost" in said.read_text(), first)
    done = sum(epochs_on_disk(there))
    wait_until(lambda: sum(epochs_on_disk(there)) > done, first)
    nodes_before = nodes_used(there)
    kill_tree(first)
    second, _ = start_driver(cluster, there)
    cluster.add_node(gpus=1)
    assert second.wait() == 0
    assert local.wait() == 0
    return Searched(
        here=table(here),
        there=table(there),
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
    with said.open("a") as output:
        driver = cluster.start(
            [*COMMAND, "--ray", cluster.address, "--gpus-per-trial", "0"],
            cwd=folder,
            env=environment(PYTHONUNBUFFERED="1"),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    return driver, said


def test_a_search_whose_node_and_driver_die_ends_as_one_on_this_machine(
    searched: Searched,
) -> None:
    assert len(searched.there) == TRIALS
    assert searched.there == searched.here
    assert "goes on from its last epoch" in searched.said_by_first_driver


def test_a_node_that_joins_during_the_search_is_used(searched: Searched) -> None:
    assert len(searched.nodes_of_first_driver) == 2
    new = searched.nodes_of_second_driver - searched.nodes_of_first_driver
    assert len(new) == 1


def test_no_mark_is_left_in_results_or_logs(searched: Searched) -> None:
    assert searched.left_in_logs == []


def test_data_that_a_node_does_not_see_is_copied_to_the_results(
    searched: Searched, cluster: LocalCluster
) -> None:
    assert ("copying" in searched.said_by_first_driver) == cluster.is_apart


FRACTIONS = """
import json, sys
from pathlib import Path
import ray
from search.cluster.connection import RayOptions
from search.cluster.executor import RayExecutor

address, folder = sys.argv[1:]
options = RayOptions(address, cpus=0.5, gpus=0.5)
executor = RayExecutor(options, None, None, Path(folder), print)
places = [executor._new_place() for _ in range(executor.capacity)]
ray.get([place.call for place in places])
there, free = ray.cluster_resources(), ray.available_resources()
used = {name: there[name] - free.get(name, 0) for name in ("CPU", "GPU")}
print(json.dumps({"places": len(places), "used": used}))
executor.close()
"""


def test_fractions_of_cores_and_gpus_are_asked_of_the_cluster(
    cluster: LocalCluster, searched: Searched, tmp_path: Path
) -> None:
    printed = cluster.run(FRACTIONS, cluster.address, tmp_path, env=environment())
    assert json.loads(printed) == {"places": 2, "used": {"CPU": 1.0, "GPU": 1.0}}


def test_a_comparison_on_the_cluster_equals_one_on_this_machine(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    wait_until(cluster.is_listening)
    command = [*COMMAND[:4], "compare", "shapes-convnet", "--vary", "augmentation"]
    command += ["--values", "none,flip", "--seeds", "1", "--epochs", "1"]
    command += TINY[TINY.index("--limit-train") :][:2] + TINY[TINY.index("--fix") :]
    scores = {}
    for place, options in (
        ("here", ["--workers", "0"]),
        ("there", ["--ray", cluster.address, "--gpus-per-trial", "0"]),
    ):
        folder = tmp_path / place
        folder.mkdir()
        compared = cluster.start([*command, *options], cwd=folder, env=environment())
        assert compared.wait() == 0
        (record,) = folder.glob(f"{STUDY}/comparisons/*.json")
        scores[place] = [each["score"] for each in read_json(record)["runs"]]
    assert len(scores["here"]) == 2 and scores["there"] == scores["here"]


def test_room_counts_whole_trials_on_whole_nodes() -> None:
    nodes = [Node("a", "10.0.0.1", 4, 0), Node("b", "10.0.0.2", 8, 2)]
    assert room(nodes, cpus=1, gpus=0) == 12
    assert room(nodes, cpus=3, gpus=0) == 3
    assert room(nodes, cpus=0.5, gpus=0) == 24
    assert room(nodes, cpus=1, gpus=1) == 2
    assert room(nodes, cpus=1, gpus=0.4) == 4  # two a card: a trial is on one card
    assert room(nodes, cpus=4, gpus=0.1) == 2
    assert room(nodes, cpus=16, gpus=0) == 0


def test_a_node_with_other_versions_is_refused_by_name() -> None:
    same = NodeReport("a1", "host-1 (a1)", software(), [])
    refuse_lacking({"10.0.0.1": same})
    older = same._replace(software={**software(), "keras": "3.0.0"})
    with pytest.raises(InputError, match=r"10\.0\.0\.2 has keras 3\.0\.0 where"):
        refuse_lacking({"10.0.0.1": same, "10.0.0.2": older})
    blind = same._replace(unseen=["/shared/results/x"])
    with pytest.raises(InputError, match="does not see /shared/results/x"):
        refuse_lacking({"10.0.0.1": blind})


BAD_CLUSTERS = [
    (["--ray", "127.0.0.1:1"], "a running Ray cluster at --ray 127.0.0.1:1"),
    (["--ray", "ray://127.0.0.1:1"], "Connection refused"),
    (["--ray", "nonsense"], "--ray auto, HOST:PORT or ray://HOST:PORT"),
    (["--ray", "127.0.0.1:99999"], "a running Ray cluster"),
    (["--ray", "auto", "--gpus-per-trial", "2"], "--gpus-per-trial from 0 to 1"),
    (["--ray", "auto", "--cpus-per-trial", "0"], "--cpus-per-trial above 0"),
    (["--ray", "auto", "--workers", "0"], "--workers 0"),
    (["--ray", "auto", "--trials-per-gpu", "2"], "Pass --gpus-per-trial 0.5"),
    (["--cpus-per-trial", "2"], "--ray with --cpus-per-trial"),
]


@pytest.mark.parametrize(("options", "part"), BAD_CLUSTERS)
def test_a_cluster_that_cannot_be_used_gets_one_line_and_exit_code_2(
    options: list[str],
    part: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("ray", reason="needs the extra [ray]")
    monkeypatch.chdir(tmp_path)
    assert run([*TINY, *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert part in line
    assert list(tmp_path.iterdir()) == []


def test_without_ray_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert run([*TINY, "--ray", "auto"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "pip install '.[ray]'" in line


def test_nodes_are_compared_by_the_source_that_trains() -> None:
    """A hash of no file is the same everywhere."""
    assert source_hash() != hashlib.sha256().hexdigest()[:12]


def test_an_order_for_another_node_has_no_relative_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("weights.h5").touch()
    order = Order(
        *("0000", "train", {"weights": "weights.h5"}, "data", "folder", "logs"),
        values={}, seed=0, epochs=1, length=1, soft_targets="soft_targets.npy",
    )  # fmt: skip
    sent = with_absolute_paths(order)
    paths = (sent.data_folder, sent.folder, sent.logs, sent.soft_targets)
    assert all(str(path).startswith(str(tmp_path)) for path in paths)
    assert inputs_of(sent) == [tmp_path / "weights.h5"]
