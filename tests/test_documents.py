"""Every command of README and docs/ is executed here, as far as a machine without
network, GPU or cluster can.

What stands in for what, so that this takes a minute:

- The tutorials (docs/own-*.md) run from top to bottom, for real, with `SMALL` behind
  every search.
- CIFAR-100, VOC 2012 and tfds sets are the generated shapes, at 32 pixels.
- Pretrained weights are random ones.
- One picture of the tutorial is damaged: it is left out.
- Other searches, comparisons, finalizes and exports are executed up to the point where
  they would train or write: data, study, knobs, values, space and sizes are checked.
- Their studies are those of the tutorials under other names.
- Of what installs, builds or needs a cluster, the files and options it names are
  checked; tests/test_scale_docs.py has more on clusters.
"""

import contextlib
import importlib
import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image

from search.cli import app, run
from search.commands.examples import EXAMPLES
from search.datasets import SOURCES
from search.files import read_json
from search.studies import READY_MADE

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))]
TUTORIALS = [
    ROOT / "docs" / f"own-{task}.md" for task in ("classification", "segmentation")
]
SMALL = "--trials 1 --epochs 1 --tuner random --workers 0 --fix base_filters=16"
SMALLER = {
    "classification": "--fix stages=2",
    "segmentation": "--fix depth=2 --fix stem_stride=2 --fix convolutions_per_level=1",
}
PROGRAMS = (
    *("vision-tuner", "python", "pip", "pipx", "make", "ray", "docker", "kubectl"),
    *("rm", "sed", "git", "pre-commit", "KERAS_BACKEND=jax"),
)
NEEDS_A_CLUSTER = ("ray", "docker", "kubectl")
PRETRAINED = ("cifar100-vgg16", "voc2012-mobilenet", "vgg16_transfer", "mobilenet_unet")
PLACEHOLDERS = {
    "STUDY": "cifar100-convnet",
    "MODEL": "results/cifar100-convnet/export/ensemble.keras",
    "PATH…": "picture.jpg",
    "ADDRESS": "auto",
    "results/flowers/export/ensemble.onnx": "results/flowers/export/ensemble.keras",
}
# Verbs that read what a search has left; the others begin one.
READS = ("finalize", "export", "trials", "report", "predict", "board")


class EnoughError(Exception):
    """Everything before training or writing was executed."""


def code_blocks(text: str) -> Iterator[tuple[str, str]]:
    """Yield (language, content) of fenced blocks, and of indented ones without one."""
    for language, content in re.findall(r"^```(\w*)\n(.*?)^```", text, re.M | re.S):
        yield language, content
    outside = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    for content in re.findall(r"(?:^    .*\n)+", outside, re.M):
        yield "", re.sub(r"^    ", "", content, flags=re.M)


def block_commands(text: str) -> list[str]:
    """Return the commands in the blocks of a page in their order, without comments."""
    text = re.sub(r"\\\n\s+", "", text)  # lines that go on
    lines = re.findall(r"^    (\S.*)$", text, re.M)
    found = [line for line in lines if line.split()[0] in PROGRAMS]
    return [re.sub(r"\s{2,}#.*|\s# .*", "", command) for command in found]


def inline_commands(text: str) -> list[str]:
    """Return the commands within the sentences and tables of a page."""
    quoted = re.findall(r"`([^`\n]+)`", text)
    return [words for words in quoted if words.split()[0] in PROGRAMS and " " in words]


def all_commands() -> list[str]:
    found = [c for page in PAGES for c in inline_commands(page.read_text())]
    pages = [page for page in PAGES if page not in TUTORIALS]
    found += [command for page in pages for command in block_commands(page.read_text())]
    found += [f"vision-tuner {e}" for examples in EXAMPLES.values() for e in examples]
    return list(dict.fromkeys(found))


