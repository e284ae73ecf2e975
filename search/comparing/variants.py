"""Configurations that differ in one knob: which values, and what follows from them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from search.errors import InputError
from search.records import Finalist, Trial, Value, Values, ranked
from search.spaces import checked, completed, condition_of, default_values
from search.studies import Study
from search.wording import suggestion

# An Int with more values is compared at its ends and its default only.
MOST_INT_VALUES = 4


def changed(space: Any, base: Values, knob: str, value: Value) -> Values:
    """Return the configuration `base` with one knob set to `value`.

    Raises:
        InputError: the knob is not active in `base`, so that it would change nothing.
    """
    values = completed(space, {**base, knob: value})
    if knob not in values:
        conditions = [condition_of(k) for k in space.space if k.name == knob]
        raise InputError(
            f"a base where {knob} is active (when {' or '.join(conditions)})",
            "one where it is not",
            "Choose another --from, or --fix those knobs under another --name",
        )
    return values


def starting_values(space: Any, changes: Mapping[str, Value]) -> Values:
    """Return the default configuration with some knobs set, in this order.

    Raises:
        InputError: no such knob or value, or a knob that is not active.
    """
    values = default_values(space)
    for knob, value in changes.items():
        values = changed(space, values, knob, checked(knob, value, space.space))
    return values


def starting_name(changes: Mapping[str, Value]) -> str:
    """Return `default`, or `default with residual=false, …`."""
    words = ", ".join(f"{knob}={label(value)}" for knob, value in changes.items())
    return f"default with {words}" if words else "default"


def compared_values(space: Any, knob: str, wanted: Sequence[Value] | None) -> Values:
    """Return label -> value of what is compared; the first is the reference.

    Args:
        wanted: as the user gave them; None = all choices, both answers, every whole
            number of a short range, or the ends and the default of a longer one.

    Raises:
        InputError: no such knob or value, fewer than two, or the knob is fixed.
    """
    named = [k for k in space.space if k.name == knob]
    if wanted is None:
        if not named:
            known = sorted({k.name for k in space.space})
            raise InputError(
                f"a knob of this study ({', '.join(known)})",
                repr(knob),
                suggestion(knob, known) + "`vision-tuner space STUDY` describes them",
            )
        values = usual_values(named[0])
    else:
        values = [checked(knob, value, space.space) for value in wanted]
    distinct = {label(value): value for value in values}
    if len(distinct) < len(set(values)):  # of four digits some are the same
        distinct = {str(value): value for value in values}
    if len(distinct) < 2:
        raise InputError(
            f"at least two values of {knob} to compare",
            ", ".join(distinct) or "none",
            "Pass --values A,B, or leave out its --fix",
        )
    return distinct


def usual_values(knob: Any) -> list[Value]:
    """Return the values of a knob one would compare, in its own order."""
    kind = type(knob).__name__
    if kind == "Fixed":
        return [knob.value]
    if kind == "Boolean":
        return [False, True]
    if kind == "Choice":
        return list(knob.values)
    low, high = knob.min_value, knob.max_value
    if kind == "Int" and high - low < MOST_INT_VALUES:
        return list(range(low, high + 1))
    return sorted({low, knob.default, high})


def label(value: Value) -> str:
    """Return a value as it is written in tables, figures and folder names."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def best_trial(
    trials: Sequence[Trial], finalists: Sequence[Finalist], study: Study
) -> Trial | None:
    """Return the best configuration known: of the finalists, else of the search.

    A search stops most trials early, and what leads early may fall behind; finalists
    have had all epochs. Theirs counts by its mean over the seeds.
    """
    metric = study.objective.removeprefix("val_")
    scores: dict[str, list[float]] = {}
    for finalist in finalists:
        score = finalist.validation.get(metric)
        if score is not None:
            scores.setdefault(finalist.trial_id, []).append(score)
    ended = [trial for trial in trials if trial.state != "FAILED"]
    final = [
        replace(trial, score=fmean(scores[trial.trial_id]))
        for trial in ended
        if trial.trial_id in scores
    ]
    best = ranked(final or ended, study.direction)
    return best[0] if best else None


def base_values(
    origin: str,
    space: Any,
    trials: Sequence[Trial],
    finalists: Sequence[Finalist],
    study: Study,
) -> tuple[str, Values]:
    """Return the name and the values of the configuration to start from.

    Args:
        origin: `default`, `best` (see `best_trial`) or a trial id.

    Raises:
        InputError: there is no such trial.
    """
    if origin == "default":
        return "default", default_values(space)
    if origin == "best":
        best = best_trial(trials, finalists, study)
        if best is None:
            raise InputError(
                f"a search of {study.name} with a finished trial",
                "none",
                "Run `vision-tuner search` first, or pass --from default",
            )
        return best.trial_id, completed(space, best.values)
    known = {trial.trial_id: trial for trial in trials}
    if origin not in known:
        raise InputError(
            "--from default, best or a trial id",
            repr(origin),
            f"`vision-tuner trials {study.name}` lists the trials",
        )
    return origin, completed(space, known[origin].values)


def seeds_for(
    base: str,
    count: int,
    trials: Sequence[Trial],
    finalists: Sequence[Finalist],
    study: Study,
) -> list[int]:
    """Return the seeds to compare with: from the study's on, none that chose `base`.

    A trial is taken for its score. The training that won is the luckiest of many: as a
    replicate it would speak for its trial.

    Args:
        base: `default` or a trial id.
    """
    first = study.seed
    if base != "default":
        used = [trial.seed for trial in trials if trial.trial_id == base]
        used += [item.seed for item in finalists if item.trial_id == base]
        first = max([study.seed, *used]) + 1
    return list(range(first, first + count))


def differing(space: Any, current: Values, target: Values) -> list[str]:
    """Return the knobs to set on the way from `current` to `target`.

    Only those that are active in both: one that is not yet becomes so when the knob
    it depends on has been set.
    """
    names = dict.fromkeys(knob.name for knob in space.space)
    return [
        name
        for name in names
        if name in current and name in target and current[name] != target[name]
    ]
