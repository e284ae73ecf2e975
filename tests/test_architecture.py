"""Who may import whom, read from the syntax trees, and what stays light."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted([*ROOT.glob("search/**/*.py"), *ROOT.glob("hypermodels/*.py")])
VERBS = {
    path.stem
    for path in ROOT.glob("search/*.py")
    if path.stem
    in {
        "studies", "data", "init", "space", "search", "trials", "finalize", "compare",
        "export", "predict", "report", "board", "demo",
    }
}  # fmt: skip
HEAVY = {"tensorflow", "keras", "keras_tuner", "tensorflow_datasets", "jax"}


def imports_of(path: Path, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} uses a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
            found.add(str(node.module))
    return found


def test_there_is_a_module_for_every_verb_of_the_command_line() -> None:
    from search.cli import app

    commands = {command.callback.__name__ for command in app.registered_commands}
    assert commands == VERBS


def test_hypermodels_never_import_search() -> None:
    for path in ROOT.glob("hypermodels/*.py"):
        tops = {name.split(".")[0] for name in imports_of(path)}
        assert "search" not in tops, path


def test_verbs_meet_through_records_not_through_imports() -> None:
    # `demo` runs the others by design; `studies` also defines what a study is.
    shared = {"studies"}
    for verb in VERBS - {"demo"}:
        names = imports_of(ROOT / "search" / f"{verb}.py")
        others = {f"search.{other}" for other in VERBS - shared - {verb}}
        assert not names & others, verb


def test_a_folder_of_search_imports_only_what_stands_below_it_in_the_readme() -> None:
    tree = (ROOT / "README.md").read_text().partition("    search/ ")[2]
    tree = tree.partition("    docs/ ")[0]
    layers = re.findall(r"(?<=[ ,])(\w+)/(?=[ ,])", tree)
    folders = {path.parent.name for path in ROOT.glob("search/*/__init__.py")}
    assert set(layers) == folders

    above = {*VERBS, "listing", "cli", "__init__"}
    for path in ROOT.glob("search/**/*.py"):
        parts = path.relative_to(ROOT).parts
        is_shared = len(parts) == 2 and path.stem not in above
        below = layers[layers.index(parts[1]) :] if len(parts) > 2 else layers
        allowed = set() if is_shared else {f"search.{layer}" for layer in below}
        for name in imports_of(path):
            folder = ".".join(name.split(".")[:2])
            if folder in {f"search.{layer}" for layer in layers}:
                assert folder in allowed, f"{path.relative_to(ROOT)} imports {name}"


def test_no_folder_of_search_but_the_command_line_knows_a_verb() -> None:
    # `studies` also defines what a study is.
    verbs = {f"search.{verb}" for verb in VERBS - {"studies"}}
    for path in ROOT.glob("search/*/**/*.py"):
        if path.parent.name != "commands":
            assert not imports_of(path) & verbs, path


@pytest.mark.parametrize(
    "path",
    [p for p in MODULES if p.parent.name not in ("hypermodels", "oracles", "datasets")],
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_no_module_of_search_loads_keras_when_imported(path: Path) -> None:
    tops = {name.split(".")[0] for name in imports_of(path, top_level_only=True)}
    assert not tops & HEAVY


def test_the_command_line_and_the_listing_verbs_load_no_heavy_package() -> None:
    code = (
        "import sys; from search import cli;"
        "cli.run(['--help']); cli.run(['studies']); cli.run(['trials', 'none']);"
        f"heavy = {HEAVY} | {{'matplotlib', 'scipy', 'sklearn'}};"
        "print('HEAVY', sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[-1] == "HEAVY []"


def test_no_file_has_more_than_350_lines() -> None:
    long = {p.name: n for p in MODULES if (n := len(p.read_text().splitlines())) > 350}
    assert long == {}
