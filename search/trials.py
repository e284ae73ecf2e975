"""The verb `trials`: every trial, best first, failures with their message."""

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from search.errors import InputError
from search.live import duration, shown, values_text
from search.paths import StudyPaths
from search.records import Trial, ranked, read_records
from search.studies import Study, open_study


def trials(paths: StudyPaths) -> list[dict[str, Any]]:
    """Return the trials as in trials.json.

    Raises:
        InputError: nothing was searched under this name, or its record is damaged.
    """
    open_study(paths)
    try:
        return [asdict(trial) for trial in read_records(paths.trials, Trial)]
    except ValueError as error:
        raise InputError(
            "a readable record of trials", str(error), "Restore the file from a copy"
        ) from error


def print_trials(paths: StudyPaths, console: Console) -> None:
    """Print the trials as a table: those with a score first, best on top."""
    study = open_study(paths)
    records = [Trial(**item) for item in trials(paths)]
    best = ranked(records, study.direction)
    rest = [trial for trial in records if trial not in best]
    console.print(trials_table(study, [*best, *rest]))
    failed = [trial for trial in records if trial.failure]
    console.print(f"{len(records)} trials, {len(failed)} failed")


def trials_table(study: Study, records: list[Trial]) -> Table:
    """Return the table; knobs that never differ are left to `study.json`."""
    table = Table(box=None, pad_edge=False)
    for heading, side in (
        ("trial", "left"),
        ("state", "left"),
        (study.objective, "right"),
        ("at epoch", "right"),
        ("epochs", "right"),
        ("time", "right"),
        ("parameters", "right"),
        ("values, or why it failed", "left"),
    ):
        is_last = heading.startswith("values")
        table.add_column(
            heading,
            justify="right" if side == "right" else "left",
            no_wrap=not is_last,
            overflow="fold",
        )
    for trial in records:
        table.add_row(
            trial.trial_id,
            Text(trial.state, style="red" if trial.failure else ""),
            shown(trial.score),
            str(trial.best_epoch or "–"),
            str(trial.epochs),
            duration(trial.seconds),
            f"{trial.parameters:,}" if trial.parameters else "–",
            explained(trial),
        )
    return table


def explained(trial: Trial) -> Text:
    """Return what there is to say of a trial: its failure and its values."""
    text = Text()
    if trial.message:
        kind = f"{trial.failure}: " if trial.failure else ""
        text.append(f"{kind}{trial.message}\n", style="red" if trial.failure else "")
    return text.append(values_text(trial.values), style="dim")
