"""Asynchronous successive halving on a budget of epochs, as pure functions.

Source: Li et al. 2020 (ASHA): whatever is in the best 1/factor of what its rung has
seen goes on at once, the highest rung first; otherwise a new configuration starts. No
worker ever waits for a rung to be complete. Here it has an end, too: a number of
configurations and of epochs.
"""

from dataclasses import dataclass

from search.oracles.brackets import (
    Bracket,
    Decision,
    Promote,
    Start,
    Stop,
    Wait,
    best_waiting,
    cut_bracket,
    full_bracket,
    most_halvings,
    open_places,
    places_below,
    plan_brackets,
    top_share,
)
from search.oracles.ledger import Ledger, Run


@dataclass(frozen=True)
class Plan:
    """What a search may spend.

    Attributes:
        bracket: its rungs, the most configurations, and how many at least of them
            reach each rung.
        epochs: of all trainings that do not fail; a failed one gives its epochs back.
    """

    bracket: Bracket
    epochs: int


def plan_halving(epochs: int, factor: int, trials: int | None = None) -> Plan:
    """Return the plan for `trials` configurations.

    Args:
        epochs: most epochs of a trial, any number.
        trials: None = as many as cost what one sweep of Hyperband does.
    """
    rungs = full_bracket(epochs, factor, most_halvings(epochs, factor))
    if trials is not None:
        bracket = cut_bracket(rungs, trials, factor)
        return Plan(bracket, bracket.total_epochs)
    sweep = sum(bracket.total_epochs for bracket in plan_brackets(epochs, factor))
    size = 1
    while cut_bracket(rungs, size + 1, factor).total_epochs <= sweep:
        size += 1
    return Plan(cut_bracket(rungs, size, factor), sweep)


def decide(plan: Plan, ledger: Ledger, factor: int, exhausted: bool) -> Decision:
    """Return what a free worker should do.

    Args:
        ledger: runs of bracket 0, with scores that are better the larger they are.
        exhausted: no new configuration can be drawn from the space.
    """
    bracket = plan.bracket
    left = plan.epochs - spent(bracket, ledger)
    idle = Wait() if ledger.is_running else Stop()
    if left <= 0:
        return idle
    free = left - reserve(bracket, ledger)
    for rung in reversed(range(len(bracket.epochs) - 1)):
        run = top_share(ledger, 0, rung, factor)
        if run is not None and (
            climbs(ledger, rung) or step(bracket, rung + 1) <= free
        ):
            return promotion(bracket, run, left)
    may_start = not exhausted and places_below(bracket, ledger, 0) > 0
    if may_start and bracket.epochs[0] <= free:
        return Start(0)
    for rung in reversed(range(len(bracket.epochs) - 1)):
        run = best_waiting(ledger, 0, rung)
        is_open = open_places(bracket, ledger, 0, rung + 1) > 0
        if run is not None and is_open and (climbs(ledger, rung) or left == free):
            return promotion(bracket, run, left)
    return idle


def spent(bracket: Bracket, ledger: Ledger) -> int:
    """Return the epochs of all runs that have not failed."""
    return sum(
        ledger.at(0, rung).sound * step(bracket, rung)
        for rung in range(len(bracket.epochs))
    )


def step(bracket: Bracket, rung: int) -> int:
    """Return the epochs from the rung below to this one."""
    return bracket.epochs[rung] - (bracket.epochs[rung - 1] if rung else 0)


def climbs(ledger: Ledger, rung: int) -> bool:
    """Return whether no run above `rung` is left, so that it holds the leader."""
    return not any(at.alive for (_, other), at in ledger.rungs.items() if other > rung)


def reserve(bracket: Bracket, ledger: Ledger) -> int:
    """Return the epochs that bring the most advanced run to the top.

    They are kept back, so that every search ends with a full training.
    """
    reached = [
        bracket.epochs[rung] for (_, rung), at in ledger.rungs.items() if at.alive
    ]
    return bracket.epochs[-1] - max(reached, default=0)


def promotion(bracket: Bracket, run: Run, left: int) -> Promote:
    """Return the promotion of a run; the last one has what is left of the epochs."""
    short = left < step(bracket, run.rung + 1)
    return Promote(run, bracket.epochs[run.rung] + left if short else None)
