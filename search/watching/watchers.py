"""Several watchers of one search, as one."""

from collections.abc import Sequence
from typing import Protocol

from search.orders import Progress
from search.records import Trial


class Watcher(Protocol):
    """Sees a search happen."""

    def progress(self, progress: Progress) -> None:
        """An epoch ended."""

    def changed(self, trials: list[Trial]) -> None:
        """These began or ended; at first, all there are."""

    def notice(self, text: str) -> None:
        """Something happened that the user should know."""


class Watchers:
    """Tells each of several watchers, in their order."""

    def __init__(self, watchers: Sequence[Watcher]) -> None:
        self._watchers = watchers

    def progress(self, progress: Progress) -> None:
        for watcher in self._watchers:
            watcher.progress(progress)

    def changed(self, trials: list[Trial]) -> None:
        for watcher in self._watchers:
            watcher.changed(trials)

    def notice(self, text: str) -> None:
        for watcher in self._watchers:
            watcher.notice(text)
