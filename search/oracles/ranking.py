"""One order of configurations that were trained for different numbers of epochs."""

from bisect import bisect_right
from collections.abc import Sequence

from search.oracles.ledger import Ledger, Run


def ranked(ledger: Ledger) -> list[Run]:
    """Return the latest completed run of every configuration, the best first.

    Two configurations are compared at the highest rung both have reached: the order of
    those that came further is kept, and one that stopped at a rung stands behind as
    many of them as were better there.
    """
    histories = [
        history for run in ledger.runs.values() if (history := past(ledger, run))
    ]
    order: list[list[Run]] = []
    for rung in sorted({history[-1].rung for history in histories}, reverse=True):
        here = [history for history in histories if history[-1].rung == rung]
        order = merged(order, sorted(here, key=lambda history: history[-1].place), rung)
    return [history[-1] for history in order]


def past(ledger: Ledger, run: Run) -> list[Run]:
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
    order: Sequence[list[Run]], here: Sequence[list[Run]], rung: int
) -> list[list[Run]]:
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
