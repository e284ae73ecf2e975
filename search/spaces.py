"""The search space of a study: declared by its hypermodel, `--fix`ed and narrowed."""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from search.errors import InputError
from search.records import Value, Values
from search.wording import suggestion

NOTHING: Mapping[str, Any] = MappingProxyType({})


def declare_space(
    hypermodel: Any,
    fixed: Mapping[str, Value],
    narrowed: Mapping[str, Sequence[Value]] = NOTHING,
) -> Any:
    """Return the study's space as `keras_tuner.HyperParameters`.

    Fixed knobs stay in it with their one value; knobs that can then never be active
    are left out.

    Args:
        narrowed: knob -> the lowest and the highest number, or some of its choices.

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
    refuse_both(fixed, narrowed)
    for name, values in narrowed.items():
        for value in values:
            checked(name, value, knobs)
    space = keras_tuner.HyperParameters()
    for knob in knobs:
        if knob.name in narrowed:
            knob = narrow(knob, narrowed[knob.name])
        if can_be_active(knob, space):
            if knob.name in settled:
                knob = keras_tuner.engine.hyperparameters.Fixed(
                    knob.name, settled[knob.name], conditions=knob.conditions
                )
            space.merge([knob])
    return space


def refuse_both(
    fixed: Mapping[str, Value], narrowed: Mapping[str, Sequence[Value]]
) -> None:
    """Raise InputError where a knob is fixed and narrowed, or narrowed to one value."""
    for name, values in narrowed.items():
        if name in fixed:
            raise InputError(
                f"{name} fixed or narrowed", "both", "Leave one of the two out"
            )
        if len(set(values)) < 2:
            one = values[0] if values else "VALUE"
            raise InputError(
                f"at least two values of {name}",
                ", ".join(map(str, values)) or "none",
                f"A knob of one value is fixed: --fix {name}={one}",
            )


def narrow(knob: Any, values: Sequence[Value]) -> Any:
    """Return a knob with a part of its range; the default is moved into it.

    Raises:
        InputError: not two numbers, the lower first, or values the knob has not.
    """
    import keras_tuner

    kinds = keras_tuner.engine.hyperparameters
    kind = type(knob).__name__
    taken = [accept(knob, value) for value in values]
    if any(value is None for value in taken):
        return knob  # of another condition, which has other values
    if kind == "Choice":
        choices = [choice for choice in knob.values if choice in taken]
        default = knob.default if knob.default in choices else choices[0]
        return kinds.Choice(
            knob.name, choices, knob.ordered, default, conditions=knob.conditions
        )
    if kind not in ("Int", "Float"):
        return knob
    ends = [float(value) for value in values]
    if len(ends) != 2 or ends[0] > ends[1]:
        raise InputError(
            f"{knob.name}=LOW..HIGH", ", ".join(map(str, values)), "Name both ends"
        )
    low, high = ends if kind == "Float" else map(int, ends)
    if knob.step is not None and knob.sampling == "linear":
        low, high = on_grid(knob, low, math.ceil), on_grid(knob, high, math.floor)
    return getattr(kinds, kind)(
        knob.name,
        min_value=low,
        max_value=high,
        step=knob.step,
        sampling=knob.sampling,
        default=min(max(knob.default, low), high),
        conditions=knob.conditions,
    )


def on_grid(knob: Any, value: float, rounded: Callable[[float], int]) -> float:
    """Return the number of a knob with steps that is next to a value."""
    steps = rounded(round((value - knob.min_value) / knob.step, 9))
    found: float = knob.min_value + steps * knob.step
    return found if isinstance(knob.step, int) else round(found, 9)


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
    named = [knob for knob in knobs if knob.name == name]
    if not named:
        known = list(dict.fromkeys(knob.name for knob in knobs))
        raise InputError(
            f"a knob of this study ({', '.join(known)})",
            repr(name),
            suggestion(name, known) + "`vision-tuner space STUDY` describes them",
        )
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


def accept(knob: Any, value: Value) -> Value | None:
    """Return `value` as the type of `knob`, or None where it does not fit."""
    kind = type(knob).__name__
    if kind == "Fixed":
        return knob.value if str(knob.value) == str(value) else None
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
