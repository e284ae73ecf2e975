"""The first command a new user runs, and the last one of a search: demo and board."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small import ONE_GRAPH, SMALL_UNET

from search import demo
from search.cli import run
from search.files import read_json


def test_the_demo_goes_through_all_verbs_with_both_tasks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With smaller networks: what it does with them is not patched."""
    tiny = {"epochs": 3, "limit_train": 64, "max_flops": None, "tuner": "random"}
    studies = [
        replace(study, fixed=fixed, **tiny)
        for study, fixed in zip(demo.STUDIES, (ONE_GRAPH, SMALL_UNET), strict=True)
    ]
    monkeypatch.setattr(demo, "STUDIES", studies)
    monkeypatch.setattr(demo, "TRIALS", 1)
    monkeypatch.setattr(demo, "TOP", 1)
    monkeypatch.chdir(tmp_path)
    assert run(["demo", "--workers", "0"]) == 0
    said = capsys.readouterr().out
    assert "Done in" in said and "vision-tuner board" in said
    for study in studies:
        results = tmp_path / "results" / study.name
        assert (results / "report.html").exists()
        manifest = read_json(results / "export" / "manifest.json")
        assert manifest and all(item["agreement"] > 0.99 for item in manifest)
        rows = read_json(results / "predictions" / "predictions.json")
        assert len(rows) == demo.PICTURES


def test_board_serves_the_runs_to_this_machine_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[list[str]] = []

    def call(command: list[str], **_: Any) -> int:
        started.append(command)
        return 0

    monkeypatch.setattr(subprocess, "call", call)
    monkeypatch.chdir(tmp_path)
    logs = tmp_path / "tensorboard_logs" / "mine" / "0000"
    logs.mkdir(parents=True)
    (logs / "events.out.tfevents.1").touch()
    assert run(["board", "--port", "0"]) == 0
    (command,) = started
    assert command[:3] == [sys.executable, "-m", "tensorboard.main"]
    options = dict(zip(command[3::2], command[4::2], strict=True))
    assert options["--host"] == "127.0.0.1"
    assert Path(options["--logdir"]).resolve() == logs.parents[1]
    said = "".join(capsys.readouterr().out.split())
    assert f"http://127.0.0.1:{options['--port']}" in said
