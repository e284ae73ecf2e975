"""The file trials.json while a search runs: whole at any time, and never far behind.

It holds all trials, so to write it costs more the more there are. It is written at once
where the last writing took less than a twentieth of the time since; with trials of
seconds that is always. What is put off, `catch_up` writes. The driver does not rely on
it: its own state is on disk before (`search.bookkeeping.journal`).
"""

import json
import time
from collections.abc import Iterable
from pathlib import Path

from search.files import write_text
from search.records import Trial

LARGEST_SHARE = 0.05


class TrialsFile:
    """Writes trials.json; what has not changed is not made into JSON again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._texts: dict[str, tuple[Trial, str]] = {}
        self._free_from = time.monotonic()
        self.is_behind = True

    def is_due(self) -> bool:
        """Return whether there is something to write and now is the time."""
        return self.is_behind and time.monotonic() >= self._free_from

    def write(self, trials: Iterable[Trial]) -> None:
        """Write all trials.

        Raises:
            OSError: it cannot be written; the old file is as it was.
        """
        began = time.monotonic()
        texts = ",\n ".join(self._text(trial) for trial in trials)
        write_text(self._path, f"[\n {texts}\n]\n" if texts else "[]\n")
        ended = time.monotonic()
        self._free_from = ended + (ended - began) / LARGEST_SHARE
        self.is_behind = False

    def _text(self, trial: Trial) -> str:
        known = self._texts.get(trial.trial_id)
        if known is None or known[0] is not trial:
            text = json.dumps(
                vars(trial), indent=1, allow_nan=False, ensure_ascii=False
            )
            known = (trial, text.replace("\n", "\n "))
            self._texts[trial.trial_id] = known
        return known[1]
