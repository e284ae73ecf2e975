"""The settings of a study in words."""

import dataclasses
from typing import Any

from hypermodels import is_from_scratch
from search.studies import Study
from search.wording import counted, setting_text

# Fields of a study that other facts, headings and sections tell, or its command.
TOLD_ELSEWHERE = (
    *("name", "task", "dataset", "hypermodel", "tuner", "objective", "direction"),
    *("epochs", "trials", "fixed", "narrowed", "limit_train", "image_size", "weights"),
    *("seed", "patience", "data_dir", "budget_seconds", "further_objectives"),
    "total_epochs",
)


def pretrained_weights(study: Study) -> str:
    """Return where the pretrained part of a network has its weights from."""
    return "none" if is_from_scratch(study.hypermodel) else study.weights


def budget_text(study: Study) -> str:
    """Return what a study may spend."""
    parts = [f"{counted(study.epochs, 'epoch')} a trial", planned(study.trials)]
    if study.total_epochs is not None:
        parts.append(f"no more than {counted(study.total_epochs, 'epoch')} in all")
    if study.budget_seconds is not None:
        parts.append(f"{study.budget_seconds:,.0f} s")
    return ", ".join(parts)


def planned(trials: int | None) -> str:
    """Return how many trials a study asks for."""
    return (
        "as many trials as the tuner plans"
        if trials is None
        else counted(trials, "trial")
    )


def further_settings(study: Study) -> list[tuple[str, str]]:
    """Return one fact: the settings unlike the defaults that no other fact tells."""
    told = [
        setting_text(field.name, getattr(study, field.name))
        for field in dataclasses.fields(Study)
        if field.name not in TOLD_ELSEWHERE
        and getattr(study, field.name) != default_of(field)
    ]
    return [("Further settings", ", ".join(told))] if told else []


def default_of(field: "dataclasses.Field[Any]") -> Any:
    """Return what a field of a study is where nothing is said of it."""
    made = field.default_factory
    return field.default if made is dataclasses.MISSING else made()
