"""The files of docs/scale can be used as they are, as far as this machine can tell."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer

from search.cli import app

DOCS = Path(__file__).parents[1] / "docs"
FILES = [DOCS / "scale.md", *(DOCS / "scale").iterdir()]
VERSION = re.compile(
    r"ray(?:project/ray)?[:\"= ]+v?(\d+\.\d+\.\d+)|rayVersion: \"(.+)\""
)


def documents(name: str) -> list[Any]:
    yaml = pytest.importorskip("yaml")
    return list(yaml.safe_load_all((DOCS / "scale" / name).read_text()))


def command_lines(text: str) -> list[list[str]]:
    """Return the words of every search or finalize that a file starts."""
    joined = re.sub(r"[>\\]?-?\n\s+(?=--)", " ", text)
    found = re.findall(r"vision-tuner (search|finalize) ([^'`#\n]*)", joined)
    return [[verb, *shlex.split(rest)] for verb, rest in found]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_options_in_the_files_are_options_of_the_command_line(path: Path) -> None:
    group: Any = typer.main.get_command(app)
    for verb, *words in command_lines(path.read_text()):
        known = {name for p in group.commands[verb].params for name in p.opts}
        assert {word for word in words if word.startswith("--")} <= known


def test_the_documentation_starts_searches() -> None:
    found = {path.name: len(command_lines(path.read_text())) for path in FILES}
    assert found["scale.md"] >= 3
    assert found["slurm.sh"] == found["kubernetes.yaml"] == 1


def test_the_slurm_script_is_bash_that_parses() -> None:
    script = DOCS / "scale" / "slurm.sh"
    subprocess.run(["bash", "-n", str(script)], check=True)
    (words,) = re.findall(r"^search=\((.*)\)$", script.read_text(), re.MULTILINE)
    group: Any = typer.main.get_command(app)
    known = {name for p in group.commands["search"].params for name in p.opts}
    assert {word for word in words.split() if word.startswith("--")} <= known


def test_every_pod_mounts_the_claimed_volume_where_the_results_go() -> None:
    claim, job = documents("kubernetes.yaml")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    cluster = job["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for pod in (group["template"]["spec"] for group in groups):
        (volume,) = pod["volumes"]
        name = volume["persistentVolumeClaim"]["claimName"]
        assert name == claim["metadata"]["name"]
        (container,) = pod["containers"]
        (mount,) = container["volumeMounts"]
        assert (mount["name"], mount["mountPath"]) == (volume["name"], "/shared")
    assert job["spec"]["entrypoint"].count("/shared/") == 2


def test_the_cluster_file_starts_as_many_hosts_as_it_names() -> None:
    (cluster,) = documents("cluster.yaml")
    workers = len(cluster["provider"]["worker_ips"])
    assert cluster["min_workers"] == cluster["max_workers"] == workers


def test_the_files_name_the_pinned_ray() -> None:
    pins = (DOCS.parent / "constraints.txt").read_text()
    (pinned,) = re.findall(r"^ray==(.+)$", pins, re.MULTILINE)
    for name in ("Dockerfile", "kubernetes.yaml"):
        text = (DOCS / "scale" / name).read_text()
        found = {
            version for pair in VERSION.findall(text) for version in pair if version
        }
        assert found == {pinned}, name
