"""The schedule of Hyperband as pure functions: what to start, promote or wait for.

Source: Li et al. 2018 (Hyperband, algorithm 1) for the brackets; Li et al. 2020 (ASHA)
for promoting before a rung is complete, which is done here only where the outcome is
already certain, or where a worker would otherwise be idle.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log

from search.oracles.ledger import Ledger, Run

DRAWS_PER_PLACE = 10
# Hyperband's: of the trials of a rung one in three goes on.
FACTOR = 3


@dataclass(frozen=True)
class Bracket:
    """Successive halving: `sizes[i]` trials reach `epochs[i]` epochs."""

    epochs: tuple[int, ...]
    sizes: tuple[int, ...]

    @property
    def total_epochs(self) -> int:
        """Epochs trained in all, where every rung continues the one below."""
        steps = [b - a for a, b in zip((0, *self.epochs), self.epochs, strict=False)]
        return sum(n * step for n, step in zip(self.sizes, steps, strict=True))


@dataclass(frozen=True)
class Start:
    """Start a new configuration in a bracket."""

    bracket: int


@dataclass(frozen=True)
class Promote:
    """Continue the configuration of `run` at the next rung of its bracket.

    Attributes:
        epochs: to reach, where they are fewer than the rung's.
    """

    run: Run
    epochs: int | None = None


@dataclass(frozen=True)
class Wait:
    """Nothing can be started until a run ends."""


@dataclass(frozen=True)
class Stop:
    """Everything planned has been done."""


Decision = Start | Promote | Wait | Stop


def plan_brackets(epochs: int, factor: int, trials: int | None = None) -> list[Bracket]:
    """Return the brackets of one Hyperband sweep, or of as many as `trials` fill.

    Args:
        epochs: most epochs of a trial, any number.
        trials: configurations in all; None = one sweep. The last bracket is cut.
    """
    sweep = [
        full_bracket(epochs, factor, halvings)
        for halvings in range(most_halvings(epochs, factor), -1, -1)
    ]
    if trials is None:
        return sweep
    brackets: list[Bracket] = []
    left = trials
    while left > 0:
        bracket = sweep[len(brackets) % len(sweep)]
        brackets.append(cut_bracket(bracket, min(left, bracket.sizes[0]), factor))
        left -= bracket.sizes[0]
    return brackets


def keras_tuner_brackets(epochs: int, factor: int) -> list[Bracket]:
    """Return the brackets of keras-tuner 1.4.8's `HyperbandOracle`, of one iteration.

    They differ from Hyperband's in how they round.
    """
    last = ceil(1 + log(epochs, factor))
    brackets = []
    for halvings in range(most_halvings(epochs, factor), -1, -1):
        powers = [factor**left for left in range(halvings, -1, -1)]
        rungs = tuple(ceil(epochs / power) for power in powers)
        sizes = tuple(ceil(last / (halvings + 1) * power) for power in powers)
        brackets.append(Bracket(rungs, sizes))
    return brackets


def most_halvings(epochs: int, factor: int) -> int:
    """Return the largest s with factor**s <= epochs."""
    halvings = 0
    while factor ** (halvings + 1) <= epochs:
        halvings += 1
    return halvings


def full_bracket(epochs: int, factor: int, halvings: int) -> Bracket:
    """Return the bracket that halves `halvings` times (s in Hyperband's algorithm)."""
    most = most_halvings(epochs, factor)
    size = -(-(most + 1) * factor**halvings // (halvings + 1))
    rungs = tuple(
        max(1, round(epochs / factor ** (halvings - rung)))
        for rung in range(halvings + 1)
    )
    return cut_bracket(Bracket(rungs, (size,) * len(rungs)), size, factor)


def cut_bracket(bracket: Bracket, size: int, factor: int) -> Bracket:
    """Return the bracket with `size` configurations; one of them always ends it."""
    sizes = tuple(max(1, size // factor**rung) for rung in range(len(bracket.epochs)))
    return Bracket(bracket.epochs, sizes)


def decide(
    brackets: Sequence[Bracket], ledger: Ledger, factor: int, exhausted: bool
) -> Decision:
    """Return what a free worker should do.

    Certain promotions come first, the highest rung before the others, so that full
    trainings are had early; then new configurations; then promotions that are good so
    far, rather than an idle worker.

    Args:
        ledger: runs, with scores that are better the larger they are.
        exhausted: no new configuration can be drawn from the space.
    """
    rungs = [
        (bracket, rung)
        for bracket in range(len(brackets))
        for rung in range(len(brackets[bracket].sizes) - 1)
        if ledger.at(bracket, rung).waiting
    ]
    rungs.sort(key=lambda place: (-brackets[place[0]].epochs[place[1]], place))
    for bracket, rung in rungs:
        run = certain_promotion(brackets[bracket], ledger, bracket, rung, exhausted)
        if run is not None:
            return Promote(run)
    for bracket in range(len(brackets)):
        if not exhausted and places_below(brackets[bracket], ledger, bracket):
            return Start(bracket)
    for bracket, rung in rungs:
        run = eager_promotion(brackets[bracket], ledger, bracket, rung, factor)
        if run is not None:
            return Promote(run)
    return Wait() if ledger.is_running else Stop()


def places_below(bracket: Bracket, ledger: Ledger, index: int) -> int:
    """Return how many configurations a bracket may still start.

    Infeasible ones are replaced, up to `DRAWS_PER_PLACE` draws a place: a space of
    nothing else must end, too.
    """
    rung = ledger.at(index, 0)
    size = bracket.sizes[0]
    feasible = rung.started - rung.infeasible
    return max(0, min(size - feasible, DRAWS_PER_PLACE * size - rung.started))


def may_be_promoted(brackets: Sequence[Bracket], ledger: Ledger) -> set[str]:
    """Return the ids of finished runs for which a higher rung still has a place."""
    return {
        run_id
        for index, bracket in enumerate(brackets)
        for rung in range(len(bracket.sizes) - 1)
        if open_places(bracket, ledger, index, rung + 1) > 0
        for _, run_id in ledger.at(index, rung).waiting
    }


def open_places(bracket: Bracket, ledger: Ledger, index: int, rung: int) -> int:
    """Return how many may still be promoted to `rung`.

    A configuration that fails, here or at a higher rung, frees its place.
    """
    return bracket.sizes[rung] - ledger.at(index, rung).alive


def still_to_come(
    bracket: Bracket, ledger: Ledger, index: int, rung: int, exhausted: bool
) -> int:
    """Return how many more results a rung may yet see."""
    running = len(ledger.at(index, rung).running)
    if rung == 0:
        new = 0 if exhausted else places_below(bracket, ledger, index)
        return running + new
    waiting = len(ledger.at(index, rung - 1).waiting)
    below = waiting + still_to_come(bracket, ledger, index, rung - 1, exhausted)
    return running + min(below, open_places(bracket, ledger, index, rung))


def certain_promotion(
    bracket: Bracket, ledger: Ledger, index: int, rung: int, exhausted: bool
) -> Run | None:
    """Return a run that is among the best of its rung whatever is still to come."""
    places = open_places(bracket, ledger, index, rung + 1)
    # Most brackets of a long search have no place left, which is soon seen.
    if places <= 0 or places <= still_to_come(bracket, ledger, index, rung, exhausted):
        return None
    return best_waiting(ledger, index, rung)


def eager_promotion(
    bracket: Bracket, ledger: Ledger, index: int, rung: int, factor: int
) -> Run | None:
    """Return a run in the top 1/factor of what its rung has seen so far."""
    if open_places(bracket, ledger, index, rung + 1) <= 0:
        return None
    return top_share(ledger, index, rung, factor)


def best_waiting(ledger: Ledger, index: int, rung: int) -> Run | None:
    """Return the best run of a rung that was not promoted."""
    waiting = ledger.at(index, rung).waiting
    return ledger.runs[waiting[0][1]] if waiting else None


def top_share(ledger: Ledger, index: int, rung: int, factor: int) -> Run | None:
    """Return the best run not promoted, where it is in its rung's top 1/factor.

    Runs that failed after their promotion leave their place in the top to the next.
    """
    at = ledger.at(index, rung)
    if not at.waiting or at.better_than(at.waiting[0]) >= len(at.finished) // factor:
        return None
    return best_waiting(ledger, index, rung)
