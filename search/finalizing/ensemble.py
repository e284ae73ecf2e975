"""Greedy choice of an ensemble on validation predictions, bagged.

Source: Caruana et al. 2004, "Ensemble selection from libraries of models": start with
the best model and add, with replacement, the one whose addition scores best. The answer
is the best ensemble on the way, the first being the best single model alone: so the
ensemble is never worse than it on the predictions it was chosen by.

A choice by so many looks at one validation set fits its chance, too. `select_bagged`
repeats it, as section 2.3 of the paper does, for random halves of the models (and the
best one), each time on images drawn with replacement, and averages the weights. Where
that is worse on validation than the best single model, the plain choice is kept, which
never is.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.datasets.sources import VOID
from search.records import JUDGED, Task
from search.scoring.calibration import EPSILON, stride_of
from search.scoring.columns import (
    TOP,
    PixelCounts,
    chunks,
    count_pixels,
    label_statistics,
)
from search.scoring.evaluation import check_shapes, overlap, score

Array = NDArray[Any]

MAX_MEMBERS = 5
ROUNDS = 20
# Bags, and steps in each: 20 × 8 votes.
BAGS = 20
BAG_ROUNDS = 8
# Pixels the greedy steps look at; the final choice looks at all of them.
SAMPLED_PIXELS = 1_000_000


def select(
    predictions: Mapping[str, Array],
    targets: Array,
    task: Task,
    *,
    metric: str | None = None,
    max_members: int = MAX_MEMBERS,
    rounds: int = ROUNDS,
) -> dict[str, float]:
    """Choose members and their weights, which sum to 1, heaviest first.

    Args:
        predictions: name -> validation probabilities; see `search.scoring.evaluation`.
        metric: as in `score`.
        max_members: most different models in the ensemble.
        rounds: most models counted with repetition; weights are multiples of 1/n.
    """
    for probabilities in predictions.values():
        check_shapes(task, probabilities, targets)
    if not predictions or max_members < 1 or rounds < 1:
        raise ValueError(
            "Expected at least one prediction, member and round. Received:"
            f" {len(predictions)} predictions, max_members={max_members},"
            f" rounds={rounds}."
        )
    names = sorted(predictions)
    judged = metric or JUDGED[task][0]

    def total(weights: Mapping[str, float]) -> tuple[float, ...]:
        return weighted_score(predictions, weights, targets, task, judged)

    singles = {name: total({name: 1.0}) for name in names}
    first = max(names, key=lambda name: singles[name])
    library, truth, _ = sampled(predictions, targets, task)
    order = steps(library, truth, judged, max_members, rounds, first)
    candidates = [weights_of(order[:count]) for count in range(1, len(order) + 1)]
    # max keeps the first of equals: the smallest ensemble that scores as well.
    return max(candidates, key=total)


def select_bagged(
    predictions: Mapping[str, Array],
    targets: Array,
    task: Task,
    *,
    metric: str | None = None,
    max_members: int = MAX_MEMBERS,
    bags: int = BAGS,
    seed: int = 0,
) -> tuple[dict[str, float], str]:
    """Choose members and weights by many greedy choices; return them and the method.

    Args:
        metric: as in `score`.

    Returns:
        name -> weight, summing to 1, heaviest first; and `bagged` or `greedy`.
    """
    judged = metric or JUDGED[task][0]
    plain = select(predictions, targets, task, metric=judged, max_members=max_members)
    names = sorted(predictions)
    alone = {
        name: weighted_score(predictions, {name: 1.0}, targets, task, judged)
        for name in names
    }
    best = max(names, key=lambda name: alone[name])
    library, truth, image_of = sampled(predictions, targets, task)
    starts = np.searchsorted(image_of, np.arange(len(targets) + 1))
    rng = np.random.default_rng(seed)
    votes: Counter[str] = Counter()
    for _ in range(bags):
        half = rng.choice(len(names), -(-len(names) // 2), replace=False)
        # With the best model in every bag, a weak one is added for what it adds to it.
        bagged_names = sorted({best, *(names[k] for k in half)})
        images = rng.integers(0, len(targets), len(targets))
        drawn = np.concatenate([np.arange(*starts[i : i + 2]) for i in images])
        bag = {name: library[name][drawn] for name in bagged_names}
        order = steps(bag, truth[drawn], judged, max_members, BAG_ROUNDS)
        votes.update(order)
    bagged = weights_of_votes(votes, max_members)
    if weighted_score(predictions, bagged, targets, task, judged) >= alone[best]:
        return bagged, "bagged"
    return plain, "greedy"


def weights_of_votes(votes: Mapping[str, int], most: int) -> dict[str, float]:
    """Return the shares of the `most` models with the most votes, heaviest first."""
    heaviest = sorted(votes.items(), key=lambda item: (-item[1], item[0]))[:most]
    total = sum(count for _, count in heaviest)
    return {name: count / total for name, count in heaviest}


def average(predictions: Mapping[str, Array], weights: Mapping[str, float]) -> Array:
    """Return the weighted mean of the members' probabilities as float32."""
    result: Array | None = None
    for name, weight in weights.items():
        part = np.asarray(predictions[name], np.float32) * np.float32(weight)
        result = part if result is None else np.add(result, part, out=result)
    if result is None:
        raise ValueError("Expected at least one member. Received: no weights.")
    return result


