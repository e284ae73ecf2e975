"""What the shell offers where a name is typed; loads nothing heavy."""

from collections.abc import Iterable
from pathlib import Path

import typer

import hypermodels
from search.paths import studies_in
from search.studies import READY_MADE


def searched_studies(context: typer.Context, incomplete: str) -> list[str]:
    """Return the studies below the results folder of the command line."""
    folder = Path(context.params.get("results_dir") or "results")
    return starting_with(incomplete, studies_in(folder))


def all_studies(context: typer.Context, incomplete: str) -> list[str]:
    """Return ready-made studies, searched ones and study files."""
    ready = [study.name for study in READY_MADE]
    files = [str(path) for path in sorted(Path().glob("*.toml"))]
    return starting_with(incomplete, [*ready, *files]) + [
        name for name in searched_studies(context, incomplete) if name not in ready
    ]


def tuner_names(incomplete: str) -> list[str]:
    """Return the tuners, those of installed packages included."""
    from search.oracles import known

    return starting_with(incomplete, known())


def hypermodel_names(incomplete: str) -> list[str]:
    """Return the hypermodels, those of installed packages included."""
    return starting_with(incomplete, hypermodels.known())


def starting_with(incomplete: str, words: Iterable[str]) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]
