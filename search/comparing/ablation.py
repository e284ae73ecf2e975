"""The ablation path: which knobs make one configuration better than another.

Source: Fawcett & Hoos 2016. Every knob in which the two differ is tried alone; the one
that gains most is set, and so on until the target is reached. Of many candidates only
those that lead after a third of the epochs are trained to the end, as in their racing
version; a promoted candidate is the same training going on.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from search.comparing.comparisons import Candidate, Run, Step
from search.comparing.variants import changed, differing
from search.records import Values
from search.scoring.paired import Difference, difference
from search.studies import Study

# As many candidates are trained to the end whatever they score early on.
FINALISTS = 2
SHARE = 3

Train = Callable[[Sequence[Run], int], list[Run]]


def most_epochs(knobs: int, epochs: int) -> int:
    """Return the epochs of a path over so many knobs, with one seed."""
    early = early_epochs(epochs)
    total = epochs  # the default configuration
    for left in range(knobs, 0, -1):
        full = kept(left)
        total += full * epochs + (left - full) * early
    return total


def early_epochs(epochs: int) -> int:
    """Return after how many epochs candidates are compared first."""
    return math.ceil(epochs / SHARE)


def kept(candidates: int) -> int:
    """Return how many of the candidates are trained to the end."""
    return min(candidates, max(FINALISTS, math.ceil(candidates / SHARE)))


def make_path(
    space: Any,
    start: Values,
    target: Values,
    seeds: Sequence[int],
    study: Study,
    train: Train,
    resolution: float = 0.0,
) -> list[Step]:
    """Return the steps from `start` to `target`, the first being `start` itself.

    Args:
        train: trains runs to a number of epochs and returns them with their scores.
        resolution: as in `difference`.
    """
    runs = train(runs_of("start", start, seeds), study.epochs)
    steps = [Step(None, None, None, mean_score(runs), None, None, None, start, [])]
    current, scores = start, by_seed(runs)
    while left := differing(space, current, target):
        options = {k: changed(space, current, k, target[k]) for k in left}
        ended, candidates = race(options, seeds, study, train, len(steps))
        knob = best_of(ended, study) or left[0]
        found = gain(by_seed(ended.get(knob, [])), scores, knob, resolution)
        steps.append(
            Step(
                knob,
                current[knob],
                target[knob],
                mean_score(ended.get(knob, [])),
                found.mean,
                found.low,
                found.high,
                options[knob],
                candidates,
            )
        )
        current, scores = options[knob], by_seed(ended.get(knob, []))
    return steps


def race(
    options: dict[str, Values],
    seeds: Sequence[int],
    study: Study,
    train: Train,
    number: int,
) -> tuple[dict[str, list[Run]], list[Candidate]]:
    """Train candidates; return the runs of those trained to the end, and all scores."""
    runs = {
        knob: runs_of(f"step{number}-{knob}", values, seeds)
        for knob, values in options.items()
    }
    full, early = kept(len(runs)), early_epochs(study.epochs)
    scores: dict[str, Candidate] = {}
    leading = list(runs)
    if full < len(runs):
        ended = trained(runs, early, train)
        scores = candidates_of(ended, early)
        leading = ranked_knobs(ended, study)[:full]
    ended = trained({knob: runs[knob] for knob in leading}, study.epochs, train)
    scores |= candidates_of(ended, study.epochs)
    return ended, list(scores.values())


def trained(
    runs: dict[str, list[Run]], epochs: int, train: Train
) -> dict[str, list[Run]]:
    """Train the runs of several knobs in one go."""
    ended = train([run for group in runs.values() for run in group], epochs)
    by_id = {run.run_id: run for run in ended}
    return {knob: [by_id[run.run_id] for run in group] for knob, group in runs.items()}


def candidates_of(ended: dict[str, list[Run]], epochs: int) -> dict[str, Candidate]:
    """Return the record of each candidate."""
    return {k: Candidate(k, mean_score(runs), epochs) for k, runs in ended.items()}


def runs_of(name: str, values: Values, seeds: Sequence[int]) -> list[Run]:
    """Return a run of one configuration for each seed."""
    return [Run(f"path-{name}-seed{seed}", name, seed, values) for seed in seeds]


def mean_score(runs: Sequence[Run]) -> float | None:
    """Return the mean score, or None where one of the runs has none."""
    scores = [run.score for run in runs if run.score is not None]
    return (
        math.fsum(scores) / len(scores) if scores and len(scores) == len(runs) else None
    )


def by_seed(runs: Sequence[Run]) -> dict[int, float]:
    """Return seed -> score of the runs that have one."""
    return {run.seed: run.score for run in runs if run.score is not None}


def ranked_knobs(ended: dict[str, list[Run]], study: Study) -> list[str]:
    """Return the knobs by mean score, best first; those that failed come last."""
    sign = 1 if study.direction == "max" else -1

    def place(knob: str) -> float:
        score = mean_score(ended[knob])
        return math.inf if score is None else -sign * score

    return sorted(ended, key=place)


def best_of(ended: dict[str, list[Run]], study: Study) -> str | None:
    """Return the knob whose setting scored best, or None where all failed."""
    ranking = ranked_knobs(ended, study)
    return ranking[0] if ranking and mean_score(ended[ranking[0]]) is not None else None


def gain(
    after: dict[int, float], before: dict[int, float], knob: str, resolution: float
) -> Difference:
    """Return what setting a knob changed, paired by seed."""
    both = [(after[seed], before[seed]) for seed in after if seed in before]
    return difference(knob, "before", both, resolution)
