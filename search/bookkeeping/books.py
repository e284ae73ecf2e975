"""The books of a search: the driver's state at once, trials.json soon after."""

from collections.abc import Callable, Mapping

from search.bookkeeping.journal import Knowledge, StateFiles
from search.bookkeeping.trials_file import TrialsFile
from search.machine.room import when_there_is_room
from search.paths import StudyPaths
from search.records import Trial


class Books:
    """Writes what a driver knows; waits where the disk is full.

    Args:
        say: told what is waited for.
        is_stopped: returns True to give up waiting.
    """

    def __init__(
        self,
        paths: StudyPaths,
        say: Callable[[str], None],
        is_stopped: Callable[[], bool],
    ) -> None:
        self._folder = paths.folder
        self._state = StateFiles(paths)
        self._trials = TrialsFile(paths.trials)
        self._say = say
        self._is_stopped = is_stopped

    def save(self, knowledge: Knowledge) -> None:
        """Bring all that is new to disk.

        Raises:
            StorageError: it cannot be written.
        """
        self.write(lambda: self._state.save(knowledge))
        self._trials.is_behind = True
        self.catch_up(knowledge.trials)

    def catch_up(self, trials: Mapping[str, Trial]) -> None:
        """Write trials.json where its turn has come."""
        if self._trials.is_due():
            self.write(lambda: self._trials.write(trials.values()))

    def close(self, knowledge: Knowledge) -> None:
        """Leave one snapshot, no journal, and all trials in trials.json."""
        self.write(lambda: self._state.write_snapshot(knowledge))
        self.write(lambda: self._trials.write(knowledge.trials.values()))

    def write(self, what: Callable[[], object]) -> None:
        """Write something; wait where the disk is full."""
        when_there_is_room(what, self._folder, self._say, self._is_stopped)
