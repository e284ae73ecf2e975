"""The nodes of a Ray cluster: their room, and whether they have what a trial needs."""

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from search.cluster.connection import RayOptions, connect, import_ray
from search.cluster.shared_files import Sights
from search.cluster.worker import BACKEND, NodeReport, software
from search.errors import InputError, first_line

SECONDS_TO_CHECK = 120.0


@dataclass(frozen=True)
class Node:
    """A living node and its resources in all."""

    node_id: str
    address: str
    cpus: float
    gpus: float


def living_nodes() -> list[Node]:
    """Return the nodes that are alive now."""
    ray = import_ray()
    return [
        Node(
            str(node["NodeID"]),
            str(node["NodeManagerAddress"]),
            float(node["Resources"].get("CPU", 0)),
            float(node["Resources"].get("GPU", 0)),
        )
        for node in ray.nodes()
        if node["Alive"]
    ]


def gpus_per_trial(options: RayOptions, nodes: Iterable[Node]) -> float:
    """Return the share of a GPU a trial takes: the user's, or 1 where there are any."""
    if options.gpus is not None:
        return options.gpus
    return 1.0 if any(node.gpus >= 1 for node in nodes) else 0.0


def room_on(node: Node, cpus: float, gpus: float) -> int:
    """Return how many trials a node holds at once; a trial's GPU is one card."""
    by_cpu = math.floor(node.cpus / cpus + 1e-6)
    if gpus == 0:
        return by_cpu
    return min(by_cpu, int(node.gpus) * math.floor(1 / gpus + 1e-6))


def room(nodes: Iterable[Node], cpus: float, gpus: float) -> int:
    """Return how many trials a cluster holds at once."""
    return sum(room_on(node, cpus, gpus) for node in nodes)


def no_room(nodes: Sequence[Node], cpus: float, gpus: float) -> InputError:
    """Return the error of a cluster in which no trial fits."""
    have = ", ".join(f"{n.address}: {n.cpus:g} CPUs, {n.gpus:g} GPUs" for n in nodes)
    return InputError(
        f"a node with {cpus:g} CPUs and {gpus:g} GPUs for a trial",
        have or "no nodes",
        "Lower --cpus-per-trial or --gpus-per-trial, add a node, or pass --workers N"
        " to wait for N places an autoscaler adds",
    )


def gpus_in(options: RayOptions) -> float:
    """Connect to a cluster and return the share of a GPU a trial gets there.

    Raises:
        InputError: as `connect`.
    """
    connect(options)
    return gpus_per_trial(options, living_nodes())


def places_in(options: RayOptions) -> int:
    """Connect to a cluster and return how many trials it holds at once, at least 1.

    Raises:
        InputError: as `connect`.
    """
    connect(options)
    nodes = living_nodes()
    return max(1, room(nodes, options.cpus, gpus_per_trial(options, nodes)))


def ask_nodes(nodes: Iterable[Node], sights: Sights) -> dict[str, NodeReport | str]:
    """Ask every node what it has of what this process sees.

    Returns:
        address of the node -> its report, or why there is none.
    """
    ray = import_ray()
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ask = ray.remote(make_question())
    asked = {
        f"{node.address} ({node.node_id[:8]})": ask.options(
            num_cpus=0,
            max_retries=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(
                node.node_id, soft=False
            ),
        ).remote(dict(sights))
        for node in nodes
    }
    if not asked:
        return {}
    ray.wait(list(asked.values()), num_returns=len(asked), timeout=SECONDS_TO_CHECK)
    reports: dict[str, NodeReport | str] = {}
    for node_name, answer in asked.items():
        try:
            reports[node_name] = ray.get(answer, timeout=0)
        except (ray.exceptions.RayError, TimeoutError) as error:
            reports[node_name] = f"does not answer ({first_line(error)})"
    return reports


def make_question() -> Callable[[Sights], "NodeReport | str"]:
    """Return the function that runs on a node that may not have this package.

    Made here, in a function, it travels as code and not by its name.
    """

    def question(sights: Sights) -> Any:
        try:
            from search.cluster.worker import report_node
        except ImportError as error:
            return f"has not this vision-tuner ({error})"
        return report_node(sights)

    return question


def lacks(report: NodeReport | str) -> str | None:
    """Return what a node lacks, as words after its name; None where nothing."""
    if isinstance(report, str):
        return report
    here = software()
    for name, version in here.items():
        if name == BACKEND and os.environ.get("KERAS_BACKEND"):
            continue  # every worker is given it, whoever answers here was not
        if report.software.get(name) != version:
            there = report.software.get(name)
            return f"has {name} {there} where the driver has {version}"
    if report.unseen:
        return f"does not see {report.unseen[0]} as the driver does"
    return None


def refuse_lacking(reports: Mapping[str, NodeReport | str]) -> None:
    """Raise InputError naming the first node that cannot run this search."""
    for node, report in reports.items():
        lack = lacks(report)
        if lack is not None:
            raise InputError(
                "the same vision-tuner and the same results folder on every node",
                f"node {node} {lack}",
                "Install the same versions everywhere, and keep --results-dir,"
                " --logs-dir and a --weights file on storage that all nodes mount at"
                " the same path",
            )
