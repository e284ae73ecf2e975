"""The driver's state on disk; to write a change costs what changed, not the whole.

Two copies of a snapshot, and a journal: one line for each change since then, with its
number and a checksum, on disk before the driver goes on. A snapshot is written when the
journal has grown as long as the last one, so that a trial costs the same after ten as
after thousands of others. A line names the snapshot it follows; so a kill between any
two writes leaves a snapshot and all the lines that belong to it.
"""

import hashlib
import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import compress, filterfalse
from operator import is_not
from typing import Any

from search.files import append_record, sealed, write_text
from search.paths import StudyPaths
from search.records import Trial

Change = dict[str, Any]
# Of keras-tuner's oracle, what grows by an entry a trial; all else stays small.
GROWING = ("start_order", "end_order", "run_times", "id_to_hash", "tried_so_far")
ENDED = ("COMPLETED", "FAILED", "INVALID")
SMALLEST_JOURNAL = 256 * 1024


@dataclass(frozen=True)
class Knowledge:
    """All a driver knows.

    Attributes:
        oracle: the tuner's own state, plain values.
        asked: keras-tuner's trials, by its ids.
        roots: keras-tuner's id -> trial id; the rungs of a trial share one.
        trials: trial id -> record.
        seconds: wall time spent so far.
    """

    oracle: Mapping[str, Any]
    asked: Mapping[str, Any]
    roots: Mapping[str, str]
    trials: Mapping[str, Trial]
    seconds: float


