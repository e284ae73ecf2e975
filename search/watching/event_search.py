"""The run `search` of TensorBoard: how the search as a whole goes."""

from collections.abc import Callable
from contextlib import suppress

from search.orders import Progress
from search.paths import StudyPaths
from search.records import Direction, Trial
from search.watching.event_layout import layout_summary
from search.watching.events import EventFile
from search.watching.tally import Tally

RUN = "search"
# A run of its own: what a killed search wrote is forgotten by step, seconds here.
SECONDS_RUN = "search_by_seconds"
# What a worker leaves beside its checkpoints: the network as TensorBoard draws it.
GRAPH = "graph.pb"
OPEN_STATES = ("RUNNING", "WAITING")


class SearchEvents:
    """Writes the best score so far against epochs and seconds, and the best network.

    A `Watcher` of the driver; a full disk costs it points, not the search.

    Args:
        spent: returns the wall time of the search so far, in seconds.
    """

    def __init__(
        self,
        paths: StudyPaths,
        objective: str,
        direction: Direction,
        spent: Callable[[], float],
    ) -> None:
        self._paths = paths
        self._objective = objective
        self._direction = direction
        self._spent = spent
        self._tally = Tally(direction)
        self._scores: dict[str, float] = {}  # of trials that did not fail
        self._best: float | None = None
        self._files: dict[str, EventFile] = {}
        self._graph_of: str | None = None
        self._lacks_layout = False

    def progress(self, progress: Progress) -> None:
        """Write a point for a finished epoch."""
        self._tally.progress(progress)
        score = progress.logs.get(self._objective)
        if score is not None:
            self._reached(progress.order_id, score)
        self._try(self._write_best)

    def changed(self, trials: list[Trial]) -> None:
        """Write how many trials ended how, and the graph of a new best one.

        What a trial had reached before it failed is no result: the best so far is that
        of the others.
        """
        news = self._tally.changed(trials)
        for trial in news:
            if trial.state != "FAILED" and trial.score is not None:
                self._reached(trial.trial_id, trial.score)
        lost = {self._lost(trial) for trial in news if trial.state == "FAILED"}
        if True in lost:
            self._try(self._write_best)
        if trials:
            self._try(lambda: self._write_trials(self._tally.best))

    def notice(self, text: str) -> None:
        """Write nothing."""

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()

    def _reached(self, trial_id: str, score: float) -> None:
        own = self._scores.get(trial_id, score)
        self._scores[trial_id] = self._better(own, score)
        self._best = self._better(score if self._best is None else self._best, score)

    def _lost(self, trial: Trial) -> bool:
        """Forget the score of a trial; return whether it was the best."""
        lost = self._scores.pop(trial.trial_id, None)
        if lost is None or lost != self._best:
            return False
        better = max if self._direction == "max" else min
        self._best = better(self._scores.values(), default=None)
        return True

    def _better(self, first: float, second: float) -> float:
        return (max if self._direction == "max" else min)(first, second)

    def _write_best(self) -> None:
        name = f"best_{self._objective}"
        epochs, seconds = self._tally.epochs, round(self._spent())
        self._opened(RUN, epochs).scalars(epochs, {f"search/{name}": self._best})
        self._opened(SECONDS_RUN, seconds).scalars(
            seconds, {f"search_by_seconds/{name}": self._best}
        )

    def _write_trials(self, best: Trial | None) -> None:
        states, epochs = self._tally.states, self._tally.epochs
        ended = states.total() - sum(states[state] for state in OPEN_STATES)
        counts = {
            "search/trials_ended": ended,
            "search/trials_failed": states["FAILED"],
            "search/trials_infeasible": states["INFEASIBLE"],
        }
        file = self._opened(RUN, epochs + 1)
        file.scalars(epochs, {name: float(count) for name, count in counts.items()})
        if best is not None and best.trial_id != self._graph_of:
            graph = self._paths.trial(best.trial_id) / GRAPH
            if graph.exists():
                file.graph(graph.read_bytes())
                self._graph_of = best.trial_id

    def _opened(self, run: str, first_step: int) -> EventFile:
        if run not in self._files:
            folder = self._paths.logs / run
            self._lacks_layout |= run == RUN and not folder.exists()
            self._files[run] = EventFile(folder, first_step)
            if self._lacks_layout and run == RUN:
                self._files[run].summary(0, layout_summary())
                self._lacks_layout = False
        return self._files[run]

    def _try(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError:  # a full disk, say: the next point begins another file
            for file in self._files.values():
                with suppress(OSError):
                    file.close()
            self._files.clear()
