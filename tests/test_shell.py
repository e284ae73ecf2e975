"""Habits of a shell: versions, completion, dry runs, help, colours and widths."""

import json
import os
import re
import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from search.cli import app, run
from search.commands.examples import EXAMPLES

VERBS = [command.callback.__name__ for command in app.registered_commands]


def completed(words: str, cwd: Path) -> list[str]:
    """Return what bash would offer behind these words."""
    environment = os.environ | {
        "_VISION_TUNER_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    offered = subprocess.run(
        [sys.executable, "-c", "from search.cli import main; main()"],
        env=environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    return offered.stdout.split()


def test_the_shell_completes_verbs_options_and_names(tmp_path: Path) -> None:
    (tmp_path / "results" / "flowers").mkdir(parents=True)
    (tmp_path / "results" / "flowers" / "study.json").write_text("{}")
    (tmp_path / "study.toml").write_text("")
    assert completed("vision-tuner sea", tmp_path) == ["search"]
    assert "--dry-run" in completed("vision-tuner search --d", tmp_path)
    assert completed("vision-tuner search s", tmp_path) == [
        "shapes-convnet",
        "shapes-unet",
        "study.toml",
    ]
    assert completed("vision-tuner finalize ", tmp_path) == ["flowers"]
    assert completed("vision-tuner search --tuner b", tmp_path) == ["bayesian", "bohb"]


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    version = metadata.version("vision-tuner")
    assert capsys.readouterr().out.strip() == f"vision-tuner {version}"


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_every_verb_ends_in_examples(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([verb, "--help"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    shown = " ".join(lines[lines.index("Examples:") :])
    for words in EXAMPLES[verb]:
        assert f"vision-tuner {words}" in shown


def test_a_dry_run_says_the_cost_and_records_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = ["--trials", "3", "--epochs", "9", "--tuner", "random", "--workers", "1"]
    assert run(["search", "shapes-convnet", *plan, "--dry-run"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "Would search shapes-convnet: random, 3 trials, 27 epochs" in text
    assert "on 1 worker process, about" in text
    plan += ["--total-epochs", "20", "--json"]
    assert run(["search", "shapes-convnet", *plan, "--dry-run"]) == 0
    said = capsys.readouterr()
    assert "random, up to 3 trials, 20 epochs in all" in " ".join(said.err.split())
    assert json.loads(said.out)["predicted_epochs"] == 20
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "suggestion"),
    [
        (["serch"], "Did you mean 'search'?"),
        (["search", "shapes-convnt"], "Did you mean shapes-convnet?"),
        (["search", "shapes-convnet", "--epoch", "3"], "--epochs"),
        (
            ["search", "shapes-convnet", "--tuner", "hyperbnd"],
            "Did you mean hyperband?",
        ),
        (["search", "--dataset", "x", "--hypermodel", "unt"], "Did you mean unet?"),
        (
            ["search", "--dataset", "shaps", "--hypermodel", "unet"],
            "Did you mean shapes?",
        ),
        (["search", "shapes-unet", "--fix", "dept=2"], "Did you mean depth?"),
        (["compare", "shapes-unet", "--vary", "dept"], "Did you mean depth?"),
    ],
)
def test_typos_are_answered_with_what_was_meant(
    arguments: list[str],
    suggestion: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == 2
    assert suggestion in capsys.readouterr().err


@pytest.mark.parametrize("columns", [60, 200])
def test_help_fits_the_terminal_and_has_no_colours_where_none_are_wanted(
    columns: int, tmp_path: Path
) -> None:
    environment = os.environ | {
        "COLUMNS": str(columns),
        "NO_COLOR": "1",
        "TTY_COMPATIBLE": "1",
    }
    environment.pop("FORCE_COLOR", None)
    shown = subprocess.run(
        [sys.executable, "-m", "search", "search", "--help"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    plain = re.sub(r"\x1b\[[\d;]*m", "", shown)
    widest = max(len(line.rstrip()) for line in plain.splitlines())
    assert widest == min(columns, 100)
    assert not re.search(r"\x1b\[(\d+;)*3[0-7]m", shown)


def test_a_command_that_is_terminated_leaves_nothing_half_written(
    tmp_path: Path,
) -> None:
    code = """
import os, signal, tempfile
from search import cli

def work(arguments):
    with tempfile.TemporaryDirectory(dir="."):
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()

cli.run = work
cli.main()
"""
    ended = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False)
    assert ended.returncode == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []
