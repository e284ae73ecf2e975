"""study.json: written when a study begins; what would make it another is refused."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from search.environment import environment
from search.errors import InputError
from search.files import write_sealed
from search.paths import StudyPaths
from search.studies import (
    MAY_CHANGE,
    OF_A_SEARCH,
    PRECISIONS,
    Study,
    is_recorded,
    open_study,
    read_study,
)


def fingerprint(
    study: Study,
    data_fingerprint: str,
    weights_hash: str | None,
    code_hashes: Sequence[str] = (),
) -> str:
    """Return a hash of everything that decides the outcome of the search.

    Args:
        code_hashes: of the files of a hypermodel and a tuner of one's own.
    """
    settings = {
        key: value
        for key, value in dataclasses.asdict(study).items()
        if key not in MAY_CHANGE and value is not None
    }
    if study.precision == PRECISIONS[0]:
        del settings["precision"]  # as when there was no choice
    if not study.narrowed:
        del settings["narrowed"]
    if weights_hash is not None:
        del settings["weights"]  # a file is what it holds, wherever it lies
    parts = [settings, data_fingerprint, weights_hash, *code_hashes]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def record_study(
    paths: StudyPaths, study: Study, data: dict[str, Any], mark: str, command: str
) -> None:
    """Write study.json, or check that the one on disk is the same study.

    Args:
        data: what to say of the prepared data: sizes, hashes, classes.
        mark: from `fingerprint`.

    Raises:
        InputError: another study lies under this name; names the changed field.
    """
    before = read_study(paths) if is_recorded(paths) else None
    if before is not None:
        refuse_changes(paths, study, mark, data.get("fingerprint"))
    record = {
        "study": dataclasses.asdict(study),
        "fingerprint": mark,
        "data": data,
        **environments(before, environment()),
        **commands(before, study, command),
    }
    write_sealed(paths.study, record)
    write_sealed(paths.study_copy, record)


def environments(before: dict[str, Any] | None, now: dict[str, Any]) -> dict[str, Any]:
    """Return with what a study was begun, and with what else its command was run.

    Args:
        before: what study.json holds, None where there is none.
    """
    if before is None:
        return {"environment": now}
    first, later = before.get("environment", now), before.get("later_environments", [])
    if now not in (first, *later):
        later = [*later, now]
    return {"environment": first} | ({"later_environments": later} if later else {})


def commands(
    before: dict[str, Any] | None, study: Study, command: str
) -> dict[str, Any]:
    """Return the command that began a study, and those that extended it.

    To go on with a study takes fewer words than to begin it, so the first is kept.

    Args:
        before: what study.json holds, None where there is none.
    """
    if before is None:
        return {"command": command}
    limits = ("trials", "total_epochs", "budget_seconds", *OF_A_SEARCH)
    extends = any(before["study"].get(key) != getattr(study, key) for key in limits)
    was_compared = before["command"].startswith("vision-tuner compare")
    later = before.get("later_commands", [])
    if (extends or was_compared) and command not in later:
        later = [*later, command]
    return {"command": before["command"]} | ({"later_commands": later} if later else {})


def refuse_changes(
    paths: StudyPaths, study: Study, mark: str, data_mark: str | None
) -> None:
    """Raise InputError naming the first thing in which the study on disk differs."""
    recorded = read_study(paths)
    if recorded["fingerprint"] == mark:
        return
    known = dataclasses.asdict(Study(**recorded["study"]))
    may_change = MAY_CHANGE if has_begun(paths) else (*MAY_CHANGE, *OF_A_SEARCH)
    changed = []
    for key, value in dataclasses.asdict(study).items():
        is_file = key == "weights" and Path(str(value)).is_file()
        if value == known[key] or is_file:
            continue
        if key not in may_change:
            raise changed_setting(paths, key, known[key], value)
        changed.append(key)
    same_data = data_mark == recorded["data"].get("fingerprint")
    if same_data and set(changed) & set(OF_A_SEARCH):
        return  # `begin` has compared the files, with what is on record of a search
    files = [f"weights {study.weights}"] if Path(study.weights).is_file() else []
    own = {"hypermodel": study.hypermodel, "tuner": study.tuner}
    files += [f"own {kind} {name}" for kind, name in own.items() if ":" in name]
    if not same_data:
        files = [f"data set {study.dataset}"]
    asked = " and ".join(files) or "the installed hypermodel and tuner"
    asked += " as in the recorded search"
    raise InputError(
        asked, "other contents", f"Restore what has changed, {or_another_name(paths)}"
    )


def has_begun(paths: StudyPaths) -> bool:
    """Return whether a search has begun, not only a comparison."""
    left = (paths.oracle, paths.oracle_copy, paths.trials, paths.crew)
    return any(path.exists() for path in left)


def as_compared(study: Study, paths: StudyPaths) -> Study:
    """Return the study with the tuner on record, where no search has used that."""
    if has_begun(paths):
        return study
    known = open_study(paths)
    return dataclasses.replace(study, tuner=known.tuner, start_from=known.start_from)


def changed_setting(
    paths: StudyPaths, key: str, before: object, value: object
) -> InputError:
    """Return what is raised where a study lies under this name with another setting."""
    remedy = f"Repeat the search with the recorded value, {or_another_name(paths)}"
    return InputError(f"{key} = {before!r} as recorded", repr(value), remedy)


def or_another_name(paths: StudyPaths) -> str:
    return f"or keep {paths.folder} as it is and choose another --name"
