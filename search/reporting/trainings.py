"""The trainings behind comparisons and paths, each counted once.

What several comparisons or paths share was trained once: a training is the same where
knob values and seed are.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from search.comparing.comparisons import AblationPath, folder_of
from search.records import Values
from search.reporting.records import StudyRecords


@dataclass(frozen=True)
class Training:
    """One configuration and seed; what a path does not tell of it is 0 or False."""

    values: Values
    seed: int
    epochs: int
    seconds: float = 0.0
    has_failed: bool = False

    @property
    def identity(self) -> str:
        return folder_of(self.values, self.seed)


def trainings_of(records: StudyRecords) -> list[Training]:
    """Return the trainings of all comparisons and paths.

    Of a training that comparisons and paths share, what a comparison says; of one of
    several paths, the most epochs.
    """
    found: dict[str, Training] = {}
    for comparison in records.comparisons.values():
        for run in comparison.runs:
            failed = run.score is None
            one = Training(run.values, run.seed, run.epochs, run.seconds, failed)
            found.setdefault(one.identity, one)
    by_path: dict[str, Training] = {}
    for path in records.ablations.values():
        for one in path_trainings(path, records.study.epochs):
            before = by_path.get(one.identity)
            if before is None or before.epochs < one.epochs:
                by_path[one.identity] = one
    return [*found.values(), *(one for key, one in by_path.items() if key not in found)]


def path_trainings(path: AblationPath, epochs: int) -> Iterator[Training]:
    """Yield the start of a path and every candidate, for each seed.

    Args:
        epochs: of the start.
    """
    for seed in path.seeds:
        yield Training(path.steps[0].values, seed, epochs)
        for values, candidate_epochs, _ in candidates_of(path):
            yield Training(values, seed, candidate_epochs)


def candidates_of(path: AblationPath) -> Iterator[tuple[Values, int, bool]]:
    """Yield values, epochs and whether a seed failed, of every candidate of a path.

    The path records the values of those it chose; the others had the step before with
    one knob set as it was set later.
    """
    target: dict[str | None, Any] = {step.knob: step.after for step in path.steps[1:]}
    for before, step in zip(path.steps, path.steps[1:], strict=False):
        for candidate in step.candidates:
            values: dict[str, Any] = step.values
            if candidate.knob != step.knob:
                values = {**before.values, candidate.knob: target.get(candidate.knob)}
            yield values, candidate.epochs, candidate.score is None


def failed_candidates(records: StudyRecords) -> set[str]:
    """Return the configurations of paths of which at least one seed failed.

    Those a comparison has trained, too, are left out: it knows of each seed.
    """
    compared = {
        folder_of(run.values, 0) for c in records.comparisons.values() for run in c.runs
    }
    found = set()
    for path in records.ablations.values():
        start = path.steps[0]
        tried = [(start.values, 0, start.score is None), *candidates_of(path)]
        found |= {folder_of(values, 0) for values, _, failed in tried if failed}
    return found - compared
