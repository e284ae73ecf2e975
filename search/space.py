"""The verb `space`: each knob of a study, its range and condition, and the cost."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from search.beginning.inputs import prepared_data
from search.beginning.predicted import epoch_seconds
from search.beginning.preparation import suited
from search.beginning.study_checks import check_study
from search.datasets.sources import Say, ignore
from search.machine.backend import load_keras
from search.oracles import check_limits, entry_of, planned
from search.spaces import declare_space, described
from search.studies import Study
from search.training.loop import make_hypermodel
from search.wording import counted, duration


def space(study: Study, data_dir: Path | None, say: Say = ignore) -> dict[str, Any]:
    """Return the study's knobs and what searching them costs.

    Args:
        say: told what takes seconds.

    Raises:
        InputError: the study cannot be run as it is.
    """
    check_limits(check_study(study))
    data = prepared_data(study, data_dir, say)
    say("Timing an epoch of the default network")
    load_keras()
    with suited():
        hypermodel = make_hypermodel(study, data, study.epochs)
        declared = declare_space(hypermodel, study.fixed, study.narrowed)
    trials, epochs = planned(study) or (None, None)
    seconds = epoch_seconds(study, hypermodel, declared, data)
    return {
        "study": study.name,
        "hypermodel": study.hypermodel,
        "knobs": described(declared, hypermodel),
        "baselines": hypermodel.baselines,
        "tuner": study.tuner,
        "epochs": study.epochs,
        "predicted_trials": trials,
        "predicted_epochs": epochs,
        "predicted_epoch_seconds": round(seconds, 3),
        "predicted_seconds": epochs and round(seconds * epochs, 1),
    }


def print_space(description: dict[str, Any], console: Console) -> None:
    """Print the space as two tables, what can be drawn and why; then the cost."""
    knobs = description["knobs"]
    ranges = Table("knob", "range", "default", "only when", box=None, pad_edge=False)
    sources = Table("knob", "what it is", "source", box=None, pad_edge=False)
    for table in (ranges, sources):
        table.columns[0].no_wrap = True
        table.columns[0].style = "bold"
        table.columns[-1].style = "dim"
        for column in table.columns[1:]:
            column.overflow = "fold"
    for knob in knobs:
        default = "" if knob["kind"] == "fixed" else shown_value(knob["default"])
        ranges.add_row(knob["name"], range_text(knob), default, knob["condition"])
        sources.add_row(knob["name"], knob["about"], knob["source"])
    for table in (ranges, sources):
        console.print(table, highlight=False)
        console.print()
    if description["baselines"]:
        names = ", ".join(description["baselines"])
        console.print(f"baselines: {names}", highlight=False)
    console.print(cost_text(description), highlight=False)


def range_text(knob: dict[str, Any]) -> str:
    """Return a knob's range, with the values that are there on request."""
    extra = [shown_value(value) for value in knob.get("on_request", ())]
    asked = f" ({', '.join(extra)} by --fix)" if extra else ""
    return f"{knob['range']}{asked}"


def shown_value(value: Any) -> str:
    """Return a default as it is typed: `0.001`, `true`, `cosine`."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def cost_text(description: dict[str, Any]) -> str:
    """Say what the search will cost, as far as that is known."""
    epoch = duration(description["predicted_epoch_seconds"])
    measured = f"an epoch of the default network takes about {epoch} here"
    if description["predicted_trials"] is None:
        return f"{description['tuner']}: {measured}"
    most = "up to " if entry_of(description["tuner"]).may_end_early else ""
    count = counted(description["predicted_trials"], "trial")
    return (
        f"{description['tuner']}: {most}{count},"
        f" {counted(description['predicted_epochs'], 'epoch')} in all, at most"
        f" {description['epochs']} a trial; {measured},"
        f" so all about {duration(description['predicted_seconds'])} in one worker"
    )
