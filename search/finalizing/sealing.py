"""The lock of the test set: what is chosen is sealed on disk before the set is opened.

Every opening is a line of test_ledger.json with the hash of choices.json. A choice that
differs from the sealed one was made by someone who could know the test score, so it is
refused; `--again` reads the set once more, and the ledger says that it did.
"""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from search.errors import InputError
from search.files import read_json, write_json
from search.paths import StudyPaths
from search.records import read_ensemble

REMEDY = (
    "`vision-tuner finalize STUDY --again` reads the test set once more; the ledger"
    " will say so"
)


def ledger(paths: StudyPaths) -> list[dict[str, Any]]:
    """Return the looks at the test set so far, oldest first."""
    entries: list[dict[str, Any]] = (
        read_json(paths.test_ledger) if paths.test_ledger.exists() else []
    )
    return entries


def digest(choices: Mapping[str, Any]) -> str:
    """Return the sha256 of choices, however they are laid out in the file."""
    text = json.dumps(choices, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def digest_on_disk(paths: StudyPaths) -> str | None:
    """Return the sha256 of choices.json, None where it is damaged."""
    try:
        return digest(read_json(paths.choices))
    except ValueError:
        return None


def check_seal(paths: StudyPaths) -> None:
    """Raise InputError where choices.json was changed since the test set was read."""
    entries = ledger(paths)
    sealed = entries[-1].get("choices") if entries else None
    if sealed is None or not paths.choices.exists():
        return
    if digest_on_disk(paths) != sealed:
        raise InputError(
            f"{paths.choices} as it was sealed before the test set was read"
            f" (sha256 {sealed[:12]}…)",
            "another one: a choice made after the test set was read",
            f"Restore it. {REMEDY}",
        )


def already_scored(
    paths: StudyPaths,
    asked: Sequence[str],
    options: Mapping[str, Any],
    again: bool,
) -> bool:
    """Return whether the test set was read for exactly this, and the score recorded.

    Args:
        asked: ids of the finalists.
        options: what else decides the models: `--tta`, `--distill`, …

    Raises:
        InputError: it was read for something else, or what was chosen then has been
            changed, and `again` is not set.
    """
    entries = ledger(paths)
    if not entries or again:
        return False
    check_seal(paths)
    last = entries[-1]
    before, now = set(last["asked"]), set(asked)
    if before != now:
        raise InputError(
            f"the finalists the test set was read for ({named(before)})",
            f"{named(now)}: a choice made after the test set was read",
            REMEDY,
        )
    if "options" in last and last["options"] != dict(options):
        raise InputError(
            f"the options the test set was read with ({last['options']})",
            f"{dict(options)}: a choice made after the test set was read",
            REMEDY,
        )
    record = read_ensemble(paths.ensemble)
    return record is not None and record.look == len(entries)


def is_the_same_look(
    paths: StudyPaths,
    entries: Sequence[Mapping[str, Any]],
    mark: str,
    asked: Sequence[str],
    options: Mapping[str, Any],
) -> bool:
    """Return whether the last look was begun for just this and left no score."""
    last, record = entries[-1], read_ensemble(paths.ensemble)
    wanted = {"choices": mark, "asked": sorted(asked), "options": dict(options)}
    is_recorded = record is not None and record.look == len(entries)
    return not is_recorded and all(last.get(k) == v for k, v in wanted.items())


def asked_before(paths: StudyPaths) -> set[str] | None:
    """Return the finalists the test set was read for last, None where it was not."""
    entries = ledger(paths)
    return set(entries[-1]["asked"]) if entries else None


def named(ids: set[str]) -> str:
    """Return a few of some ids."""
    few = sorted(ids)[:5]
    return ", ".join(few) + (f" and {len(ids) - 5} more" if len(ids) > 5 else "")


def seal(
    paths: StudyPaths,
    choices: Mapping[str, Any],
    asked: Sequence[str],
    options: Mapping[str, Any],
    again: bool,
) -> int:
    """Write the choices, then the line that the test set is opened; return its number.

    A finalize that was killed after its line makes the same choices and goes on under
    the same line.

    Raises:
        InputError: the set was opened before for other choices, and `again` is not set.
    """
    entries, mark = ledger(paths), digest(choices)
    if entries and again and is_the_same_look(paths, entries, mark, asked, options):
        write_json(paths.choices, choices)  # it may have been edited
        return len(entries)
    if entries and not again:
        sealed = entries[-1].get("choices")
        if sealed is not None and sealed != mark:
            raise InputError(
                f"the choices sealed before the test set was read ({sealed[:12]}…)",
                f"others ({mark[:12]}…): choices made after the test set was read",
                REMEDY,
            )
        if sealed is not None:
            return len(entries)
    write_json(paths.choices, choices)
    entry = {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "asked": sorted(asked),
        "options": dict(options),
        "choices": mark,
        "again": again,
    }
    write_json(paths.test_ledger, [*entries, entry])
    return len(entries) + 1