def weights_of(order: Sequence[str]) -> dict[str, float]:
    """Return name -> share of a list with repetition, heaviest first."""
    counts = sorted(Counter(order).items(), key=lambda item: (-item[1], item[0]))
    return {name: count / len(order) for name, count in counts}


def weighted_score(
    predictions: Mapping[str, Array],
    weights: Mapping[str, float],
    targets: Array,
    task: Task,
    metric: str,
) -> tuple[float, ...]:
    """Return the score of an average without holding all of it in memory."""
    if task == "classification":
        return score(task, average(predictions, weights), targets, metric)
    counts = []
    for part in chunks(targets):
        members = {name: predictions[name][part] for name in weights}
        counts.append(count_pixels(average(members, weights), targets[part], 0.5))
    return (overlap(joined(counts), metric),)


def joined(counts: Sequence[PixelCounts]) -> PixelCounts:
    """Return the counts of several runs of images as one."""
    columns = [
        (c.true_positives, c.false_positives, c.false_negatives, c.true_negatives)
        for c in counts
    ]
    return PixelCounts(
        *(np.concatenate(column) for column in zip(*columns, strict=True))
    )


def steps(
    library: Mapping[str, Array],
    truth: Array,
    metric: str,
    max_members: int,
    rounds: int,
    first: str | None = None,
) -> list[str]:
    """Add models one by one, each the best addition; ties by name."""
    order: list[str] = [] if first is None else [first]
    total = np.float32(0) if first is None else library[first].copy()
    while len(order) < rounds:
        is_full = len(set(order)) == max_members
        names = sorted(set(order)) if is_full else sorted(library)
        count = np.float32(len(order) + 1)
        scores = {
            name: quick_score((total + library[name]) / count, truth, metric)
            for name in names
        }
        best = max(names, key=lambda name: scores[name])
        order.append(best)
        total = total + library[best]
    return order


def sampled(
    predictions: Mapping[str, Array], targets: Array, task: Task
) -> tuple[dict[str, Array], Array, Array]:
    """Return what the greedy steps look at, in memory as float32.

    Classification: everything. Segmentation: pixels that are not void, as one row; a
    regular sample of them where there are more than `SAMPLED_PIXELS`.

    Returns:
        name -> probabilities, the truth, and the image that each row is of, ascending.
    """
    if task == "classification":
        library = {k: np.asarray(v, np.float32) for k, v in predictions.items()}
        return library, np.asarray(targets), np.arange(len(targets))
    chosen = np.arange(0, targets.size, stride_of(targets, SAMPLED_PIXELS))
    truth = np.take(targets, chosen)
    kept = truth != VOID
    library = {
        name: np.take(values, chosen)[kept].astype(np.float32)
        for name, values in predictions.items()
    }
    return library, truth[kept] == 1, chosen[kept] // targets[0].size


def quick_score(probabilities: Array, truth: Array, metric: str) -> tuple[float, ...]:
    """Return `score` for the arrays of `sampled`, without its other metrics."""
    if metric in JUDGED["classification"]:
        true = probabilities[np.arange(len(truth)), truth]
        likelihood = float(np.mean(np.log(np.maximum(true, EPSILON))))
        if metric == "top5_accuracy":
            right = label_statistics(probabilities, truth)[0] < TOP
        else:
            right = probabilities.argmax(axis=1) == truth
        return float(np.mean(right)), likelihood
    chosen = probabilities >= 0.5
    if metric == "pixel_accuracy":
        return (float(np.mean(chosen == truth)) if len(truth) else 1.0,)
    both, size = int((chosen & truth).sum()), int(chosen.sum()) + int(truth.sum())
    if metric == "foreground_iou":
        return (both / (size - both) if size else 1.0,)
    return (2 * both / size if size else 1.0,)
