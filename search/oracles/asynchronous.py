"""Asynchronous successive halving on a budget of epochs, as pure functions.

Source: Li et al. 2020 (ASHA): whatever is in the best 1/factor of what its rung has
seen goes on at once, the highest rung first; otherwise a new configuration starts. No
worker ever waits for a rung to be complete. Here it has an end, too: a number of
configurations and of epochs.
"""

import math
from bisect import bisect_left
from dataclasses import dataclass, replace

from search.oracles.brackets import (
    FACTOR,
    Bracket,
    Decision,
    Promote,
    Start,
    Stop,
    Wait,
    cut_bracket,
    open_places,
    places_below,
    plan_brackets,
)
from search.oracles.ledger import Ledger, Run

# As Optuna's; measured against 3, with more peers, in docs/tuners-evidence.md.
HALVING_FACTOR = 4


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


@dataclass(frozen=True)
class Purse:
    """What is left to spend, and what for.

    Attributes:
        left: epochs.
        goal: epochs that the most advanced run is to reach with them.
        is_last: nothing comes after them, so that the last promotion may have fewer
            epochs than its rung.
    """

    left: int
    goal: int
    is_last: bool = True


def plan_halving(epochs: int, factor: int, trials: int | None = None) -> Plan:
    """Return the plan for `trials` configurations.

    Args:
        epochs: most epochs of a trial, any number.
        trials: None = as many as cost what one sweep of Hyperband does.
    """
    rungs = Bracket(rungs_to(epochs, factor), ())
    if trials is not None:
        bracket = cut_bracket(rungs, trials, factor)
        return Plan(bracket, bracket.total_epochs)
    sweep = sum(bracket.total_epochs for bracket in plan_brackets(epochs, FACTOR))
    size = 1
    while cut_bracket(rungs, size + 1, factor).total_epochs <= sweep:
        size += 1
    bracket = cut_bracket(rungs, size, factor)
    # what is too little for another full training is for first epochs
    first = bracket.sizes[0] + (sweep - bracket.total_epochs) // rungs.epochs[0]
    return Plan(replace(bracket, sizes=(first, *bracket.sizes[1:])), sweep)


def rungs_to(epochs: int, factor: int) -> tuple[int, ...]:
    """Return rungs from one epoch to `epochs`, as near to a factor apart as is even.

    One epoch is the least that can be ordered. Rungs that are counted down from
    `epochs` by the exact factor would leave steps of one or two epochs at the bottom,
    each with a whole cut (docs/tuners-evidence.md).
    """
    cuts = max(1, round(math.log(epochs, factor)))
    return tuple(sorted({round(epochs ** (cut / cuts)) for cut in range(cuts + 1)}))


def decide(
    plan: Plan,
    ledger: Ledger,
    factor: int,
    exhausted: bool,
    epochs_left: int | None = None,
) -> Decision:
    """Return what a free worker should do.

    Where the epochs that are left are too few for anything more, that is what the plan
    goes on with: there may be more of them another time.

    Args:
        ledger: runs of bracket 0, with scores that are better the larger they are.
        exhausted: no new configuration can be drawn from the space.
        epochs_left: that may be ordered, whatever is planned; None = any number.
    """
    bracket = plan.bracket
    whole = Purse(plan.epochs - spent(bracket, ledger), bracket.epochs[-1])
    if epochs_left is not None and epochs_left < whole.left:
        within = Purse(epochs_left, within_reach(bracket, ledger, epochs_left), False)
        decision = next_step(bracket, ledger, factor, exhausted, within)
        if not isinstance(decision, Stop):
            return decision
    return next_step(bracket, ledger, factor, exhausted, whole)


def within_reach(bracket: Bracket, ledger: Ledger, left: int) -> int:
    """Return the epochs of the highest rung to which some run can still be brought."""
    start = reached(bracket, ledger)
    reachable = (epochs for epochs in bracket.epochs if epochs - start <= left)
    return max(reachable, default=0)  # a limit that was lowered may be exceeded


