"""The verb `trials`: every trial, best first, failures with their message."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from search.driving.retention import checkpoint_bytes
from search.errors import InputError
from search.machine.memory import size_text
from search.paths import StudyPaths
from search.records import Trial, Values, ranked, read_records
from search.scoring.pareto import front, objectives_of, value_of
from search.studies import Study, open_study
from search.wording import counted, duration, shown, values_text


def trials(paths: StudyPaths) -> list[dict[str, Any]]:
    """Return the trials as in trials.json; with several objectives also `on_front`.

    Raises:
        InputError: nothing was searched under this name, or its record is damaged.
    """
    study, records = open_study(paths), readable(paths)
    if not study.further_objectives:
        return [asdict(trial) for trial in records]
    best = front(records, study)
    return [asdict(trial) | {"on_front": trial.trial_id in best} for trial in records]


def readable(paths: StudyPaths) -> list[Trial]:
    """Return the trials on record.

    Raises:
        InputError: the file is damaged.
    """
    try:
        return read_records(paths.trials, Trial)
    except ValueError as error:
        raise InputError(
            "a readable record of trials",
            str(error),
            "Repeat the search, which mends it",
        ) from error


def print_trials(paths: StudyPaths, console: Console) -> None:
    """Print the trials, those with a score first and best on top.

    Knobs that are the same in all trials are listed once, at the end. With several
    objectives, `*` marks the trials that no other beats in all of them.
    """
    study, records = open_study(paths), readable(paths)
    on_front = set(front(records, study))
    best = ranked(records, study.direction)
    known = {trial.trial_id for trial in best}
    ordered = [*best, *(t for t in records if t.trial_id not in known)]
    shared = shared_values([trial.values for trial in records])
    console.print(heading(study), style="bold")
    for trial in ordered:
        text = row(trial, "*" if trial.trial_id in on_front else "")
        console.print(text, style="red" if trial.failure else "", highlight=False)
        if trial.score is not None and study.further_objectives:
            console.print(indented(further_text(trial, study)))
        if trial.message:
            kind = f"{trial.failure}: " if trial.state == "FAILED" else ""
            console.print(indented(f"{kind}{trial.message}"))
        for note in trial.notes:
            console.print(indented(note, style="yellow"))
        own = {k: v for k, v in trial.values.items() if k not in shared}
        if own:
            console.print(indented(values_text(own), style="dim"))
    if shared:
        console.print(f"the same in all: {values_text(shared)}", highlight=False)
    size = size_text(checkpoint_bytes(paths))
    console.print(f"{how_many(records)}; checkpoints {size}", highlight=False)
    if on_front:
        names = ", ".join(objectives_of(study))
        console.print(f"* {len(on_front)} on the front of {names}", highlight=False)


def how_many(records: Sequence[Trial]) -> str:
    """Return `17 trials, 2 failed, 1 infeasible`."""
    parts = [counted(len(records), "trial")]
    for state in ("FAILED", "INFEASIBLE"):
        count = sum(trial.state == state for trial in records)
        parts += [f"{count} {state.lower()}"] if count else []
    return ", ".join(parts)


def heading(study: Study) -> str:
    """Return the first line of the table."""
    return line("trial", "state", study.objective, "at", "epochs", "time", "parameters")


def further_text(trial: Trial, study: Study) -> str:
    """Return `latency_ms 1.25, flops 4.1e+06`."""
    return ", ".join(
        f"{name} {'–' if (value := value_of(trial, name)) is None else f'{value:.4g}'}"
        for name in study.further_objectives
    )


def row(trial: Trial, mark: str = "") -> str:
    """Return a trial's line."""
    return line(
        trial.trial_id + mark,
        trial.state,
        shown(trial.score),
        str(trial.best_epoch or "–"),
        str(trial.epochs),
        duration(trial.seconds),
        f"{trial.parameters:,}" if trial.parameters else "–",
    )


def line(*cells: str) -> str:
    """Set seven cells in columns; all fits in 80."""
    widths = (-6, -10, 13, 4, 7, 9, 12)
    return " ".join(
        cell.ljust(-width) if width < 0 else cell.rjust(width)
        for cell, width in zip(cells, widths, strict=True)
    )


def indented(text: str, style: str = "") -> Padding:
    """Return text below its trial's line."""
    return Padding(Text(text, style=style), (0, 0, 0, 7))


def shared_values(values: list[Values]) -> Values:
    """Return the knobs that have one value in all trials; none for a single trial."""
    if len(values) < 2:
        return {}
    first, *others = values
    return {
        knob: value
        for knob, value in first.items()
        if all(other.get(knob) == value for other in others)
    }
