"""The verb `space`: each knob of a study, its range and condition, and the cost."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from hypermodels.knobs import KNOBS
from search.backend import load_keras
from search.inputs import check_study, prepared_data
from search.oracles import check_tuner, planned
from search.spaces import condition_of, declare_space, range_of
from search.studies import Study
from search.training import make_hypermodel


def space(study: Study, data_dir: Path | None) -> dict[str, Any]:
    """Return the study's knobs and what searching them costs.

    Raises:
        InputError: the study cannot be run as it is.
    """
    check_tuner(study.tuner)
    data = prepared_data(check_study(study), data_dir)
    load_keras()
    hypermodel = make_hypermodel(study, data, study.epochs)
    declared = declare_space(hypermodel, study.fixed)
    plan = planned(study)
    return {
        "study": study.name,
        "hypermodel": study.hypermodel,
        "knobs": [
            {
                "name": knob.name,
                "kind": type(knob).__name__.lower(),
                "range": range_of(knob),
                "default": knob.default,
                "condition": condition_of(knob),
                "source": KNOBS.get(knob.name, ""),
            }
            for knob in declared.space
        ],
        "tuner": study.tuner,
        "epochs": study.epochs,
        "predicted_trials": plan and plan[0],
        "predicted_epochs": plan and plan[1],
    }


def print_space(description: dict[str, Any], console: Console) -> None:
    """Print the space, a knob a paragraph: range, default, condition, source."""
    for knob in description["knobs"]:
        default = knob["default"]
        text = f"{default:g}" if isinstance(default, float) else str(default)
        line = Text(knob["name"], style="bold")
        line.append(f"  {knob['range']}", style="default")
        if knob["kind"] != "fixed":
            line.append(f"  (default {text})", style="dim")
        if knob["condition"]:
            line.append(f"  only when {knob['condition']}", style="dim")
        console.print(line)
        if knob["source"]:
            console.print(Padding(Text(knob["source"], style="dim"), (0, 0, 0, 4)))
    if description["predicted_trials"] is not None:
        console.print(
            f"{description['tuner']}: {description['predicted_trials']} trials,"
            f" {description['predicted_epochs']} epochs in all,"
            f" at most {description['epochs']} a trial"
        )