def next_step(
    bracket: Bracket, ledger: Ledger, factor: int, exhausted: bool, purse: Purse
) -> Decision:
    """Return what a free worker should do with what is left."""
    left = purse.left
    idle = Wait() if ledger.is_running else Stop()
    if left <= 0:
        return idle
    free = left - reserve(bracket, ledger, 0, purse.goal)
    rungs = [
        rung
        for rung in reversed(range(len(bracket.epochs) - 1))
        if purse.is_last or step(bracket, rung + 1) <= left
    ]
    for rung in rungs:
        run = next_promotion(ledger, rung, factor)
        if run is not None and (
            climbs(ledger, rung) or step(bracket, rung + 1) <= free
        ):
            return promotion(bracket, run, left)
    first = bracket.epochs[0]
    may_start = not exhausted and places_below(bracket, ledger, 0) > 0
    if may_start and first + reserve(bracket, ledger, first, purse.goal) <= left:
        return Start(0)
    for rung in rungs:
        run = best_waiting(ledger, rung)
        is_open = open_places(bracket, ledger, 0, rung + 1) > 0
        if run is not None and is_open and (climbs(ledger, rung) or left == free):
            return promotion(bracket, run, left)
    return idle


def next_promotion(ledger: Ledger, rung: int, factor: int) -> Run | None:
    """Return the best run in the top 1/factor of its rung that should go on."""
    at = ledger.at(0, rung)
    share = len(at.finished) // factor
    for place in at.waiting:
        if max(at.going_on, at.better_than(place)) >= share:
            break
        run = ledger.runs[place[1]]
        if not is_twin(ledger, run):
            return run
    return None


def is_twin(ledger: Ledger, run: Run) -> bool:
    """Return whether another training with the same scores at two rungs went on.

    Knobs without effect make the same training twice; it need not be finished twice.
    """
    if run.parent is None:
        return False
    before = ledger.runs[run.parent].score
    at = ledger.at(run.bracket, run.rung)
    for run_id in at.with_score(run.place[0]):
        other = ledger.runs[run_id]
        same = other.parent and ledger.runs[other.parent].score == before
        if same and run_id not in at.lost and other.place not in at.waiting:
            return True
    return False


def best_waiting(ledger: Ledger, rung: int) -> Run | None:
    """Return the best run of a rung that was not promoted; twins come last."""
    waiting = [ledger.runs[run_id] for _, run_id in ledger.at(0, rung).waiting]
    return min(waiting, key=lambda run: (is_twin(ledger, run), run.place), default=None)


def may_be_promoted(plan: Plan, ledger: Ledger, factor: int) -> set[str]:
    """Return the ids of finished runs that may yet be promoted.

    At the first rung that is the top share of all configurations there will be.
    """
    first, top = ledger.at(0, 0), len(plan.bracket.epochs) - 1
    share = max(plan.bracket.sizes[0] // factor, *plan.bracket.sizes[1:2], 0)
    # The further behind, the more are better.
    last = bisect_left(first.waiting, share, key=first.better_than) if top else 0
    found = {run_id for _, run_id in first.waiting[:last]}
    for rung in range(1, top):
        found |= {run_id for _, run_id in ledger.at(0, rung).waiting}
    return found


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


def reserve(bracket: Bracket, ledger: Ledger, least: int, goal: int) -> int:
    """Return the epochs that bring the most advanced run to the goal.

    They are kept back, so that every search ends with a full training.

    Args:
        least: epochs that some run will have reached in any case.
        goal: epochs of that training.
    """
    return max(0, goal - max(least, reached(bracket, ledger)))


def reached(bracket: Bracket, ledger: Ledger) -> int:
    """Return the epochs that the most advanced run has, or is being trained to."""
    alive = [bracket.epochs[rung] for (_, rung), at in ledger.rungs.items() if at.alive]
    return max(alive, default=0)


def promotion(bracket: Bracket, run: Run, left: int) -> Promote:
    """Return the promotion of a run; the last one has what is left of the epochs."""
    short = left < step(bracket, run.rung + 1)
    return Promote(run, bracket.epochs[run.rung] + left if short else None)
