"""Which checkpoints can still matter, and the removal of the others.

Kept are those of trials that run or may go on, and the best and last ones of the top
trials, which finalize continues and combines.
"""

import contextlib
from collections.abc import Collection, Mapping
from typing import Any

from search.bookkeeping.asked import parent_of
from search.paths import StudyPaths
from search.records import Direction, Trial, leading
from search.training.checkpoints import BEST, LAST, PREVIOUS

# As many as finalize looks at beside its finalists.
TOP_KEPT = 10


def kept(
    trials: Mapping[str, Trial],
    may_go_on: Collection[str] | None,
    direction: Direction,
    top: int = TOP_KEPT,
) -> set[str]:
    """Return the ids of the trials whose checkpoints are kept.

    Args:
        may_go_on: paused trials the tuner may still continue; None = all of them.
    """
    running, paused, ended_well = set(), set(), []
    for trial in trials.values():
        if trial.state in ("RUNNING", "WAITING"):
            running.add(trial.trial_id)
        elif trial.state in ("COMPLETED", "PAUSED"):
            ended_well.append(trial)
            if trial.state == "PAUSED":
                paused.add(trial.trial_id)
    if may_go_on is not None:
        paused &= set(may_go_on)
    best = {trial.trial_id for trial in leading(ended_well, direction, top)}
    return running | paused | best


def may_go_on(oracle: Any, roots: Mapping[str, str]) -> Collection[str] | None:
    """Return the trials an oracle may still continue, or None where it does not tell.

    Those it waits for among them: stopped ones, and some not yet ordered.

    Args:
        roots: keras-tuner's id -> trial id.
    """
    ask = getattr(oracle, "may_go_on", None)
    if ask is None:
        return None
    ids = [*ask()]
    for asked in oracle.ongoing_trials.values():
        ids += [asked.trial_id, parent_of(asked)]
    return {roots[asked_id] for asked_id in ids if asked_id in roots}


def sweep(
    paths: StudyPaths,
    trials: Mapping[str, Trial],
    may_go_on: Collection[str] | None,
    direction: Direction,
) -> set[str]:
    """Remove the checkpoints that can no longer matter; return whose they were.

    Args:
        trials: those that have any; the others are no better than these.
    """
    over = trials.keys() - kept(trials, may_go_on, direction)
    for trial_id in over:
        for name in (BEST, LAST, PREVIOUS):
            with contextlib.suppress(OSError):
                (paths.trial(trial_id) / name).unlink(missing_ok=True)
    return over


def checkpoint_bytes(paths: StudyPaths) -> int:
    """Return the size of a study's checkpoints; hard links count once."""
    sizes = {}
    for path in paths.work.rglob("*.npz"):
        with contextlib.suppress(OSError):
            stat = path.stat()
            sizes[stat.st_dev, stat.st_ino] = stat.st_size
    return sum(sizes.values())