@dataclass(frozen=True)
class Written:
    """What the files hold, as far as it takes to tell what has changed.

    Attributes:
        texts: key of the oracle's state -> JSON, of those that do not grow.
        growing: copies of those that do.
        ended: ids of keras-tuner's trials that will not change any more.
        asked: id -> JSON, of the others.
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    growing: Mapping[str, Any] = field(default_factory=dict)
    ended: frozenset[str] = frozenset()
    asked: Mapping[str, str] = field(default_factory=dict)
    roots: Mapping[str, str] = field(default_factory=dict)
    trials: list[Trial] = field(default_factory=list)


class StateFiles:
    """Writes the state of one driver, whose first snapshot begins a new journal."""

    def __init__(self, paths: StudyPaths) -> None:
        self._paths = paths
        self._written = Written()
        self._snapshot = ""  # name of the one that the journal follows
        self._snapshot_bytes = 0
        self._journal_bytes = 0
        self._lines = 0

    def save(self, knowledge: Knowledge) -> None:
        """Bring what has changed to disk.

        Raises:
            OSError: it cannot be written; the same call may be tried again.
        """
        full = self._journal_bytes > max(SMALLEST_JOURNAL, self._snapshot_bytes)
        if full or not self._snapshot:
            self.write_snapshot(knowledge)
            return
        change, written = difference(self._written, knowledge)
        order = {"follows": self._snapshot, "number": self._lines + 1}
        line = line_of(order | change)
        append_record(self._paths.journal, line)
        self._lines += 1
        self._journal_bytes += len(line)
        self._written = written

    def write_snapshot(self, knowledge: Knowledge) -> None:
        """Write all there is to know, twice, and begin a new journal.

        Raises:
            OSError: as of `save`.
        """
        content, written = difference(Written(), knowledge)
        name = uuid.uuid4().hex
        text = json.dumps(sealed(content | {"snapshot": name}), ensure_ascii=False)
        write_text(self._paths.oracle, text)
        write_text(self._paths.oracle_copy, text)
        self._paths.journal.unlink(missing_ok=True)
        self._journal_bytes = self._lines = 0
        self._snapshot, self._snapshot_bytes = name, len(text)
        self._written = written


def difference(before: Written, now: Knowledge) -> tuple[Change, Written]:
    """Return what has changed, as plain values, and what is written with it."""
    growing = {key: now.oracle[key] for key in GROWING if key in now.oracle}
    others = {k: v for k, v in now.oracle.items() if k not in growing}
    grown = {k: additions(before.growing.get(k), v) for k, v in growing.items()}
    # What has not only grown is written anew.
    others |= {key: growing[key] for key, new in grown.items() if new is None}
    grown = {key: new for key, new in grown.items() if new is not None}
    texts = {key: plain(value) for key, value in others.items()}
    states = {
        key: asked_state(now.asked[key])
        for key in filterfalse(before.ended.__contains__, now.asked)
    }
    asked = {key: plain(state) for key, state in states.items()}
    ended = {key for key, state in states.items() if state["status"] in ENDED}
    trials, new_roots = list(now.trials.values()), additions(before.roots, now.roots)
    change = {
        "oracle": {k: others[k] for k in texts if texts[k] != before.texts.get(k)},
        "grown": {k: v for k, v in grown.items() if v or before.growing.get(k) is None},
        "asked": {k: states[k] for k in asked if asked[k] != before.asked.get(k)},
        "roots": now.roots if new_roots is None else new_roots,
        "trials": [vars(trial) for trial in news(before.trials, trials)],
        "seconds": now.seconds,
    }
    return change, Written(
        texts=texts,
        growing={key: value.copy() for key, value in growing.items()},
        ended=before.ended | ended if ended else before.ended,
        asked=asked,
        roots=dict(now.roots),
        trials=trials,
    )


def asked_state(trial: Any) -> Change:
    """Return the state of a trial of keras-tuner but the space, which all share."""
    return {
        "trial_id": trial.trial_id,
        "hyperparameters": {"values": trial.hyperparameters.values},
        "metrics": trial.metrics.get_config(),
        "score": trial.score,
        "best_step": trial.best_step,
        "status": trial.status,
        "message": trial.message,
    }


def additions(before: Any, now: Any) -> Any:
    """Return what a list or dict has more than before, None where that is not all."""
    if before is None:
        return now
    known = len(before)
    if isinstance(now, list):
        return now[known:] if now[:known] == before else None
    keys, values = list(now), list(now.values())
    is_grown = keys[:known] == list(before) and values[:known] == list(before.values())
    return dict(zip(keys[known:], values[known:], strict=True)) if is_grown else None


def news(before: list[Trial], now: list[Trial]) -> list[Trial]:
    """Return the trials that are not the same objects in the same places."""
    return [*compress(now, map(is_not, before, now)), *now[len(before) :]]


def applied(state: Change, change: Change) -> Change:
    """Return the state after a change; of an empty state, what a snapshot holds."""
    oracle = state.get("oracle", {}) | change["oracle"]
    for key, new in change.get("grown", {}).items():
        known = oracle.get(key, type(new)())
        oracle[key] = known | new if isinstance(new, dict) else known + new
    return {
        "oracle": oracle,
        "asked": state.get("asked", {}) | change["asked"],
        "roots": state.get("roots", {}) | change["roots"],
        "trials": state.get("trials", {})
        | {trial["trial_id"]: trial for trial in change["trials"]},
        "seconds": change["seconds"],
    }


def replayed(snapshot: Change, lines: Iterable[bytes]) -> tuple[Change, str | None]:
    """Return the state after the lines that follow a snapshot, and what is amiss.

    A last line that was cut off belongs to a change nobody relied on yet.
    """
    state = applied({}, snapshot)
    expected = 1
    for line in lines:
        change = change_in(line)
        if change is None:
            is_cut = not line.endswith(b"\n")
            return (
                state,
                None if is_cut else f"line {expected} is not as it was written",
            )
        if change["follows"] != snapshot.get("snapshot"):
            continue
        if change["number"] != expected:
            return state, f"line {expected} is missing"
        state = applied(state, change)
        expected += 1
    return state, None


def plain(value: Any) -> str:
    """Return JSON, as fast as Python makes it."""
    return json.dumps(value, ensure_ascii=False)


def line_of(change: Change) -> bytes:
    """Return a line of the journal: a checksum and the change."""
    text = json.dumps(change, allow_nan=False, ensure_ascii=False).encode()
    return f"{digest(text)} ".encode() + text + b"\n"


def change_in(line: bytes) -> Change | None:
    """Return the change of a line, or None where it is not as it was written."""
    seal, _, text = line.rstrip(b"\n").partition(b" ")
    if not line.endswith(b"\n") or seal != digest(text).encode():
        return None
    change: Change = json.loads(text)
    return change


def digest(text: bytes) -> str:
    """Return a short hash."""
    return hashlib.sha256(text).hexdigest()[:16]
