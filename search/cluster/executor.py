"""Where orders run: on the nodes of a Ray cluster.

Each place is an actor that holds one worker process (`search.cluster.worker`). Actors
are asked for news in short calls, so that silence is a sign; their death gives the
order, with a new lease, to another place, which goes on from the last epoch on the
shared storage.
How many places there are is asked anew every few seconds: nodes may come and go.
"""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from search.cluster.connection import (
    RayOptions,
    connect,
    disconnect,
    import_ray,
)
from search.cluster.nodes import (
    Node,
    ask_nodes,
    gpus_per_trial,
    lacks,
    living_nodes,
    no_room,
    refuse_lacking,
    room,
    room_on,
)
from search.cluster.remote_places import RemotePlace
from search.cluster.shared_files import (
    Sights,
    bytes_in,
    copied_data,
    glimpses,
    inputs_of,
    leave_marks,
    with_absolute_paths,
)
from search.cluster.worker import NodeReport, NodeWorker
from search.errors import first_line
from search.machine.room import NO_ROOM
from search.orders import Order, Outcome, Progress, Report, from_line, to_line
from search.training.failures import KILLED, with_progress
from search.training.leases import leased

POLL_SECONDS = 0.5
SECONDS_BETWEEN_LOOKS = 2.0
# A place answers every 2 seconds; a loaded machine may take longer.
SILENCE_ALLOWED_SECONDS = 120.0
# Ray starts an actor in seconds where there is room for it.
SECONDS_TO_OPEN = 60.0
# A place without an order holds its cores, and its node where an autoscaler works.
IDLE_KEPT_SECONDS = 60.0
# Of an order, without an epoch finished in between.
LOSSES_ALLOWED = 4
FAILED_STARTS_ALLOWED = 4
# What decides scores and is not in the order.
ENVIRONMENT = ("KERAS_BACKEND",)


