"""A Ray cluster as the driver sees it: its address, its room, what its nodes have."""

import math
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from search.errors import InputError
from search.ray_worker import NodeReport, software
from search.shared_files import Sights

NAMESPACE = "vision-tuner"
SECONDS_TO_REACH = 10.0
SECONDS_TO_JOIN = 45.0
SECONDS_TO_CHECK = 120.0
ADDRESS = re.compile(r"auto|(ray://)?(?P<host>[^\s/:]+|\[[0-9a-f:]+\]):(?P<port>\d+)")


@dataclass(frozen=True)
class RayOptions:
    """A cluster and what one trial takes of it.

    Attributes:
        address: `auto`, HOST:PORT of the head node, or ray://HOST:PORT.
        cpus: cores a trial; a fraction lets trials share one.
        gpus: 0 to 1 GPU a trial; None = 1 where the cluster has GPUs, else 0.
    """

    address: str
    cpus: float = 1.0
    gpus: float | None = None


@dataclass(frozen=True)
class Node:
    """A living node and its resources in all."""

    node_id: str
    address: str
    cpus: float
    gpus: float


def chosen_cluster(
    address: str | None,
    cpus: float | None,
    gpus: float | None,
    workers: int | None,
    trials_per_gpu: int = 1,
) -> RayOptions | None:
    """Return the cluster a command line asks for; None where it asks for none.

    Raises:
        InputError: options contradict each other.
    """
    if address is None:
        if cpus is not None or gpus is not None:
            raise InputError(
                "--ray with --cpus-per-trial and --gpus-per-trial",
                "no --ray",
                "On this machine --workers divides the cores",
            )
        return None
    if workers == 0:
        raise InputError(
            "--ray, or --workers 0 to train in this process", "both", "Choose one"
        )
    if trials_per_gpu != 1:
        raise InputError(
            "--gpus-per-trial with --ray",
            f"--trials-per-gpu {trials_per_gpu}",
            f"Pass --gpus-per-trial {1 / trials_per_gpu:.3g}",
        )
    return RayOptions(address, 1.0 if cpus is None else cpus, gpus)


def check_options(options: RayOptions) -> None:
    """Raise InputError where the numbers make no sense."""
    if options.cpus <= 0:
        raise InputError(
            "--cpus-per-trial above 0", options.cpus, "A fraction shares a core"
        )
    if options.gpus is not None and not 0 <= options.gpus <= 1:
        raise InputError(
            "--gpus-per-trial from 0 to 1",
            options.gpus,
            "A trial trains on one GPU; a fraction shares it",
        )


def import_ray() -> Any:
    """Import Ray.

    Raises:
        InputError: it is not installed.
    """
    try:
        import ray
    except ImportError:
        raise InputError(
            "Ray, to search on a cluster",
            "an installation without it",
            "Run `pip install 'vision-tuner[ray]'`, here and on every node",
        ) from None
    return ray


def connect(options: RayOptions) -> None:
    """Connect this process to a running cluster, once.

    Raises:
        InputError: Ray is not installed, nothing answers within some seconds, or what
            answers is not a cluster this process can join.
    """
    check_options(options)
    ray = import_ray()
    if ray.is_initialized():
        return
    reach(options.address)
    try:
        ray.init(
            address=options.address,
            namespace=NAMESPACE,
            log_to_driver=False,
            logging_level="ERROR",
        )
    except (ConnectionError, RuntimeError, ValueError, SystemExit) as error:
        raise unreachable(options.address, first_line(error)) from error


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


def disconnect() -> None:
    """Leave the cluster, where `connect` joined it."""
    ray = import_ray()
    if ray.is_initialized() and ray.get_runtime_context().namespace == NAMESPACE:
        ray.shutdown()


def reach(address: str) -> None:
    """Raise InputError where no cluster that can be joined answers at `address`."""
    if not ADDRESS.fullmatch(address):
        raise InputError(
            "--ray auto, HOST:PORT or ray://HOST:PORT",
            repr(address),
            "The head node prints its address when it starts",
        )
    match = ADDRESS.fullmatch(address)
    if match is not None and match["host"] is not None:
        place = match["host"].strip("[]"), int(match["port"])
        try:
            socket.create_connection(place, SECONDS_TO_REACH).close()
        except (OSError, OverflowError) as error:
            raise unreachable(address, first_line(error)) from error
    try_to_join(address)


def try_to_join(address: str) -> None:
    """Raise InputError where a process of its own cannot join within some seconds.

    Where no cluster answers, Ray tries for minutes and then ends the process.
    """
    code = (
        "import ray, sys;"
        "ray.init(sys.argv[1], log_to_driver=False, logging_level='ERROR')"
    )
    command = [sys.executable, "-P", "-c", code, address]
    try:
        subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            timeout=SECONDS_TO_JOIN,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        why = f"no answer in {SECONDS_TO_JOIN:g} seconds"
        raise unreachable(address, why) from None
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if line.strip()]
        why = lines[-1] if lines else f"exit status {error.returncode}"
        raise unreachable(address, why.partition("Error: ")[2] or why) from None


def unreachable(address: str, why: str) -> InputError:
    """Return the error of a cluster that cannot be joined."""
    return InputError(
        f"a running Ray cluster at --ray {address}",
        why,
        "Start one with `ray start --head`; run this on one of its nodes, or use"
        " ray://HOST:10001 from elsewhere",
    )


def first_line(error: BaseException) -> str:
    """Return the first line of a message, or the class where there is none."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


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
            from search.ray_worker import report_node
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
