"""The search space of a study: declared by its hypermodel, `--fix`ed and narrowed."""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from search.errors import InputError
from search.records import Value, Values
from search.wording import suggestion

# A part of a knob's range: `LOW..HIGH`, or some of its choices.
Part = str | Sequence[Value]
NOTHING: Mapping[str, Any] = MappingProxyType({})


def declare_space(
    hypermodel: Any,
    fixed: Mapping[str, Value],
    narrowed: Mapping[str, Part] = NOTHING,
) -> Any:
    """Return the study's space as `keras_tuner.HyperParameters`.

    Fixed knobs stay in it with their one value; knobs that can then never be active
    are left out.

    Args:
        narrowed: knob -> `LOW..HIGH`, or some of its choices.

    Raises:
        InputError: a knob or value is not in the space, or a knob is named twice.
    """
    import keras_tuner

    declared = keras_tuner.HyperParameters()
    hypermodel.declare(declared)
    knobs = declared.space
    extra = on_request(hypermodel)
    settled = {
        name: checked(name, value, knobs, extra.get(name, ()))
        for name, value in fixed.items()
    }
    parts = narrowed_knobs(knobs, fixed, narrowed)
    space = keras_tuner.HyperParameters()
    for knob in parts:
        if can_be_active(knob, space):
            if knob.name in settled:
                knob = keras_tuner.engine.hyperparameters.Fixed(
                    knob.name, settled[knob.name], conditions=knob.conditions
                )
            space.merge([knob])
    return space


def narrowed_knobs(
    knobs: Sequence[Any], fixed: Mapping[str, Value], narrowed: Mapping[str, Part]
) -> list[Any]:
    """Return the knobs, some with a part of their range.

    A knob that is declared under several conditions is narrowed under those where it
    has such values.

    Raises:
        InputError: a part holds no two values of the knob, or the knob is fixed, too.
    """
    for name in narrowed:
        checked_name(name, knobs)
        if name in fixed:
            raise InputError(
                f"{name} fixed or narrowed", "both", "Leave one of the two out"
            )
    found, left = [], set(narrowed)
    for knob in knobs:
        part = narrowed.get(knob.name)
        smaller = None if part is None else narrow(knob, part)
        if smaller is not None:
            left.discard(knob.name)
        found.append(smaller or knob)
    for name in left:
        ranges = dict.fromkeys(range_of(knob) for knob in knobs if knob.name == name)
        raise InputError(
            f"{name}=LOW..HIGH of a number or some of its choices, with at least two"
            f" values of {' or '.join(ranges)}",
            part_text(narrowed[name]),
            "Choose another part; --fix takes a single value",
        )
    return found


def narrow(knob: Any, part: Part) -> Any | None:
    """Return a knob with a part of its range; None where that is no part of it.

    The default is moved into it.
    """
    import keras_tuner

    kinds, kind = keras_tuner.engine.hyperparameters, type(knob).__name__
    if kind == "Choice":
        choices = choices_in(knob, part)
        if len(choices) < 2:
            return None
        default = knob.default if knob.default in choices else choices[0]
        return kinds.Choice(
            knob.name, choices, knob.ordered, default, conditions=knob.conditions
        )
    ends = ends_of(part)
    if kind not in ("Int", "Float") or ends is None:
        return None
    low, high = ends
    if low < knob.min_value or high > knob.max_value:
        return None
    if knob.step is not None or kind == "Int":
        low, high = on_grid(knob, low, math.ceil), on_grid(knob, high, math.floor)
    if low >= high:
        return None
    return getattr(kinds, kind)(
        knob.name,
        min_value=low,
        max_value=high,
        step=knob.step,
        sampling=knob.sampling,
        default=min(max(knob.default, low), high),
        conditions=knob.conditions,
    )


def choices_in(knob: Any, part: Part) -> list[Value]:
    """Return the choices of a knob that are in a part, all of which it must have."""
    if isinstance(part, str):
        ends = ends_of(part)
        numbers = [v for v in knob.values if isinstance(as_typed(v), float)]
        if ends is None or len(numbers) < len(knob.values):
            return []
        return [value for value in numbers if ends[0] <= value <= ends[1]]
    taken = [accept(knob, value) for value in part]
    return [] if None in taken else [v for v in knob.values if v in taken]


def ends_of(part: Part) -> tuple[float, float] | None:
    """Return the ends of LOW..HIGH, None where a part is something else."""
    if not isinstance(part, str):
        return None
    try:
        low, high = map(float, part.split(".."))
    except ValueError:
        return None
    return low, high


def part_text(part: Part) -> str:
    """Return a part of a range as it is typed."""
    return part if isinstance(part, str) else ",".join(map(str, part))


def on_grid(knob: Any, value: float, rounded: Callable[[float], int]) -> float:
    """Return the number of a knob with steps that is next to a value."""
    least, step = knob.min_value, knob.step or 1
    if knob.sampling == "log" and knob.step is not None:
        found = least * step ** rounded(round(math.log(value / least, step), 9))
    else:
        found = least + step * rounded(round((value - least) / step, 9))
    return int(found) if type(knob).__name__ == "Int" else round(found, 9)


