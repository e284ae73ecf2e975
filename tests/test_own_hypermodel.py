"""A hypermodel of one's own: the one of docs/own-hypermodel.md, and wrong ones."""

import re
import sys
from pathlib import Path

import pytest
from entry_points import install

import hypermodels
from search.beginning.inputs import chosen_study
from search.cli import run
from search.files import read_json
from search.paths import StudyPaths, study_paths
from search.scoring.pareto import objective_fields

PAGE = Path(__file__).parents[1] / "docs" / "own-hypermodel.md"
OWN = ["--dataset", "shapes", "--hypermodel", "my_network:Patches", "--name", "own"]
SMALL = ["--trials", "1", "--epochs", "1", "--limit-train", "128", "--workers", "1"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the network of the page in it."""
    (network,) = re.findall(
        r"```python\n(# my_network.py.*?)```", PAGE.read_text(), re.S
    )
    assert len([line for line in network.splitlines() if line.strip()]) <= 26
    (tmp_path / "my_network.py").write_text(network)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "my_network", raising=False)
    return tmp_path


def test_workers_train_it_and_a_changed_one_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["search", *OWN, *SMALL]) == 0
    (trial,) = read_json(folder / "results" / "own" / "trials.json")
    assert trial["state"] == "COMPLETED"
    assert set(trial["values"]) >= {"patch", "depth", "learning_rate"}
    with (folder / "my_network.py").open("a") as file:
        file.write("\n")
    assert run(["search", *OWN, *SMALL, "--trials", "2"]) == 2
    assert "own hypermodel" in capsys.readouterr().err


def test_its_own_objective_keeps_its_direction_when_it_is_named(folder: Path) -> None:
    with (folder / "my_network.py").open("a") as file:
        file.write("\n\nclass Gap(Patches):\n")
        file.write("    objective, direction = 'val_gap', 'min'\n")

    def paths_of(name: str) -> StudyPaths:
        return study_paths(name, folder / "results", folder / "logs")

    for objective, direction in (("val_gap", "min"), ("val_accuracy", "max")):
        named = objective_fields([objective])
        chosen = chosen_study(None, "x", "shapes", "my_network:Gap", named, paths_of)
        assert chosen.direction == direction


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("my_network:Patchs", "has no attribute 'Patchs'"),
        ("no_such_module:Net", "No module named 'no_such_module'"),
        ("my_network:keras", "Expected a subclass"),
        ("my_network:ImageHyperModel", "class attribute task"),
        ("patches", "or module:Class"),
    ],
)
def test_what_is_no_hypermodel_is_told_in_one_line(
    folder: Path, name: str, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["search", "--dataset", "shapes", "--hypermodel", name]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert part in line
    assert not (folder / "results").exists()


def test_an_installed_package_gives_it_a_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(folder, monkeypatch, hypermodels.GROUP, "patches = my_network:Patches")
    assert hypermodels.known()["patches"] == "my_network:Patches"
    assert hypermodels.task_of("patches") == "classification"
    assert hypermodels.load("patches").__name__ == "Patches"
