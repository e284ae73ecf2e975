"""TensorBoard reads what was written, without TensorFlow on the writing side."""

import errno
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tensorboard.compat.proto import graph_pb2, node_def_pb2

from search.orders import Order, Progress
from search.paths import study_paths
from search.records import Trial
from search.watching.event_graph import node_names
from search.watching.event_hparams import write_hparams, write_hparams_domain
from search.watching.event_layout import first_screen
from search.watching.event_search import GRAPH, SearchEvents
from search.watching.events import EventFile, EventWriter


def order(logs: Path) -> Order:
    return Order("0000", "train", {}, "", "", str(logs), {}, 0, 4, 4)


def read(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import (
        EventAccumulator,
    )

    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    return accumulator


def curve(folder: Path, tag: str) -> list[tuple[int, float]]:
    return [(e.step, round(e.value, 4)) for e in read(folder).Scalars(tag)]


def write_epochs(logs: Path, done: int, epochs: list[int]) -> None:
    with EventWriter.opened(order(logs), done) as events:
        for epoch in epochs:
            events.write_epoch(epoch, {"loss": epoch / 10, "val_loss": epoch / 5}, {})


def test_the_rungs_of_a_trial_are_one_curve(tmp_path: Path) -> None:
    write_epochs(tmp_path, 0, [1])
    write_epochs(tmp_path, 1, [2, 3])
    expected = [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert curve(tmp_path / "train", "epoch_loss") == expected
    assert curve(tmp_path / "validation", "epoch_loss")[-1] == (3, 0.6)


def test_an_epoch_that_a_kill_made_run_again_is_there_once(tmp_path: Path) -> None:
    write_epochs(tmp_path, 0, [1, 2])  # killed before the checkpoint of epoch 2
    write_epochs(tmp_path, 1, [2, 3])
    steps = [step for step, _ in curve(tmp_path / "train", "epoch_loss")]
    assert steps == [1, 2, 3]


def test_hparams_hold_values_result_and_status(tmp_path: Path) -> None:
    from tensorboard.plugins.hparams import plugin_data_pb2

    write_hparams_domain(
        tmp_path,
        {"depth": [1, 2], "learning_rate": (1e-4, 1e-1), "mixed": [1, "a"]},
        ["val_accuracy"],
    )
    trial = Trial(
        "0000",
        "PAUSED",
        score=0.5,
        epochs=3,
        seconds=2.0,
        parameters=100,
        values={"depth": 2, "learning_rate": 1e-3, "residual": True},
    )
    write_hparams(tmp_path, trial, 0)
    write_hparams(tmp_path, replace(trial, state="FAILED", score=0.6, epochs=4), 1)
    run = read(tmp_path / "0000")
    assert [event.step for event in run.Scalars("trial/score")] == [3, 4]
    content = run.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    started = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
    assert started.hparams["depth"].number_value == 2
    assert started.hparams["residual"].bool_value is True
    content = run.SummaryMetadata("_hparams_/session_end_info").plugin_data.content
    ended = plugin_data_pb2.HParamsPluginData.FromString(content).session_end_info
    assert ended.status == 2  # api.proto: STATUS_SUCCESS = 1, STATUS_FAILURE = 2
    content = read(tmp_path).SummaryMetadata("_hparams_/experiment").plugin_data.content
    experiment = plugin_data_pb2.HParamsPluginData.FromString(content).experiment
    assert [info.name for info in experiment.hparam_infos] == [
        "depth",
        "learning_rate",
        "mixed",
    ]


def test_writing_needs_no_tensorflow(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['tensorflow'] = None\n"
        "from pathlib import Path\n"
        "from search.watching.event_hparams import write_hparams\n"
        "from search.records import Trial\n"
        f"write_hparams(Path({str(tmp_path)!r}), Trial('0000', values={{'a': 1}}), 0)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ))
    assert list((tmp_path / "0000").iterdir())


def test_an_order_without_a_log_folder_writes_nothing(tmp_path: Path) -> None:
    with EventWriter.opened(replace(order(tmp_path), logs=None), 0) as events:
        events.write_epoch(1, {"loss": 1.0}, {})
    assert list(tmp_path.iterdir()) == []


def test_the_search_is_a_run_that_a_restart_continues(tmp_path: Path) -> None:
    paths = study_paths("study", tmp_path / "results", tmp_path)

    def search(trials: list[Trial], scores: dict[int, float]) -> None:
        events = SearchEvents(paths, "val_dice", "max", lambda: 10.0 * max(scores))
        events.changed(trials)
        for epoch, score in scores.items():
            events.progress(Progress("0000", epoch, 1.0, {"val_dice": score}))
        events.close()

    search([Trial("0000", "RUNNING")], {1: 0.5, 2: 0.4, 3: 0.6})
    # Killed before epoch 3 was recorded: it is trained, and written, again.
    known = Trial("0000", "RUNNING", 0.5, 1, 2)
    search([known], {3: 0.7, 4: 0.2})
    best = curve(paths.logs / "search", "search/best_val_dice")
    assert best == [(1, 0.5), (2, 0.5), (3, 0.7), (4, 0.7)]
    by_seconds = paths.logs / "search_by_seconds"
    assert curve(by_seconds, "search_by_seconds/best_val_dice")[-1] == (40, 0.7)


def test_points_that_a_full_disk_refused_do_not_end_the_curve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = study_paths("study", tmp_path / "results", tmp_path)
    write = EventFile.scalars

    def scalars(file: EventFile, step: int, values: dict[str, Any]) -> None:
        if step == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(file, step, values)

    monkeypatch.setattr(EventFile, "scalars", scalars)
    events = SearchEvents(paths, "val_dice", "max", lambda: 1.0)
    events.changed([Trial("0000", "RUNNING")])
    for epoch, score in enumerate((0.5, 0.6, 0.7), start=1):
        events.progress(Progress("0000", epoch, 1.0, {"val_dice": score}))
    events.close()
    best = curve(paths.logs / "search", "search/best_val_dice")
    assert best == [(1, 0.5), (3, 0.7)]


def test_what_a_trial_reached_before_it_failed_is_not_the_best(tmp_path: Path) -> None:
    paths = study_paths("study", tmp_path / "results", tmp_path)
    events = SearchEvents(paths, "val_dice", "max", lambda: 1.0)
    trials = [Trial("0000", "RUNNING"), Trial("0001", "RUNNING")]
    events.changed(trials)
    for trial_id, epoch, score in (("0000", 1, 0.5), ("0001", 1, 0.9)):
        events.progress(Progress(trial_id, epoch, 1.0, {"val_dice": score}))
    events.changed([trials[0], Trial("0001", "FAILED", 0.9, 1, 1)])
    events.progress(Progress("0000", 2, 1.0, {"val_dice": 0.4}))
    events.close()
    best = curve(paths.logs / "search", "search/best_val_dice")
    assert best == [(1, 0.5), (2, 0.9), (2, 0.5), (3, 0.5)]


def test_the_graph_of_the_best_trial_is_that_of_the_search(tmp_path: Path) -> None:
    paths = study_paths("study", tmp_path / "results", tmp_path)
    events = SearchEvents(paths, "val_dice", "max", lambda: 1.0)
    trials = [Trial("0000", "COMPLETED", 0.5), Trial("0001", "COMPLETED", 0.9)]
    for trial in trials:
        file = paths.trial(trial.trial_id) / GRAPH
        file.parent.mkdir(parents=True)
        node = node_def_pb2.NodeDef(name=f"of_{trial.trial_id}", op="Dense")
        file.write_bytes(graph_pb2.GraphDef(node=[node]).SerializeToString())
    events.changed(trials[:1])
    events.changed(trials)
    events.changed([*trials, Trial("0002", "FAILED", 0.99)])
    events.close()
    assert [node.name for node in read(paths.logs / "search").Graph().node] == [
        "of_0001"
    ]


def test_layers_that_share_a_stage_are_drawn_as_one_box() -> None:
    names = node_names(["images", "stage1_conv", "stage1_norm", "stage2_conv", "head"])
    assert names["stage1_norm"] == "stage1/stage1_norm"
    assert names["stage2_conv"] == "stage2_conv" and names["images"] == "images"


def test_the_first_screen_pins_the_search_and_the_scores() -> None:
    address = first_screen("http://127.0.0.1:6006", ["val_dice"])
    (pinned,) = parse_qs(urlsplit(address).query)["pinnedCards"]
    tags = [card["tag"] for card in json.loads(pinned)]
    assert tags == ["search/best_val_dice", "epoch_dice", "epoch_loss"]
