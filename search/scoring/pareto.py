"""Several objectives: what is measured besides the score, and which trials are best.

A trial is on the front where no other is at least as good in every objective and better
in one (Deb et al. 2002, NSGA-II, whose order of fronts and crowding is used here).
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from search.errors import InputError
from search.records import Direction, Trial
from search.studies import Study

# Quantities of the network itself; every other objective is a key of Keras' logs.
COSTS = ("latency_ms", "parameters", "flops")
# Parts of the names of what is better the smaller, Keras' own metrics among them.
SMALL_IS_GOOD = (
    *("loss", "error", "entropy", "divergence", "mse", "mae", "nll", "brier"),
    *("hinge", "poisson", "cosh", "false_positive", "false_negative"),
    *COSTS,
)
Point = tuple[float, ...]


def direction_of(objective: str) -> Direction:
    """Return whether an objective is better the larger or the smaller."""
    return "min" if any(word in objective for word in SMALL_IS_GOOD) else "max"


def checked_objectives(objectives: Sequence[str]) -> list[str]:
    """Return the objectives, the first of them the score of a trial.

    Raises:
        InputError: the first is no validation metric, one is neither that nor a
            cost, or one is named twice.
    """
    remedy = "Name a metric such as val_accuracy first, then others"
    for place, name in enumerate(objectives):
        is_metric = name.startswith("val_") and name.isidentifier()
        if not is_metric and (place == 0 or name not in COSTS):
            kinds = "val_…" if place == 0 else f"val_… or {', '.join(COSTS)}"
            raise InputError(f"--objective {kinds}", repr(name), remedy)
        if name in objectives[:place]:
            raise InputError("each --objective once", f"{name} twice", remedy)
    return list(objectives)


def objective_fields(objectives: Sequence[str]) -> dict[str, object]:
    """Return the fields of a study for what `--objective` names, none for nothing."""
    if not objectives:
        return {}
    first, *others = checked_objectives(objectives)
    return {
        "objective": first,
        "direction": direction_of(first),
        "further_objectives": others,
    }


def value_of(trial: Trial, objective: str) -> float | None:
    """Return a trial's value of an objective: of the network, or at its best epoch."""
    if objective == "parameters":
        return trial.parameters
    if objective in COSTS:
        return trial.measured.get(objective)
    curve = trial.history.get(objective, [])
    best = trial.best_epoch
    return curve[best - 1] if best is not None and best <= len(curve) else None


def objectives_of(study: Study) -> list[str]:
    """Return all objectives of a study, the score first."""
    return [study.objective, *study.further_objectives]


def told_metrics(trial: Trial, study: Study) -> dict[str, float]:
    """Return what the tuner is told of a trial: its score and what else is known."""
    values = {study.objective: trial.score} | {
        name: value_of(trial, name) for name in study.further_objectives
    }
    return {name: value for name, value in values.items() if value is not None}


def point_of(trial: Trial, study: Study) -> Point | None:
    """Return a trial's objectives, each better the larger; None without a score."""
    if trial.score is None:
        return None
    sign = 1.0 if study.direction == "max" else -1.0
    others = [
        signed(value_of(trial, name), direction_of(name))
        for name in study.further_objectives
    ]
    return (sign * trial.score, *others)


def signed(value: float | None, direction: Direction) -> float:
    """Return a value that is better the larger; the worst where there is none."""
    if value is None:
        return -math.inf
    return float(value) if direction == "max" else -float(value)


def front(trials: Sequence[Trial], study: Study) -> list[str]:
    """Return the ids of the trials that no other dominates, best score first.

    With one objective there is no front, and the list is empty.
    """
    if not study.further_objectives:
        return []
    points = {
        trial.trial_id: point
        for trial in trials
        if trial.state != "FAILED" and (point := point_of(trial, study)) is not None
    }
    names = list(points)
    best = [names[i] for i in next(layers(list(points.values())), [])]
    return sorted(best, key=lambda name: (tuple(-x for x in points[name]), name))


def best_first(points: Sequence[Point]) -> list[int]:
    """Return the places of points, front by front, the least crowded of a front first.

    The best of each objective are equally far from others; of them the one with the
    larger values is first, and of equal points the one that is given first. With one
    objective this is the order of the values.
    """
    if points and len(points[0]) == 1:
        return sorted(range(len(points)), key=lambda i: (-points[i][0], i))
    order: list[int] = []
    for layer in layers(points):
        space = dict(zip(layer, crowding([points[i] for i in layer]), strict=True))
        order += sorted(layer, key=lambda i: (-space[i], tuple(-x for x in points[i])))
    return order


def layers(points: Sequence[Point]) -> Iterator[list[int]]:
    """Yield the places of the front, of the front without that one, and so on."""
    values = np.array(points)
    if not len(values):
        return
    better = np.ones((len(values), len(values)), bool)  # [i, j]: i dominates j
    unlike = np.zeros_like(better)
    for axis in values.T:
        better &= axis[:, None] >= axis
        unlike |= axis[:, None] != axis
    better &= unlike
    above, left = better.sum(axis=0), np.ones(len(values), bool)
    while left.any():
        layer = left & (above == 0)
        yield np.flatnonzero(layer).tolist()
        above -= better[layer].sum(axis=0)
        left &= ~layer


def crowding(points: Sequence[Point]) -> list[float]:
    """Return the distance between each point's neighbours, summed over objectives.

    The best and the worst of each objective have none on one side: infinite.
    """
    result = [0.0] * len(points)
    for axis in range(len(points[0]) if points else 0):
        order = sorted(range(len(points)), key=lambda i: (points[i][axis], points[i]))
        values = [points[i][axis] for i in order]
        finite = [value for value in values if math.isfinite(value)]
        spread = (finite[-1] - finite[0]) if finite else 0.0
        for place, i in enumerate(order):
            if place in (0, len(order) - 1):
                result[i] = math.inf
            elif spread and all(map(math.isfinite, values[place - 1 : place + 2])):
                result[i] += (values[place + 1] - values[place - 1]) / spread
    return result