@pytest.fixture(scope="module")
def tutorials(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which both tutorials were followed from top to bottom."""
    folder = tmp_path_factory.mktemp("tutorials")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for page in TUTORIALS:
            follow(page)
    return folder


def follow(page: Path) -> None:
    """Do what a tutorial says: save its files, run its commands and its Python."""
    task = page.stem.removeprefix("own-")
    for language, content in code_blocks(page.read_text()):
        named = re.match(r"# (\w+\.py)\n", content)
        if language == "python" and named:
            Path(named[1]).write_text(content)
    for command in block_commands(page.read_text()):
        words = shlex.split(command)
        if words[0] != "vision-tuner":
            words[0] = sys.executable if words[0] == "python" else words[0]
            subprocess.run(words, check=True)
        elif words[1] == "search":
            assert run([*words[1:], *SMALL.split(), *SMALLER[task].split()]) == 0
        elif words[1] == "compare":
            with pytest.MonkeyPatch.context() as patch, pytest.raises(EnoughError):
                stop_before_work(patch)
                run([*words[1:], "--seeds", "1"])
        elif words[1] != "space":
            assert run(words[1:]) == 0, command
    for language, content in code_blocks(page.read_text()):
        if language == "python" and not content.startswith("# "):
            exec(compile(content, page.name, "exec"), {})


def stop_before_work(patch: pytest.MonkeyPatch) -> None:
    def enough(*_: Any, **__: Any) -> Any:
        raise EnoughError

    for module, name in (
        ("search", "make_executor"),
        ("compare", "make_executor"),
        ("finalize", "make_executor"),
        ("export", "write_exports"),
        ("board", "board"),
        ("demo", "demo"),
    ):
        patch.setattr(importlib.import_module(f"search.{module}"), name, enough)


def test_the_tutorials_end_with_models_and_reports(tutorials: Path) -> None:
    for study, metric in (("flowers", "accuracy"), ("cells", "dice")):
        results = tutorials / "results" / study
        ensemble = read_json(results / "ensemble.json")
        assert ensemble["test"][metric] > 0
        assert (results / "report.html").exists()
        assert read_json(results / "export" / "manifest.json")
    assert (tutorials / "predictions" / "000_mask.png").exists()
    record = read_json(tutorials / "results" / "flowers" / "study.json")
    assert record["data"]["skipped"] == 1  # the broken one


def test_the_tutorials_show_what_init_says(
    tutorials: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder, page in zip(("flowers", "cells"), TUTORIALS, strict=True):
        draw = [sys.executable, str(tutorials / f"draw_{folder}.py")]
        subprocess.run(draw, check=True)
        capsys.readouterr()
        assert run(["init", folder, "--overwrite"]) == 0
        said = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
        shown = [line.rstrip() for line in page.read_text().splitlines()]
        assert not [line for line in said[:-2] if line not in shown]


@pytest.fixture(scope="module")
def workshop(tutorials: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages speak of: own images, network, tuner, and finished studies."""
    folder = tmp_path_factory.mktemp("workshop")
    for name in ("flowers", "cells", "study.toml", "cells.toml"):
        copy = shutil.copytree if (tutorials / name).is_dir() else shutil.copyfile
        copy(tutorials / name, folder / name)
    shutil.copytree(folder / "flowers" / "lily", folder / "photos")
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)
    Image.fromarray(noise).save(folder / "picture.jpg")
    for page, file in (
        ("own-hypermodel", "my_network.py"),
        ("own-tuner", "my_tuner.py"),
        ("study-file", "my_convnet.py"),
    ):
        blocks = code_blocks((ROOT / "docs" / f"{page}.md").read_text())
        (code,) = [code for _, code in blocks if code.startswith(f"# {file}")]
        (folder / file).write_text(code)
    for name, kind in (
        ("cifar100-convnet", "flowers"),
        ("small", "flowers"),
        ("patches", "flowers"),
        ("evolved", "flowers"),
        ("vgg16-upper", "flowers"),
        ("flowers", "flowers"),
        ("voc2012-unet", "cells"),
        ("voc2012-mobilenet", "cells"),
    ):
        shutil.copytree(tutorials / "results" / kind, folder / "results" / name)
    return folder


@pytest.mark.parametrize("command", all_commands())
def test_the_commands_of_the_pages(
    command: str, workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workshop)
    for name in ("cifar100", "voc2012"):
        monkeypatch.setitem(SOURCES, name, SOURCES["shapes"])
    words = shlex.split(command)
    if words[0] in ("vision-tuner", "KERAS_BACKEND=jax"):
        stop_before_work(monkeypatch)
        check_verb(words[words.index("vision-tuner") + 1 :], tmp_path)
    else:
        check_other(words)


def check_verb(words: list[str], fresh: Path) -> None:
    """Execute a verb until it would train or write."""
    is_path = words[0] == "compare" and "--path" in words  # it needs a real search
    if words[0].startswith("--") or "--ray" in words or is_path:
        check_options(words)
        return
    words = [PLACEHOLDERS.get(word, word) for word in words]
    if words[0] == "finalize":
        unfinished = shutil.copytree(
            f"results/{words[1]}", fresh / "results" / words[1]
        )
        for name in ("ensemble", "choices", "test_ledger", "finalists"):
            (unfinished / f"{name}.json").unlink()
    if words[0] == "finalize" or words[0] not in READS:
        words += ["--results-dir", str(fresh / "results")]
    if words[0] in ("search", "space", "compare"):
        words = small_data(words)
    if "flowers" in words and words[0] in ("search", "data"):
        words.append("--skip-unreadable")
    if words[0] == "init":
        words += ["--file", str(fresh / "study.toml")]
    with contextlib.suppress(EnoughError):
        assert run(words) == 0


def small_data(words: list[str]) -> list[str]:
    """Return a command that begins a study, on generated images and random weights."""
    words = [re.sub("^tfds:.*", "shapes", word) for word in words]
    if "patches" in words[:2]:
        words[1:2] = ["--dataset", "shapes", "--hypermodel", "my_network:Patches"]
    if set(words) & set(PRETRAINED):
        words += ["--weights", "none"]
    own = {"flowers", "cells", "study.toml"} & set(words)
    return words if own else [*words, "--image-size", "32"]


