"""The runs of a schedule, kept so that a decision need not look at all of them."""

from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

Standing = Literal["RUNNING", "COMPLETED", "FAILED", "INFEASIBLE"]
Place = tuple[float, str]


@dataclass(frozen=True)
class Run:
    """One configuration at one rung; INFEASIBLE ones were never trained."""

    run_id: str
    bracket: int
    rung: int
    parent: str | None
    state: Standing
    score: float | None = None

    @property
    def place(self) -> Place:
        """Return what runs of a rung are sorted by, the best first."""
        return -(self.score or 0.0), self.run_id


@dataclass
class Rung:
    """The runs at one rung of a bracket.

    Attributes:
        started: in all.
        running: their ids.
        finished: completed ones, best first.
        waiting: those of them not promoted, best first.
        lost: ids of runs that failed here or after their promotion.
        infeasible: number of runs that were never trained.
        sound: number of runs that have not failed here.
    """

    started: int = 0
    running: set[str] = field(default_factory=set)
    finished: list[Place] = field(default_factory=list)
    waiting: list[Place] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)
    infeasible: int = 0
    sound: int = 0

    @property
    def alive(self) -> int:
        """Return how many are running or completed, here or above."""
        return self.started - len(self.lost)

    @property
    def going_on(self) -> int:
        """Return how many of those that finished went on and have not been lost."""
        return self.alive - len(self.running) - len(self.waiting)

    def with_score(self, place: float) -> list[str]:
        """Return the ids of those that finished with exactly this place."""
        first = bisect_left(self.finished, (place, ""))
        found = []
        for other, run_id in self.finished[first:]:
            if other != place:
                break
            found.append(run_id)
        return found

    def better_than(self, place: Place) -> int:
        """Return how many finished with a better score and have not been lost."""
        better = self.finished[: bisect_left(self.finished, (place[0], ""))]
        if not self.lost:
            return len(better)
        return sum(run_id not in self.lost for _, run_id in better)


class Ledger:
    """Every run by bracket and rung; a run is recorded when it starts and ends."""

    def __init__(self, runs: Iterable[Run] = ()) -> None:
        self.runs: dict[str, Run] = {}
        self.rungs: dict[tuple[int, int], Rung] = {}
        # runs that a completed one continued
        self.continued: set[str] = set()
        for run in runs:
            self.record(run)

    def at(self, bracket: int, rung: int) -> Rung:
        """Return the rung, empty where nothing has started."""
        if (bracket, rung) not in self.rungs:
            self.rungs[bracket, rung] = Rung()
        return self.rungs[bracket, rung]

    def record(self, run: Run) -> None:
        """Take in a run that has started, or what has become of it."""
        rung = self.at(run.bracket, run.rung)
        if run.run_id not in self.runs:
            self.start(run, rung)
        self.runs[run.run_id] = run
        if run.state == "RUNNING":
            return
        rung.running.discard(run.run_id)
        if run.state == "COMPLETED":
            insort(rung.finished, run.place)
            insort(rung.waiting, run.place)
            if run.parent is not None:
                self.continued.add(run.parent)
        else:
            rung.infeasible += run.state == "INFEASIBLE"
            rung.sound -= 1
            self.lose(run)

    def start(self, run: Run, rung: Rung) -> None:
        """Count a run in; the one it continues waits no longer."""
        rung.started += 1
        rung.sound += 1
        rung.running.add(run.run_id)
        if run.parent is not None:
            parent = self.runs[run.parent]
            self.at(parent.bracket, parent.rung).waiting.remove(parent.place)

    def lose(self, run: Run | None) -> None:
        """Count a run as lost, and those it continued."""
        while run is not None:
            self.at(run.bracket, run.rung).lost.add(run.run_id)
            run = None if run.parent is None else self.runs[run.parent]

    @property
    def is_running(self) -> bool:
        """Return whether anything runs."""
        return any(rung.running for rung in self.rungs.values())
