"""One order of configurations that were trained for different numbers of epochs."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import combinations

from search.oracles.ledger import Ledger, Run

# The completed runs of a configuration, the first rung first.
History = list[Run]
# Configurations that must have reached a rung before it judges those below.
LEAST_COMPARED = 10


def ranked(histories: Sequence[History]) -> list[Run]:
    """Return the latest run of every configuration, the best first.

    Two configurations are compared at the highest rung both have reached: the order of
    those that came further is kept, and one that stopped at a rung stands behind as
    many of them as were better there.
    """
    order: list[History] = []
    for rung in sorted({history[-1].rung for history in histories}, reverse=True):
        here = [history for history in histories if history[-1].rung == rung]
        order = merged(order, sorted(here, key=lambda history: history[-1].place), rung)
    return [history[-1] for history in order]


def judging_rung(histories: Sequence[History]) -> int:
    """Return the highest rung that `LEAST_COMPARED` configurations have reached."""
    reached = sorted((past[-1].rung for past in histories), reverse=True)
    return reached[LEAST_COMPARED - 1] if len(reached) >= LEAST_COMPARED else 0


def trusted_rung(histories: Sequence[History]) -> int:
    """Return the rung from which on the scores of every rung are to be believed.

    A rung at which the judging one would order most pairs of configurations the other
    way round (Kendall's tau not above 0) misleads, and so may those below it.
    """
    judge = judging_rung(histories)
    judged = [past for past in histories if past[-1].rung >= judge]
    for rung in reversed(range(judge)):
        if agreement(judged, rung, judge) <= 0:
            return rung + 1
    return 0


def agreement(histories: Sequence[History], low: int, high: int) -> int:
    """Return how many more pairs two rungs order alike than the other way round."""
    scores = [(score_at(past, low), score_at(past, high)) for past in histories]
    return sum(
        sign((one[0] - other[0]) * (one[1] - other[1]))
        for one, other in combinations(scores, 2)
    )


def sign(number: float) -> int:
    """Return 1, 0 or -1."""
    return (number > 0) - (number < 0)


def histories_of(ledger: Ledger) -> list[History]:
    """Return the completed runs of every configuration whose latest has completed."""
    return [history for run in ledger.runs.values() if (history := past(ledger, run))]


def past(ledger: Ledger, run: Run) -> History:
    """Return a configuration's completed runs, the first rung first.

    Empty where `run` is not the latest of them.
    """
    if run.state != "COMPLETED" or run.run_id in ledger.continued:
        return []
    found = [run]
    while found[-1].parent is not None:
        found.append(ledger.runs[found[-1].parent])
    return found[::-1]


def merged(
    order: Sequence[History], here: Sequence[History], rung: int
) -> list[History]:
    """Return those that came further and those that stopped at `rung` in one order."""
    scores = sorted(-score_at(history, rung) for history in order)
    result: list[list[Run]] = []
    taken = 0
    for history in here:
        better = bisect_right(scores, -score_at(history, rung))
        result += order[taken:better]
        taken = max(taken, better)
        result.append(history)
    return result + list(order[taken:])


def score_at(history: Sequence[Run], rung: int) -> float:
    """Return the score of a configuration at a rung it has reached."""
    return next(run.score or 0.0 for run in history if run.rung == rung)
