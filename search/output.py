"""How verbs answer: a document for programs, or words and tables for a person."""

import json
import shlex
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.markup import escape

from search.paths import LOGS, RESULTS, StudyPaths


def human(as_json: bool, quiet: bool = False) -> Console:
    """Return where a person reads: not stdout where that carries JSON.

    Args:
        quiet: print nothing there; errors and results go other ways.
    """
    return Console(stderr=as_json, quiet=quiet)


def output(value: Any, as_json: bool, show: Callable[[Console], None]) -> None:
    """Print a verb's result, for a program or for a person."""
    if as_json:
        print(json.dumps(value, ensure_ascii=False))
    else:
        show(human(False))


def plainly(console: Console) -> Callable[[str], None]:
    """Return what prints a line as it is, however long."""

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    return say


def next_command(console: Console, command: str) -> None:
    """Say what to type next."""
    shown = f"next: [bold]vision-tuner {escape(command)}[/bold]"
    console.print(shown, highlight=False, soft_wrap=True)


def where(paths: StudyPaths) -> str:
    """Return the options that say where a study lies, unless they are the defaults."""
    options = {"--results-dir": paths.results_dir, "--logs-dir": paths.logs_dir}
    usual = (RESULTS, LOGS)
    return "".join(
        f" {option} {shlex.quote(str(folder))}"
        for option, folder in options.items()
        if folder not in usual
    )
