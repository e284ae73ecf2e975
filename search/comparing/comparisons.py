"""Records of controlled comparisons: runs, paired differences, the ablation path."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from search.files import read_json, write_json
from search.orders import Outcome
from search.records import (
    Direction,
    History,
    State,
    Value,
    Values,
    best_epoch_of,
    of_this_version,
)
from search.scoring.paired import Difference, difference, resolution_of, verdict
from search.training.accumulation import IN_HALVES


@dataclass(frozen=True)
class Run:
    """One training of a comparison.

    Attributes:
        value: label of the compared value.
        score: best objective on validation; None where it failed.
        seconds: of training and validation.
        parameters: all weights of the network.
        notes: what went wrong on the way and was mended.
    """

    run_id: str
    value: str
    seed: int
    values: Values
    state: State = "WAITING"
    score: float | None = None
    best_epoch: int | None = None
    epochs: int = 0
    seconds: float = 0.0
    parameters: int | None = None
    message: str | None = None
    history: History = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Comparison:
    """The values of one knob, everything else equal.

    Attributes:
        knob: the only one that was changed, but for those it makes active.
        base: `default` or the trial it started from.
        values: label -> value; the first is the reference.
        differences: of every other value to the reference.
        verdicts: the differences in words.
        about: study, data, environment and command.
        images: validation images of every score; None in records of versions whose
            differences and verdicts did not look at them.
    """

    knob: str
    base: str
    objective: str
    direction: Direction
    values: Values
    seeds: list[int]
    runs: list[Run]
    differences: list[Difference]
    verdicts: list[str]
    about: dict[str, Any]
    images: int | None = None


@dataclass(frozen=True)
class Candidate:
    """A knob that could be set next, and what that scored.

    Attributes:
        score: mean over the seeds; of `epochs` epochs, fewer where it fell behind.
    """

    knob: str
    score: float | None
    epochs: int


@dataclass(frozen=True)
class Step:
    """One step of an ablation path; the first has no knob."""

    knob: str | None
    before: Value | None
    after: Value | None
    score: float | None
    gain: float | None
    low: float | None
    high: float | None
    values: Values
    candidates: list[Candidate]


@dataclass(frozen=True)
class AblationPath:
    """From the default configuration, or a plainer one, to the best, a knob at a time.

    Source: Fawcett & Hoos 2016, "Analysing differences between algorithm
    configurations through ablation".
    """

    base: str
    target: str
    objective: str
    direction: Direction
    seeds: list[int]
    steps: list[Step]
    about: dict[str, Any]


def folder_of(values: Values, seed: int) -> str:
    """Return the folder name of a training: a hash of all that decides it."""
    text = json.dumps([sorted(values.items()), seed])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def ended_run(run: Run, outcome: Outcome, objective: str, direction: Direction) -> Run:
    """Return a run with what its worker reported."""
    best = best_of_run(outcome.state, outcome.history, objective, direction)
    lengths = [len(values) for values in outcome.history.values()]
    return dataclasses.replace(
        run,
        state=outcome.state,
        score=None if best is None else outcome.history[objective][best - 1],
        best_epoch=best,
        epochs=max(lengths, default=0),
        seconds=outcome.seconds,
        parameters=outcome.parameters,
        message=outcome.message,
        history=outcome.history,
        notes=outcome.notes,
    )


def best_of_run(
    state: State, history: History, objective: str, direction: Direction
) -> int | None:
    """Return the epoch a run is scored by; None where it did not reach its end.

    What a run had before it failed is no result of its configuration.
    """
    ended = state == "COMPLETED"
    return best_epoch_of(history, objective, direction) if ended else None


def differences_of(
    runs: Sequence[Run],
    labels: Sequence[str],
    objective: str,
    images: int | None,
) -> list[Difference]:
    """Return each value's paired difference to the first one.

    Args:
        images: as in `Comparison`.
    """
    resolution = None if images is None else resolution_of(objective, images)
    scores = {(run.value, run.seed): run.score for run in runs}
    seeds = sorted({run.seed for run in runs})
    reference = labels[0]
    found = []
    for value in labels[1:]:
        pairs = [(scores.get((value, s)), scores.get((reference, s))) for s in seeds]
        both = [(a, b) for a, b in pairs if a is not None and b is not None]
        found.append(difference(value, reference, both, resolution))
    return found


def verdicts_of(
    runs: Sequence[Run],
    differences: Sequence[Difference],
    objective: str,
    direction: Direction,
    images: int | None,
) -> list[str]:
    """Return every difference in words, with what its trainings went through.

    Args:
        images: as in `Comparison`.
    """
    sign = 1 if direction == "max" else -1
    told = [verdict(found, sign, objective, images) for found in differences]
    if images is None:
        return told
    return [
        " ".join([text, *reservations(runs, (found.value, found.reference))])
        for text, found in zip(told, differences, strict=True)
    ]


def reservations(runs: Sequence[Run], values: Sequence[str]) -> list[str]:
    """Say which of these values lost trainings, or went on in half batches."""
    said = []
    for value in values:
        own = [run for run in runs if run.value == value]
        failed = sum(run.score is None for run in own)
        halved = sum(any(IN_HALVES in note for note in run.notes) for run in own)
        if failed:
            said.append(f"{value} failed with {failed} of {len(own)} seeds.")
        if halved:
            said.append(
                f"{value} ran out of memory with {halved} of {len(own)} seeds and went"
                " on in half batches."
            )
    return said


def shared_seeds(record: Comparison) -> list[int]:
    """Return the seeds of all values that finished at all: means of these compare."""
    finished: dict[str, set[int]] = {}
    for run in record.runs:
        if run.score is not None:
            finished.setdefault(run.value, set()).add(run.seed)
    own = finished.values()
    return [seed for seed in record.seeds if all(seed in seeds for seeds in own)]


def write_comparison(path: Path, record: Comparison | AblationPath) -> None:
    """Write a comparison or a path."""
    write_json(path, dataclasses.asdict(record))


def read_comparison(path: Path) -> Comparison:
    """Read what `write_comparison` wrote of a comparison.

    Raises:
        InputError: it is damaged, or of another version.
    """
    with of_this_version(path):
        item = read_json(path)
        runs = [Run(**run) for run in item.pop("runs")]
        found = [Difference(**entry) for entry in item.pop("differences")]
        return Comparison(runs=runs, differences=found, **item)


def read_path(path: Path) -> AblationPath:
    """Read what `write_comparison` wrote of an ablation path.

    Raises:
        InputError: it is damaged, or of another version.
    """
    with of_this_version(path):
        item = read_json(path)
        steps = [
            Step(candidates=[Candidate(**c) for c in step.pop("candidates")], **step)
            for step in item.pop("steps")
        ]
        return AblationPath(steps=steps, **item)
