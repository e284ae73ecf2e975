"""Writes docs/cli.md from the command line itself: `make docs`."""

import re
from pathlib import Path
from typing import Any

import typer

from search.cli import app
from search.commands.examples import EXAMPLES

PAGE = Path(__file__).parent / "cli.md"
HEAD = """\
# The command line

`vision-tuner` and `python -m search` are the same. Exit codes: 0 done, 1 failed, 2
wrong usage or input. What `--json` prints is one document on standard output; the rest
goes to standard error. Each verb says its part of this page with `--help`; the page is
written by `make docs`.
"""


def page() -> str:
    """Return the page."""
    group: Any = typer.main.get_command(app)
    return "\n".join([HEAD, *map(section, group.commands.values())])


def section(command: Any) -> str:
    """Return what the page says of one verb."""
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option"]
    shown = " ".join(name_of(a) if a.required else f"[{name_of(a)}]" for a in arguments)
    usage = " ".join(filter(None, [command.name, shown, "[OPTIONS]"]))
    lines = [
        f"## {command.name}",
        "",
        command.help.strip(),
        "",
        f"Usage: `{usage}`",
        "",
    ]
    for argument in arguments:
        if getattr(argument, "help", None):
            lines.append(f"- `{name_of(argument)}`: {clean(argument.help)}")
    if any(getattr(argument, "help", None) for argument in arguments):
        lines.append("")
    lines += ["| option | what |", "| --- | --- |", *map(row, options), ""]
    examples = EXAMPLES.get(command.name, ())
    lines += [f"    vision-tuner {example}" for example in examples]
    return "\n".join([*lines, ""])


def name_of(argument: Any) -> str:
    """Return how an argument is called."""
    name = str(argument.metavar or argument.name.upper())
    return re.sub(r"[\[\]{}]", "", name)


def row(option: Any) -> str:
    """Return one option as a row of the table."""
    flag = max(option.opts, key=len)
    usual = option.show_default if isinstance(option.show_default, str) else None
    if usual is None and option.default is not None and not option.is_flag:
        usual = str(option.default)
    plain = "N" if (usual or "").isdigit() else option.name.upper()
    value = "" if option.is_flag else f" {option.metavar or plain}"
    text = clean(option.help or "")
    return f"| `{flag}{value}` | {text}{f' Default: {usual}.' if usual else ''} |"


def clean(text: str) -> str:
    """Return a text as a cell of a table holds it."""
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page())
