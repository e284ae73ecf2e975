"""A tuner of one's own: the one of docs/own-tuner.md, one that stops early, and wrong
ones."""

import re
import sys
from pathlib import Path

import pytest
from entry_points import install
from small import ONE_GRAPH, fixed

from search import oracles
from search.cli import run
from search.files import read_json

PAGE = Path(__file__).parents[1] / "docs" / "own-tuner.md"
SMALL = ["--epochs", "1", "--limit-train", "128", "--workers", "0", *fixed(ONE_GRAPH)]
EVOLVED = ["shapes-convnet", "--tuner", "my_tuner:Evolution", "--name", "evolved"]

EARLY = """
import keras_tuner
import numpy as np


class Early(keras_tuner.Oracle):
    def __init__(self, max_epochs, **options):
        super().__init__(**options)
        self.max_epochs = max_epochs

    def populate_space(self, trial_id):
        trials = list(self.trials.values())
        if len(trials) < 2:
            return {"status": "RUNNING", "values": self.of(self._random_values(), 1)}
        if len(trials) > 2:
            return {"status": "STOPPED"}
        best = max(trials, key=lambda trial: trial.score)
        values = dict(best.hyperparameters.values)
        values["tuner/trial_id"] = best.trial_id
        return {"status": "RUNNING", "values": self.of(values, self.max_epochs)}

    def of(self, values, epochs):
        return values | {"tuner/epochs": np.int64(epochs)}


class Least(Early):
    def __init__(self, **options):
        super().__init__(**options)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the tuner of the page in it, and another one."""
    (tuner,) = re.findall(r"```python\n(# my_tuner.py.*?)```", PAGE.read_text(), re.S)
    assert len([line for line in tuner.splitlines() if line.strip()]) <= 34
    (tmp_path / "my_tuner.py").write_text(tuner)
    (tmp_path / "early.py").write_text(EARLY)
    monkeypatch.chdir(tmp_path)
    for module in ("my_tuner", "early"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    return tmp_path


def trials_of(folder: Path, name: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = read_json(
        folder / "results" / name / "trials.json"
    )
    return found


def test_it_proposes_goes_on_and_is_refused_when_it_has_changed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["search", *EVOLVED, *SMALL, "--trials", "1"]) == 0
    assert run(["search", *EVOLVED, *SMALL, "--trials", "2"]) == 0
    whole = ["--trials", "2", "--results-dir", "whole"]
    assert run(["search", *EVOLVED, *SMALL, *whole]) == 0
    in_parts = [trial["values"] for trial in trials_of(folder, "evolved")]
    assert len(in_parts) == 2
    assert in_parts[0] != in_parts[1]
    records = read_json(folder / "whole" / "evolved" / "trials.json")
    assert in_parts == [trial["values"] for trial in records]
    with (folder / "my_tuner.py").open("a") as file:
        file.write("\n")
    capsys.readouterr()
    assert run(["search", *EVOLVED, *SMALL, "--trials", "3"]) == 2
    assert "own tuner my_tuner:Evolution" in capsys.readouterr().err


def test_one_that_stops_early_lets_the_best_go_on(folder: Path) -> None:
    own = ["shapes-convnet", "--tuner", "early:Least", "--name", "early"]
    assert run(["search", *own, *SMALL, "--epochs", "3"]) == 0
    assert sorted(trial["epochs"] for trial in trials_of(folder, "early")) == [1, 3]


def test_what_goes_wrong_in_it_is_told_with_its_line(folder: Path) -> None:
    """An error of ours is a line; one of somebody's code needs its place."""
    with (folder / "early.py").open("a") as file:
        file.write("\n    def populate_space(self, trial_id):\n")
        file.write("        raise RuntimeError('not like this')\n")
    own = ["shapes-convnet", "--tuner", "early:Least", "--name", "early"]
    with pytest.raises(RuntimeError, match="not like this"):
        run(["search", *own, *SMALL])


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("my_tuner:Evolutoin", "has no attribute 'Evolutoin'"),
        ("no_such_module:Tuner", "No module named 'no_such_module'"),
        ("my_tuner:keras_tuner", "Expected a subclass of keras_tuner.Oracle"),
        ("bobh", "Did you mean bohb?"),
    ],
)
def test_what_is_no_tuner_is_told_in_one_line(
    folder: Path, name: str, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["search", "shapes-convnet", "--tuner", name]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert part in line
    assert not (folder / "results").exists()


def test_an_installed_package_gives_it_a_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(folder, monkeypatch, oracles.GROUP, "evolution = my_tuner:Evolution")
    oracles.check_tuner("evolution")
    assert oracles.load("evolution").__name__ == "Evolution"
