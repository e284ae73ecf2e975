"""Words for the terminal and the report: numbers, durations, values, near names."""

import difflib
from collections.abc import Iterable
from typing import Any

from search.records import Values


def counted(number: int, noun: str) -> str:
    """Return `1 trial`, `3 trials` or `3 classes`."""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    if noun.endswith("y"):
        plural = f"{noun[:-1]}ies"
    return f"{number:,} {noun if number == 1 else plural}"


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return 'Did you mean X? ', or nothing where no known word is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"Did you mean {near[0]}? " if near else ""


def shown(value: float | None) -> str:
    """Return a score with four digits, or a dash."""
    return "–" if value is None else f"{value:.4f}"


def values_text(values: Values) -> str:
    """Return `knob=value` words, numbers short."""
    return " ".join(
        f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in values.items()
    )


def duration(seconds: float) -> str:
    """Return seconds as `0.35 s`, `45 s`, `12 min` or `3 h 20 min`.

    Two digits below 10 s; what is less than a millisecond is `0 s`.
    """
    if 0.001 <= seconds < 9.95:
        return f"{seconds:.2g} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def setting_text(name: str, value: Any) -> str:
    """Return a setting in words: `precision auto`, `balance classes`."""
    words = name.replace("_", " ")
    if isinstance(value, bool):
        return words if value else f"no {words}"
    if value is None:
        return f"{words} as usual" if name == "image_size" else f"no limit of {words}"
    if isinstance(value, dict):
        return f"{words} {values_text(value)}"
    if isinstance(value, list):
        return f"{words} {' and '.join(map(str, value))}"
    if name.endswith("_seconds"):
        return f"{words.removesuffix(' seconds')} {duration(value)}"
    if isinstance(value, str):
        return f"{words} {value}"
    return f"{words} {value:,.0f}" if abs(value) >= 1000 else f"{words} {value:.6g}"