class RayExecutor:
    """Runs orders as actors of a cluster; see `Executor`.

    Args:
        most: places to ask for, there or not (an autoscaler adds nodes for what is
            asked for); None = as many as the cluster holds.
        memory: bytes a worker may hold; None = a share of its node.
        logs: folder for what workers print, on storage every node sees.
        say: told in one line what happens to nodes.

    Raises:
        InputError: the cluster cannot be reached, or no trial fits on any node.
    """

    def __init__(
        self,
        options: RayOptions,
        most: int | None,
        memory: int | None,
        logs: Path,
        say: Callable[[str], None],
    ) -> None:
        connect(options)
        self._nodes = living_nodes()
        self._looked = time.monotonic()
        self._cpus, self._gpus = options.cpus, gpus_per_trial(options, self._nodes)
        self._most, self._memory = most, memory
        self._logs = logs.absolute()
        self._say = say
        self._places: list[RemotePlace] = []
        self._waiting: list[Order] = []
        self._refused: set[str] = set()
        self._losses: dict[str, int] = {}
        self._sights: Sights = {}
        self._marks: list[Path] = []
        self._data_folders: dict[str, str] = {}
        self._made = self._failed_starts = 0
        self._stopped = self._is_told = False
        if most is None and not room(self._nodes, self._cpus, self._gpus):
            raise no_room(self._nodes, self._cpus, self._gpus)

    @property
    def capacity(self) -> int:
        if self._most is not None:
            return self._most
        return max(1, room(self._usable_nodes(), self._cpus, self._gpus))

    def submit(self, order: Order) -> None:
        order = with_absolute_paths(order)
        order = replace(order, data_folder=self._data_seen_by_nodes(order))
        self._losses[order.order_id] = 0
        self._waiting.append(order)

    def wait(self, report: Report) -> Outcome | None:
        if self._stopped:
            self._pass_on_stop()
        if self._stopped and self._waiting:
            order = self._waiting.pop()
            return with_progress(Outcome(order.order_id, "PAUSED"), order)
        if time.monotonic() >= self._looked + SECONDS_BETWEEN_LOOKS:
            self._look()
        self._release_idle()
        self._hand_over()
        self._open_places()
        self._tell_of_waiting()
        calls = {p.call: p for p in self._places if p.call is not None}
        if not calls:
            time.sleep(POLL_SECONDS)
            return None
        ray = import_ray()
        late = {
            call: place
            for call, place in calls.items()
            if place.node and place.idle() > SILENCE_ALLOWED_SECONDS
        }
        if late:  # its answer may only not have been listened to
            answered, _ = ray.wait(
                list(late), num_returns=len(late), timeout=POLL_SECONDS
            )
            for call, place in late.items():
                if call not in answered:
                    return self._bury(place, "silent")
        ready, _ = ray.wait(list(calls), timeout=POLL_SECONDS)
        return self._hear(calls[ready[0]], report) if ready else None

    def stop(self) -> None:
        self._stopped = True  # passed on by `wait`: this may be a signal handler

    def close(self) -> None:
        for place in self._places:
            place.end()
        self._places.clear()
        self._waiting.clear()
        for mark in self._marks:
            mark.unlink(missing_ok=True)
        disconnect()

    def _look(self) -> None:
        """See which nodes there are now; new ones that lack something are left out."""
        known = {node.node_id for node in self._nodes}
        self._nodes = living_nodes()
        unknown = [node for node in self._nodes if node.node_id not in known]
        new = [node for node in unknown if room_on(node, self._cpus, self._gpus)]
        reports = ask_nodes(new, self._sights)
        for node, report in zip(new, reports.values(), strict=True):
            self._refuse_lacking(node.node_id, node.address, report)
        self._looked = time.monotonic()

    def _refuse_lacking(
        self, node_id: str, name: str, report: NodeReport | str
    ) -> str | None:
        """Use a node no more where it lacks something; return what it lacks."""
        lack = lacks(report)
        if lack is not None and node_id not in self._refused:
            self._refused.add(node_id)
            self._say(f"node {name} is not used: it {lack}")
        return lack

    def _usable_nodes(self) -> list[Node]:
        return [node for node in self._nodes if node.node_id not in self._refused]

    def _data_seen_by_nodes(self, order: Order) -> str:
        """Return a folder with the order's data that every node sees.

        Raises:
            InputError: a node cannot run this search, or does not see its folders.
        """
        if order.data_folder in self._data_folders:
            return self._data_folders[order.data_folder]
        nodes = [n for n in self._nodes if room_on(n, self._cpus, self._gpus)]
        self._marks += leave_marks(order)
        seen = glimpses([*self._marks, *inputs_of(order)])
        refuse_lacking(ask_nodes(nodes, seen))
        folder = Path(order.data_folder)
        arrays = glimpses(sorted(folder.iterdir()))
        if any(lacks(report) for report in ask_nodes(nodes, arrays).values()):
            shared = self._logs.parent / "data"
            size = f"{bytes_in(folder) / 1e6:.0f} MB"
            self._say(f"Nodes do not see {folder}: copying {size} to {shared}")
            folder = copied_data(folder, shared)
            arrays = glimpses(sorted(folder.iterdir()))
            refuse_lacking(ask_nodes(nodes, arrays))
        self._sights = {**self._sights, **seen, **arrays}
        self._data_folders[order.data_folder] = str(folder)
        return str(folder)

    def _pass_on_stop(self) -> None:
        for place in self._places:
            if place.order is not None and not place.is_told_to_stop:
                place.is_told_to_stop = True
                place.actor.stop.remote()

    def _hand_over(self) -> None:
        """Give waiting orders to places that have none."""
        for place in self._places:
            if self._waiting and place.call is None:
                try:
                    place.order = leased(self._waiting[0])
                except OSError as error:
                    if error.errno not in NO_ROOM:
                        raise
                    self._say(f"waiting for room: {error.strerror}")
                    return
                self._waiting.pop(0)
                place.is_told_to_stop = False
                place.call = place.actor.begin.remote(to_line(place.order))
                place.heard = time.monotonic()

    def _open_places(self) -> None:
        """Ask Ray for as many places as there are orders to hand over, and room."""
        opening = sum(not place.node for place in self._places)
        free = self.capacity - len(self._places)
        for _ in range(min(len(self._waiting) - opening, free)):
            self._places.append(self._new_place())

    def _tell_of_waiting(self) -> None:
        """Say once what Ray is asked for where it gives none of it."""
        if any(place.node for place in self._places):
            self._is_told = False
        elif self._places and not self._is_told:
            self._is_told = self._places[0].idle() > SECONDS_TO_OPEN
            if self._is_told:
                gpus = f" and --gpus-per-trial {self._gpus:g}" if self._gpus else ""
                self._say(
                    f"Ray has started no worker for {SECONDS_TO_OPEN:.0f} s; asked for:"
                    f" --cpus-per-trial {self._cpus:g}{gpus}"
                )

    def _new_place(self) -> RemotePlace:
        number, self._made = self._made, self._made + 1
        refused = ",".join(sorted(self._refused))
        actor = (
            import_ray()
            .remote(NodeWorker)
            .options(
                num_cpus=self._cpus,
                num_gpus=self._gpus,
                max_restarts=0,
                max_task_retries=0,
                label_selector={"ray.io/node-id": f"!in({refused})"} if refused else {},
            )
            .remote(
                number,
                str(self._logs),
                self._cpus,
                self._gpus,
                self._memory,
                {name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
            )
        )
        hello = actor.hello.remote(self._sights)
        return RemotePlace(number, actor, hello, time.monotonic())

    def _hear(self, place: RemotePlace, report: Report) -> Outcome | None:
        """Take a place's answer."""
        ray = import_ray()
        try:
            answer = ray.get(place.call)
        except ray.exceptions.RayError as error:
            return self._bury(place, first_line(getattr(error, "cause", None) or error))
        place.heard, place.call = time.monotonic(), None
        if not place.node:
            self._welcome(place, answer)
            return None
        for note in answer.notes:
            self._say(f"{place.node}: {note}")
        outcome = None
        for message in map(from_line, answer.lines):
            if isinstance(message, Progress):
                self._losses[message.order_id] = 0
                report(message)
            elif isinstance(message, Outcome):
                outcome, place.order = message, None
        if outcome is None:
            place.call = place.actor.wait.remote()
        return outcome

    def _welcome(self, place: RemotePlace, report: NodeReport) -> None:
        """Use a new place, unless its node lacks what a trial needs."""
        place.node = report.node
        lack = self._refuse_lacking(report.node_id, report.node, report)
        if lack is None:
            self._failed_starts = 0
        else:
            self._bury(place, lack)

    def _bury(self, place: RemotePlace, why: str) -> Outcome | None:
        """Give up a place; its order goes on elsewhere or has failed."""
        self._places.remove(place)
        place.end()
        order = place.order
        if order is None:
            self._note_failed_start(place, why)
            return None
        self._losses[order.order_id] += 1
        if self._losses[order.order_id] >= LOSSES_ALLOWED:
            message = (
                f"lost {LOSSES_ALLOWED} times without finishing an epoch; the last time"
                f" on {place.node}: {why}"
            )
            failed = Outcome(order.order_id, "FAILED", message, KILLED)
            return with_progress(failed, order)
        self._say(
            f"node {place.node} was lost:"
            f" trial {order.order_id} goes on from its last epoch"
        )
        self._waiting.insert(0, order)
        return None

    def _note_failed_start(self, place: RemotePlace, why: str) -> None:
        self._failed_starts += not place.node
        if self._failed_starts >= FAILED_STARTS_ALLOWED:
            raise RuntimeError(f"No worker starts on the cluster: {why}")

    def _release_idle(self) -> None:
        """Give back places that have nothing to do."""
        for place in [p for p in self._places if p.call is None]:
            if place.idle() > IDLE_KEPT_SECONDS and not self._waiting:
                self._places.remove(place)
                place.end()