def check_options(words: list[str]) -> None:
    """Check that a command line is understood, without running it."""
    command: Any = typer.main.get_command(app)
    if words[0] in command.commands:
        command.commands[words[0]].make_context(words[0], words[1:])
    else:
        known = {name for param in command.params for name in param.opts}
        assert set(words) <= known


def check_other(words: list[str]) -> None:
    """Check a command that installs, builds, or needs more than this machine."""
    program = words[0]
    if program == "make":
        subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, check=True)
    elif program in ("pip", "pipx"):
        check_install(words)
    elif program == "python" and words[1] == "-m":
        assert importlib.util.find_spec(words[2]) is not None
    elif program == "git":
        assert words[1] == "clone"
    elif program == "pre-commit":
        assert (ROOT / ".pre-commit-config.yaml").exists()
    else:
        assert program in NEEDS_A_CLUSTER
        files = [word for word in words if word.startswith("docs/")]
        assert all((ROOT / file).exists() for file in files)


def check_install(words: list[str]) -> None:
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    for extra in re.findall(r"\[(\w+)\]", " ".join(words)):
        assert extra in setup["options.extras_require"]
    for word in words:
        if word.endswith(".txt"):
            assert (ROOT / word).exists()


def test_the_readme_s_python_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Up to its first training; the notebook's test goes through the rest."""
    import search

    for page in (ROOT / "README.md", ROOT / "docs" / "api.md"):
        blocks = [c for kind, c in code_blocks(page.read_text()) if kind == "python"]
        for names in re.findall(r"from search import (.*)", "\n".join(blocks)):
            assert all(callable(getattr(search, name)) for name in names.split(", "))
        block = next(content for content in blocks if "ready_made(" in content)
        with monkeypatch.context() as patch, pytest.raises(EnoughError):
            stop_before_work(patch)
            patch.chdir(tmp_path)
            exec(compile(block, page.name, "exec"), {})


def test_links_of_the_pages_lead_somewhere() -> None:
    for page in [*PAGES, ROOT / "results" / "README.md"]:
        links = re.findall(r"\]\(([^)#]*)(?:#([\w-]*))?\)", page.read_text())
        for target, place in links:
            if "://" in target:
                continue
            file = page.parent / target if target else page
            assert file.exists(), (page.name, target)
            if place:
                titles = re.findall(r"^#+ (.*)$", file.read_text(), re.M)
                assert place in map(anchor_of, titles), (page.name, target, place)


def anchor_of(title: str) -> str:
    """Return what GitHub calls a heading in links."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    for page in ROOT.glob("docs/*.md"):
        assert page.name == "README.md" or f"({page.name}" in index, page.name


def test_every_key_of_a_study_file_is_explained() -> None:
    from search.beginning.study_files import KEYS

    page = (ROOT / "docs" / "study-file.md").read_text()
    table = page.partition("## Keys of")[2].partition("## Objectives")[0]
    explained = re.findall(r"`(\w+)`(?=[,\s|])", table)
    assert not set(KEYS) - set(explained)


def test_the_python_of_the_pages_that_trains_nothing_runs() -> None:
    for name in ("from-keras-tuner", "own-hypermodel"):
        blocks = code_blocks((ROOT / "docs" / f"{name}.md").read_text())
        for language, content in blocks:
            if language == "python" and not content.startswith("# "):
                exec(compile(content, name, "exec"), {})


def test_generated_pages_are_up_to_date() -> None:
    from docs import api, cli, results

    for written in (api, cli):
        assert written.PAGE.read_text() == written.page(), "run `make docs`"
    readme = ROOT / "results" / "README.md"
    assert readme.read_text() == results.page(), "run `make docs`"


def test_the_page_of_results_passes_over_what_the_demo_leaves(tmp_path: Path) -> None:
    from docs import results

    study = next((ROOT / "results").glob("*/ensemble.json")).parent
    for name in ("demo-classification", "kept"):
        shutil.copytree(study, tmp_path / name, ignore=shutil.ignore_patterns("work"))
    page = results.page(tmp_path)
    assert "kept" in page
    assert "demo-classification" not in page


def test_committed_results_leave_the_names_of_ready_made_studies_to_the_user() -> None:
    """A search in a fresh clone must begin, not go on with ours."""
    listed = subprocess.run(
        ["git", "ls-files", "results"], cwd=ROOT, capture_output=True, text=True
    ).stdout
    committed = {line.split("/")[1] for line in listed.split()}
    assert not committed & {study.name for study in READY_MADE}


def test_folders_named_in_readme_exist() -> None:
    tree = re.findall(
        r"^    (?:  )?([\w/*]+\.py|\w+/)", (ROOT / "README.md").read_text(), re.M
    )
    assert len(tree) > 10
    for name in tree:
        places = [ROOT / name, *ROOT.glob(f"search/**/{name}"), *ROOT.glob(f"*/{name}")]
        assert any(path.exists() for path in places), name
