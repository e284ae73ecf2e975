"""The driver's state on disk; to write a change costs what changed, not the whole.

Two copies of a snapshot, and a journal: one line for each change since then, with its
number and a checksum, on disk before the driver goes on. A snapshot is written when the
journal has grown as long as the last one, so that a trial costs the same after ten as
after thousands of others. A line names the snapshot it follows; so a kill between any
two writes leaves a snapshot and all the lines that belong to it.
"""

import hashlib
import json
import reprlib
import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from search.bookkeeping.growth import new_keys
from search.errors import InputError
from search.files import append_record, sealed, write_text
from search.paths import StudyPaths
from search.records import Trial

Change = dict[str, Any]
# Of keras-tuner's oracle, what grows by an entry a trial; all else stays small. Lists
# that trials are only appended to; dicts by trial id, where only the entry of a trial
# that begins or ends is touched; and the set of the hashes that the last of them holds
# (`create_trial`, `end_trial` and `_record_values` of keras-tuner 1.4.8's `Oracle`).
APPENDED = ("start_order", "end_order")
HASHES = "id_to_hash"
BY_TRIAL = ("run_times", HASHES)
TRIED = "tried_so_far"
SMALLEST_JOURNAL = 256 * 1024


@dataclass(frozen=True)
class Knowledge:
    """All a driver knows.

    Attributes:
        oracle: the tuner's own state: plain values, and one set of them.
        asked: keras-tuner's trials, by its ids.
        roots: keras-tuner's id -> trial id; only added to.
        trials: trial id -> record.
        seconds: wall time spent so far.
        changed_asked: ids of keras-tuner's trials that changed since the last save.
        changed_trials: ids of the records that did.
    """

    oracle: Mapping[str, Any]
    asked: Mapping[str, Any]
    roots: dict[str, str]
    trials: Mapping[str, Trial]
    seconds: float
    changed_asked: Collection[str]
    changed_trials: Collection[str]


class Written:
    """What the files hold, as far as it takes to tell what has changed.

    Attributes:
        texts: key of the oracle's state -> JSON, of those that do not grow.
        grown: key -> the container that grows, and how long it was.
        tried: the hashes.
        roots: number of them.
    """

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.grown: dict[str, tuple[Any, int]] = {}
        self.tried: set[str] = set()
        self.roots = 0

    def add(self, change: Change, now: Knowledge) -> None:
        """Take note that a change of `difference` has been written."""
        for key, value in change["oracle"].items():
            if key == TRIED:
                self.tried = set(value)
            elif key not in (*APPENDED, *BY_TRIAL):
                self.texts[key] = plain(value)
        self.tried.update(change["grown"].get(TRIED, ()))
        self.grown = {
            key: (now.oracle[key], len(now.oracle[key]))
            for key in (*APPENDED, *BY_TRIAL)
            if key in now.oracle
        }
        self.roots = len(now.roots)


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
        change = difference(self._written, knowledge)
        order = {"follows": self._snapshot, "number": self._lines + 1}
        line = line_of(order | change)
        append_record(self._paths.journal, line)
        self._lines += 1
        self._journal_bytes += len(line)
        self._written.add(change, knowledge)

    def write_snapshot(self, knowledge: Knowledge) -> None:
        """Write all there is to know, twice, and begin a new journal.

        Raises:
            OSError: as of `save`.
        """
        content = difference(Written(), everything(knowledge))
        name = uuid.uuid4().hex
        text = json.dumps(sealed(content | {"snapshot": name}), ensure_ascii=False)
        write_text(self._paths.oracle, text)
        write_text(self._paths.oracle_copy, text)
        self._paths.journal.unlink(missing_ok=True)
        self._journal_bytes = self._lines = 0
        self._snapshot, self._snapshot_bytes = name, len(text)
        self._written = Written()
        self._written.add(content, knowledge)


def everything(knowledge: Knowledge) -> Knowledge:
    """Return the same, all of it changed."""
    return replace(
        knowledge, changed_asked=knowledge.asked, changed_trials=knowledge.trials
    )


def difference(before: Written, now: Knowledge) -> Change:
    """Return what has changed, as plain values."""
    grown = {
        key: new
        for key in (*APPENDED, *BY_TRIAL, TRIED)
        if key in now.oracle and (new := additions(before, now, key)) is not None
    }
    # What has not only grown is written anew.
    others = {key: value for key, value in now.oracle.items() if key not in grown}
    if TRIED in others:
        others[TRIED] = sorted(others[TRIED])
    return {
        "oracle": {k: v for k, v in others.items() if plain(v) != before.texts.get(k)},
        "grown": {key: new for key, new in grown.items() if new},
        "asked": {key: asked_state(now.asked[key]) for key in now.changed_asked},
        "roots": {key: now.roots[key] for key in new_keys(now.roots, before.roots)},
        "trials": [vars(now.trials[trial_id]) for trial_id in now.changed_trials],
        "seconds": now.seconds,
    }


def additions(before: Written, now: Knowledge, key: str) -> Any:
    """Return what was added to what only grows, None where it is not as it was left."""
    value = now.oracle[key]
    if key == TRIED:
        return new_hashes(before.tried, now)
    container, known = before.grown.get(key, (None, 0))
    if container is not value or len(value) < known:
        return None
    if key in APPENDED:
        return value[known:]
    entries = {asked: value[asked] for asked in now.changed_asked if asked in value}
    return entries if len(value) <= known + len(entries) else None


def new_hashes(before: set[str], now: Knowledge) -> list[str] | None:
    """Return the hashes that were added, None where others were taken away.

    A hash that is added is that of a trial that changed; so where there are as many as
    with these, there are no others, and none is missing.
    """
    tried, hashes = now.oracle[TRIED], now.oracle[HASHES]
    candidates = dict.fromkeys(hashes.get(asked) for asked in now.changed_asked)
    new = [each for each in candidates if each in tried and each not in before]
    return new if before and len(tried) == len(before) + len(new) else None


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
    """Return JSON, as fast as Python makes it.

    Raises:
        InputError: a tuner of one's own keeps what JSON does not know.
    """
    try:
        return json.dumps(value, ensure_ascii=False)
    except TypeError as error:
        raise InputError(
            "plain values in `get_state` of the tuner, as JSON knows them",
            f"{reprlib.repr(value)} ({error})",
            "Return lists, numbers and strings, and take them over in `set_state`",
        ) from error


def line_of(change: Change) -> bytes:
    """Return a line of the journal: a checksum and the change."""
    text = json.dumps(change, ensure_ascii=False).encode()
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
