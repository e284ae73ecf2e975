"""The schedule of Hyperband as pure functions: what to start, promote or wait for.

Source: Li et al. 2018 (Hyperband, algorithm 1) for the brackets; Li et al. 2020 (ASHA)
for promoting before a rung is complete, which is done here only where the outcome is
already certain, or where a worker would otherwise be idle.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

DRAWS_PER_PLACE = 10


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
class Run:
    """One configuration at one rung; INFEASIBLE ones were never trained."""

    run_id: str
    bracket: int
    rung: int
    parent: str | None
    state: Literal["RUNNING", "COMPLETED", "FAILED", "INFEASIBLE"]
    score: float | None = None


@dataclass(frozen=True)
class Start:
    """Start a new configuration in a bracket."""

    bracket: int


@dataclass(frozen=True)
class Promote:
    """Continue the configuration of `run` at the next rung of its bracket."""

    run: Run


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
    brackets: Sequence[Bracket], runs: Sequence[Run], factor: int, exhausted: bool
) -> Decision:
    """Return what a free worker should do.

    Certain promotions come first, the highest rung before the others, so that full
    trainings are had early; then new configurations; then promotions that are good so
    far, rather than an idle worker.

    Args:
        runs: with scores that are better the larger they are.
        exhausted: no new configuration can be drawn from the space.
    """
    rungs = [
        (bracket, rung)
        for bracket in range(len(brackets))
        for rung in range(len(brackets[bracket].sizes) - 1)
    ]
    rungs.sort(key=lambda place: (-brackets[place[0]].epochs[place[1]], place))
    for bracket, rung in rungs:
        run = certain_promotion(brackets, runs, bracket, rung, exhausted)
        if run is not None:
            return Promote(run)
    for bracket in range(len(brackets)):
        if not is_filled(brackets, runs, bracket, exhausted):
            return Start(bracket)
    for bracket, rung in rungs:
        run = eager_promotion(brackets, runs, bracket, rung, factor)
        if run is not None:
            return Promote(run)
    return Wait() if any(run.state == "RUNNING" for run in runs) else Stop()


def at_rung(runs: Sequence[Run], bracket: int, rung: int) -> list[Run]:
    """Return the runs of one rung."""
    return [run for run in runs if (run.bracket, run.rung) == (bracket, rung)]


def is_filled(
    brackets: Sequence[Bracket], runs: Sequence[Run], bracket: int, exhausted: bool
) -> bool:
    """Return whether all configurations of a bracket have been started."""
    return exhausted or not places_below(brackets, runs, bracket)


def places_below(brackets: Sequence[Bracket], runs: Sequence[Run], bracket: int) -> int:
    """Return how many configurations a bracket may still start.

    Infeasible ones are replaced, up to `DRAWS_PER_PLACE` draws a place: a space of
    nothing else must end, too.
    """
    started = at_rung(runs, bracket, 0)
    size = brackets[bracket].sizes[0]
    feasible = sum(run.state != "INFEASIBLE" for run in started)
    return max(0, min(size - feasible, DRAWS_PER_PLACE * size - len(started)))


def candidates(runs: Sequence[Run], bracket: int, rung: int) -> list[Run]:
    """Return the finished runs of a rung not yet promoted, best first."""
    promoted = {run.parent for run in at_rung(runs, bracket, rung + 1)}
    finished = [
        run
        for run in at_rung(runs, bracket, rung)
        if run.state == "COMPLETED" and run.run_id not in promoted
    ]
    return sorted(finished, key=lambda run: (-(run.score or 0.0), run.run_id))


def may_be_promoted(brackets: Sequence[Bracket], runs: Sequence[Run]) -> set[str]:
    """Return the ids of finished runs for which a higher rung still has a place."""
    return {
        run.run_id
        for bracket, of in enumerate(brackets)
        for rung in range(len(of.sizes) - 1)
        if open_places(brackets, runs, bracket, rung + 1) > 0
        for run in candidates(runs, bracket, rung)
    }


def open_places(
    brackets: Sequence[Bracket], runs: Sequence[Run], bracket: int, rung: int
) -> int:
    """Return how many may still be promoted to `rung`.

    A configuration that fails, here or at a higher rung, frees its place.
    """
    alive = [run for run in at_rung(runs, bracket, rung) if not is_lost(run, runs)]
    return brackets[bracket].sizes[rung] - len(alive)


def is_lost(run: Run, runs: Sequence[Run]) -> bool:
    """Return whether a run, or what it was promoted to, has failed."""
    if run.state in ("FAILED", "INFEASIBLE"):
        return True
    promoted = [other for other in runs if other.parent == run.run_id]
    return any(is_lost(other, runs) for other in promoted)


def still_to_come(
    brackets: Sequence[Bracket],
    runs: Sequence[Run],
    bracket: int,
    rung: int,
    exhausted: bool,
) -> int:
    """Return how many more results a rung may yet see."""
    running = sum(run.state == "RUNNING" for run in at_rung(runs, bracket, rung))
    if rung == 0:
        if is_filled(brackets, runs, bracket, exhausted):
            return running
        return running + places_below(brackets, runs, bracket)
    below = len(candidates(runs, bracket, rung - 1)) + still_to_come(
        brackets, runs, bracket, rung - 1, exhausted
    )
    return running + min(below, open_places(brackets, runs, bracket, rung))


def certain_promotion(
    brackets: Sequence[Bracket],
    runs: Sequence[Run],
    bracket: int,
    rung: int,
    exhausted: bool,
) -> Run | None:
    """Return a run that is among the best of its rung whatever is still to come."""
    waiting = candidates(runs, bracket, rung)
    places = open_places(brackets, runs, bracket, rung + 1)
    coming = still_to_come(brackets, runs, bracket, rung, exhausted)
    return waiting[0] if waiting and coming < places else None


def eager_promotion(
    brackets: Sequence[Bracket],
    runs: Sequence[Run],
    bracket: int,
    rung: int,
    factor: int,
) -> Run | None:
    """Return a run in the top 1/factor of what its rung has seen so far."""
    waiting = candidates(runs, bracket, rung)
    if not waiting or open_places(brackets, runs, bracket, rung + 1) <= 0:
        return None
    finished = [run for run in at_rung(runs, bracket, rung) if run.state == "COMPLETED"]
    better = sum((run.score or 0.0) > (waiting[0].score or 0.0) for run in finished)
    return waiting[0] if better < len(finished) // factor else None
