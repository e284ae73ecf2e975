"""Options that make a study: knobs as they are typed behind `--fix` and `--narrow`."""

from typing import Any

from search.errors import InputError
from search.records import Value, Values


def of_a_study(
    *,
    fix: list[str] | None,
    narrow: list[str] | None,
    skip_unreadable: bool,
    **others: Any,
) -> dict[str, Any]:
    """Return fields of `Study` from options, None for what was not given."""
    return others | {
        "fixed": parse_fixed(fix) if fix else None,
        "narrowed": parse_narrowed(narrow) if narrow else None,
        "skip_unreadable": skip_unreadable or None,
    }


def parse_fixed(assignments: list[str], option: str = "--fix") -> Values:
    """Parse `KNOB=VALUE` words into typed values.

    Raises:
        InputError: a word has no `=`.
    """
    fixed: Values = {}
    for word in assignments:
        name, equals, text = word.partition("=")
        if not equals or not name or not text:
            raise InputError(
                f"{option} KNOB=VALUE", repr(word), "Write one knob and value"
            )
        fixed[name.strip()] = parse_value(text.strip())
    return fixed


def parse_narrowed(assignments: list[str]) -> dict[str, str | list[Value]]:
    """Parse `KNOB=LOW..HIGH`, which stays a text, and `KNOB=A,B` into values.

    Raises:
        InputError: a word is neither.
    """
    narrowed: dict[str, str | list[Value]] = {}
    for word in assignments:
        name, equals, text = word.partition("=")
        parts = text.split("..") if ".." in text else text.split(",")
        if not equals or not name or not all(part.strip() for part in parts):
            raise InputError(
                "--narrow KNOB=LOW..HIGH, or KNOB=A,B",
                repr(word),
                "Write one knob and its values",
            )
        values = [parse_value(part.strip()) for part in parts]
        narrowed[name.strip()] = text.strip() if ".." in text else values
    return narrowed


def parse_value(text: str) -> Value:
    """Parse a value: true/false, whole number, number, or a word."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            number: Value = kind(text)
        except ValueError:
            continue
        return number
    return text