def can_be_active(knob: Any, space: Any) -> bool:
    """Return whether the knobs of a space may have the values that one depends on."""
    for condition in knob.conditions:
        parents = [known for known in space.space if known.name == condition.name]
        if not any(accept(p, v) is not None for p in parents for v in condition.values):
            return False
    return True


def on_request(hypermodel: Any) -> dict[str, tuple[Value, ...]]:
    """Return the values of knobs that no tuner draws, but that can be fixed."""
    return dict(getattr(hypermodel, "on_request", {}))


def described(space: Any, hypermodel: Any) -> list[dict[str, Any]]:
    """Return each knob of a declared space as a row: range, default, condition."""
    from hypermodels.knobs import KNOBS

    rows = []
    for knob in space.space:
        about, source = KNOBS.get(knob.name, ("", ""))
        row = {
            "name": knob.name,
            "kind": type(knob).__name__.lower(),
            "range": range_of(knob),
            "default": knob.default,
            "condition": condition_of(knob),
            "about": about,
            "source": source,
        }
        extra = on_request(hypermodel).get(knob.name)
        if extra and row["kind"] != "fixed":
            row["on_request"] = list(extra)
        rows.append(row)
    return rows


def checked(
    name: str, value: Value, knobs: list[Any], extra: tuple[Value, ...] = ()
) -> Value:
    """Return `value` as the knob's own type.

    Args:
        extra: values outside its range that are accepted too.

    Raises:
        InputError: there is no such knob, or the value is outside its range.
    """
    named = checked_name(name, knobs)
    for known_value in extra:
        if str(known_value) == str(value):
            return known_value
    for knob in named:
        accepted = accept(knob, value)
        if accepted is not None:
            return accepted
    raise InputError(
        f"{name} {' or '.join(dict.fromkeys(range_of(knob) for knob in named))}",
        repr(value),
        "Choose such a value",
    )


def checked_name(name: str, knobs: Sequence[Any]) -> list[Any]:
    """Return the knobs of a name.

    Raises:
        InputError: there is none.
    """
    named = [knob for knob in knobs if knob.name == name]
    if not named:
        known = list(dict.fromkeys(knob.name for knob in knobs))
        raise InputError(
            f"a knob of this study ({', '.join(known)})",
            repr(name),
            suggestion(name, known) + "`vision-tuner space STUDY` describes them",
        )
    return named


def accept(knob: Any, value: Value) -> Value | None:
    """Return `value` as the type of `knob`, or None where it does not fit."""
    kind = type(knob).__name__
    if kind == "Fixed":
        return knob.value if as_typed(knob.value) == as_typed(value) else None
    if kind in ("Choice", "Boolean"):
        choices = [False, True] if kind == "Boolean" else knob.values
        for choice in choices:
            if as_typed(choice) == as_typed(value):
                found: Value = choice
                return found
        return None
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    whole = kind == "Int"
    if not knob.min_value <= number <= knob.max_value or (whole and number % 1):
        return None
    return int(number) if whole else number


def as_typed(value: Value) -> str | float:
    """Return what two values are compared by: 0 is 0.0, and True is true."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else str(value).lower()


def range_of(knob: Any) -> str:
    """Return a knob's range in words: `2 … 5`, `0.0001 … 0.1, log`, `a, b or c`."""
    kind = type(knob).__name__
    if kind == "Fixed":
        return str(knob.value)
    if kind == "Boolean":
        return "true or false"
    if kind == "Choice":
        *others, last = [str(choice) for choice in knob.values]
        return f"{', '.join(others)} or {last}" if others else last
    scale = ", log" if knob.sampling == "log" else ""
    return f"{knob.min_value:g} … {knob.max_value:g}{scale}"


def condition_of(knob: Any) -> str:
    """Return when a knob is active, in words, or an empty string for always."""
    return " and ".join(
        f"{condition.name} = {' | '.join(str(value) for value in condition.values)}"
        for condition in knob.conditions
    )


def knob_domains(space: Any) -> dict[str, list[Value] | tuple[float, float] | None]:
    """Return each knob's domain for TensorBoard: choices, a range, or None."""
    domains: dict[str, list[Value] | tuple[float, float] | None] = {}
    for knob in space.space:
        kind = type(knob).__name__
        if kind == "Fixed":
            domains[knob.name] = [knob.value]
        elif kind == "Boolean":
            domains[knob.name] = [False, True]
        elif kind == "Choice":
            domains[knob.name] = list(knob.values)
        else:
            domains[knob.name] = (knob.min_value, knob.max_value)
    return domains


def completed(space: Any, values: Mapping[str, Value]) -> Values:
    """Return a whole configuration: `values` where they fit, else defaults.

    Knobs that are not active under the values are left out, knobs that become active
    take their default.

    Args:
        space: declared `keras_tuner.HyperParameters`.
    """
    result: Values = {}
    for knob in space.space:
        if all(condition.is_active(result) for condition in knob.conditions):
            given = accept(knob, values[knob.name]) if knob.name in values else None
            result[knob.name] = knob.default if given is None else given
    return result


def default_values(space: Any) -> Values:
    """Return the default of every active knob, in the order they are declared."""
    return completed(space, {})
