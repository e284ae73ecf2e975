"""study.toml: a study written down, to be read by people and run by `search`."""

import dataclasses
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from search.errors import InputError
from search.records import Value
from search.scoring.pareto import objective_fields
from search.studies import Study
from search.wording import suggestion

SUFFIX = ".toml"
# Decided by the others, or by where it runs.
LEFT_OUT = (
    *("task", "direction", "further_objectives", "fixed", "narrowed"),
    *("data_dir", "budget_seconds", "trial_timeout_seconds"),
)
KEYS = tuple(
    field.name for field in dataclasses.fields(Study) if field.name not in LEFT_OUT
)
TABLES = ("study", "fixed", "narrowed")
REQUIRED = ("dataset", "hypermodel")
# One objective, or a list of several, as `--objective` repeated.
TYPES = get_type_hints(Study) | {"objective": str | list[str]}
WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a string",
}


def read_study_file(path: Path) -> dict[str, Any]:
    """Return the fields of `Study` that a file sets; `fixed` and `narrowed` hold knobs.

    A dataset that is a folder is relative to the file.

    Raises:
        InputError: there is no such file, it is no TOML, or a key is not known.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            "a study file", f"{path}: {error.strerror}", "Check the path"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError("a TOML file", f"{path}: {error}", "Mend that line") from error
    for table in TABLES:
        if not isinstance(content.get(table, {}), dict):
            raise InputError(f"[{table}] in {path}", f"{table} = …", "Make it a table")
    settings = dict(content.get("study", {}))
    unknown = [key for key in content if key not in TABLES]
    unknown += [key for key in settings if key not in KEYS]
    if unknown:
        raise InputError(
            f"the keys {', '.join(KEYS)} in [study] of {path}, [fixed] and [narrowed]",
            repr(unknown[0]),
            suggestion(unknown[0], KEYS) + "Remove or correct it",
        )
    for key, value in settings.items():
        if not is_of(value, TYPES[key]):
            raise InputError(
                f"{key} in [study] of {path}: {words_of(TYPES[key])}",
                repr(value),
                "Correct it",
            )
    for knob, value in content.get("fixed", {}).items():
        if not isinstance(value, bool | int | float | str):
            raise InputError(
                f"one value for {knob} in [fixed] of {path}",
                repr(value),
                "Choose one; a knob that is not in [fixed] is searched, and [narrowed]"
                " leaves some values",
            )
    for knob, values in content.get("narrowed", {}).items():
        is_list = isinstance(values, list) and all(
            isinstance(value, bool | int | float | str) for value in values
        )
        if not is_list and not isinstance(values, str):
            raise InputError(
                f'"LOW..HIGH" or a list of choices for {knob} in [narrowed] of {path}',
                repr(values),
                "Write one of these",
            )
    missing = [key for key in REQUIRED if key not in settings]
    if missing:
        raise InputError(f"{missing[0]} in [study] of {path}", "none", "Add it")
    folder = path.parent / str(settings["dataset"])
    if folder.is_dir():
        settings["dataset"] = str(folder)
    if "objective" in settings:
        named = settings.pop("objective")
        settings |= objective_fields([named] if isinstance(named, str) else named)
    return settings | {key: dict(content.get(key, {})) for key in TABLES[1:]}


def is_of(value: Any, kind: Any) -> bool:
    """Return whether a value of TOML is of the type of a field; 3 is a float, too."""
    if isinstance(kind, UnionType):
        return any(is_of(value, one) for one in get_args(kind))
    if get_origin(kind) is list:
        return isinstance(value, list) and all(is_of(v, str) for v in value)
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def words_of(kind: Any) -> str:
    """Return the type of a field in words."""
    if get_origin(kind) is list:
        return "a list of strings"
    kinds = [one for one in get_args(kind) if one is not NoneType]
    return " or ".join(map(words_of, kinds)) or WORDS[kind]


def study_file_text(
    settings: Mapping[str, Value],
    fixed: Mapping[str, Value],
    comments: Mapping[str, str],
    heading: list[str],
) -> str:
    """Return a study file with a comment behind each key and knob that has one."""

    def lines_of(table: Mapping[str, Value]) -> list[str]:
        lines = []
        for key, value in table.items():
            # A JSON string, number or truth value is one of TOML too.
            line = f"{key} = {json.dumps(value, ensure_ascii=False)}"
            comment = comments.get(key)
            lines.append(f"{line}  # {comment}" if comment else line)
        return lines

    head = [f"# {line}".rstrip() for line in heading]
    knobs = ["[fixed]", "# knob = value", *lines_of(fixed)]
    return "\n".join([*head, "", "[study]", *lines_of(settings), "", *knobs, ""])
