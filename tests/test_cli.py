"""The command line, driven as a user drives it."""

import csv
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from local_cluster import children
from PIL import Image
from small import ONE_GRAPH, SMALL_UNET, fixed

from search.cli import run
from search.files import read_json
from search.training.checkpoints import read_standing

# One study is finalized by its search, the other with every option.
BUDGET = {
    "shapes-convnet": ["--budget", "1h", "--finalize", "--trial-timeout", "30m"],
    "shapes-unet": [],
}
FINAL = {
    "shapes-convnet": [],
    "shapes-unet": ["--seeds", "2", "--tta", "flip", "--distill", "--use-validation"],
}

TINY = {
    # With what draws random numbers in each step.
    "shapes-convnet": ONE_GRAPH | {"augmentation": "flip_crop", "dropout_rate": 0.2},
    "shapes-unet": SMALL_UNET,
}


def tiny_search(study: str, *options: str) -> list[str]:
    size = ["--epochs", "2", "--trials", "2", "--limit-train", "128"]
    tiny = fixed(TINY[study])
    return ["search", study, *size, "--tuner", "random", *tiny, *options]


@pytest.fixture(scope="module", params=list(TINY))
def finished(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """A study that went through all verbs, in this process."""
    folder, study = tmp_path_factory.mktemp("user"), request.param
    here = Path.cwd()
    os.chdir(folder)
    try:
        assert run(tiny_search(study, "--workers", "0", *BUDGET[study])) == 0
        options = ["--top", "2", "--workers", "0", *FINAL[study]]
        assert run(["finalize", study, *options]) == 0
        assert run(["export", study]) == 0
    finally:
        os.chdir(here)
    return folder, study


def test_every_verb_leaves_its_record(finished: tuple[Path, str]) -> None:
    folder, study = finished
    results = folder / "results" / study
    trials = read_json(results / "trials.json")
    assert [trial["state"] for trial in trials] == ["COMPLETED"] * 2
    metric = "val_accuracy" if "convnet" in study else "val_dice"
    for trial in trials:
        assert trial["score"] == max(trial["history"][metric])
        assert trial["epochs"] == len(trial["history"]["loss"]) == 2
        assert trial["parameters"] > 0
    recorded = read_json(results / "study.json")
    assert recorded["command"].startswith("vision-tuner")
    assert recorded["environment"]["packages"]["keras-tuner"] == "1.4.8"
    assert "CPU cores" in recorded["environment"]["device"]
    finalists = read_json(results / "finalists.json")
    assert len(finalists) == (2 if "convnet" in study else 4)
    ensemble = read_json(results / "ensemble.json")
    assert sum(ensemble["weights"]) == pytest.approx(1)
    key = metric.removeprefix("val_")
    single = ensemble["best_single"]
    assert ensemble["validation"][key] >= single["validation"][key]
    assert 0 <= ensemble["test"][key] <= 1
    for model in ("ensemble", "best_single"):
        low, high = ensemble["intervals"][model][key]
        scored = ensemble if model == "ensemble" else single
        assert low <= scored["test"][key] <= high
    assert ensemble["leaks"]["copies"] == 0
    for split in ("validation", "test"):
        calibration = ensemble["calibration"]["ensemble"][split]
        assert set(calibration["before"]) == {"nll", "brier", "ece"}
    for item in read_json(results / "export" / "manifest.json"):
        assert (results / item["path"]).stat().st_size == item["bytes"]
        assert item["agreement"] == 1.0
    runs = [path.parent for path in folder.glob("tensorboard_logs/*/0000/*/events*")]
    assert {path.name for path in runs} == {"train", "validation"}


def hparams_table(logs: Path) -> list[Any]:
    """Return the session groups that TensorBoard makes of a study's logs."""
    from tensorboard.backend.event_processing.data_provider import (
        MultiplexerDataProvider,
    )
    from tensorboard.backend.event_processing.plugin_event_multiplexer import (
        EventMultiplexer,
    )
    from tensorboard.context import RequestContext
    from tensorboard.plugins.base_plugin import TBContext
    from tensorboard.plugins.hparams import (
        api_pb2,
        backend_context,
        get_experiment,
        list_session_groups,
    )

    events = EventMultiplexer().AddRunsFromDirectory(str(logs))
    events.Reload()
    provider = MultiplexerDataProvider(events, str(logs))
    context = backend_context.Context(TBContext(data_provider=provider))
    here = RequestContext(), context, ""
    about = api_pb2.GetExperimentRequest(include_metrics=True)
    asked = api_pb2.ListSessionGroupsRequest(
        allowed_statuses=[api_pb2.STATUS_SUCCESS], include_metrics=True, slice_size=10
    )
    for metric in get_experiment.Handler(*here, about).run().metric_infos:
        asked.col_params.add(metric=metric.name)
    return list(list_session_groups.Handler(*here, asked).run().session_groups)


def test_hparams_show_what_each_trial_reached_and_cost(
    finished: tuple[Path, str],
) -> None:
    folder, study = finished
    trials = read_json(folder / "results" / study / "trials.json")
    groups = hparams_table(folder / "tensorboard_logs" / study)
    assert len(groups) == len(trials)
    for group in groups:
        shown = {m.name.tag: m.value for m in group.metric_values}
        trial = trials[int(group.sessions[0].name)]
        assert shown["trial/score"] == pytest.approx(trial["score"])
        assert shown["trial/flops"] == pytest.approx(trial["measured"]["flops"])
        assert shown["trial/parameters"] == trial["parameters"]
        assert {"trial/rung", "trial/epochs", "trial/seconds"} <= shown.keys()
        assert 0 < shown["resources/latency_ms"] < 10_000


def test_a_finalist_with_the_search_s_seed_repeats_the_search_s_score(
    finished: tuple[Path, str],
) -> None:
    results = finished[0] / "results" / finished[1]
    scores = {t["trial_id"]: t["score"] for t in read_json(results / "trials.json")}
    key = "accuracy" if "convnet" in finished[1] else "dice"
    finalists = read_json(results / "finalists.json")
    for finalist in [each for each in finalists if each["seed"] == 0]:
        score = scores[finalist["trial_id"]]
        # Masks are stored as float16, which moves a pixel at the threshold.
        assert finalist["validation"][key] == pytest.approx(score, abs=2e-3)


def test_the_test_set_is_read_once_unless_asked(
    finished: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, study = finished
    where = ["--results-dir", str(folder / "results"), "--workers", "0", *FINAL[study]]
    before = (folder / "results" / study / "ensemble.json").read_bytes()
    assert run(["finalize", study, "--top", "2", *where]) == 0
    assert run(["finalize", study, "--top", "1", *where]) == 2
    assert "--again" in capsys.readouterr().err
    assert (folder / "results" / study / "ensemble.json").read_bytes() == before
    ledger = read_json(folder / "results" / study / "test_ledger.json")
    assert len(ledger) == 1


def test_a_retrained_seed_and_the_search_s_own_networks_are_in_the_library(
    finished: tuple[Path, str],
) -> None:
    folder, study = finished
    ensemble = read_json(folder / "results" / study / "ensemble.json")
    finalists = read_json(folder / "results" / study / "finalists.json")
    library = {entry["member_id"]: entry for entry in ensemble["library"]}
    assert {f["finalist_id"] for f in finalists} <= set(library)
    assert set(ensemble["members"]) <= set(library)
    weights = [entry["weight"] for entry in library.values()]
    assert sum(weights) == pytest.approx(1)
    for finalist in finalists:
        assert finalist["chosen_because"]
        seeded = finalist["seed"] != 0
        assert finalist["training"].startswith("from the begin" if seeded else "its")


def test_what_was_asked_for_beside_the_ensemble_is_reported_the_same_way(
    finished: tuple[Path, str],
) -> None:
    folder, study = finished
    results = folder / "results" / study
    ensemble = read_json(results / "ensemble.json")
    if "convnet" in study:
        assert ensemble["student"] is None
        assert not ensemble["tta"]
        assert ensemble["intervals"]["mcnemar"]["p_value"] <= 1
        assert sum(row["images"] for row in ensemble["classes"]) == 1000
        return
    student, tta, refit = (ensemble[key] for key in ("student", "tta", "refit"))
    for scored in (student, tta["ensemble"], tta["best_single"], ensemble):
        assert set(scored["test"]) == set(ensemble["test"])
    assert {"original_dice", "boundary_f", "all_foreground_dice"} <= set(
        ensemble["test"]
    )
    single = ensemble["best_single"]["member"]
    assert set(refit["epochs"]) == {*ensemble["members"], single}
    trained = results / "work" / "finalists" / f"{single}-refit" / "last.npz"
    standing = read_standing(trained)
    assert standing is not None
    assert standing.epochs == refit["epochs"][single]
    assert "val_dice" not in standing.history
    models = {item["model"] for item in read_json(results / "export/manifest.json")}
    assert models == {"ensemble", "best_single", "student"}


def test_predict_answers_for_files_of_any_size(
    finished: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, study = finished
    rng = np.random.default_rng(0)
    picture = tmp_path / "a picture.jpg"
    Image.fromarray(rng.integers(0, 255, (50, 70, 3), np.uint8)).save(picture)
    out = tmp_path / "out"
    broken = tmp_path / "broken.jpg"
    broken.write_text("not an image")
    arguments = ["predict", study, str(picture), "--output-dir", str(out), "--json"]
    arguments += ["--results-dir", str(folder / "results")]
    assert run([*arguments, str(broken)]) == 2
    assert not out.exists()
    assert run([*arguments, str(broken), "--skip-unreadable"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["path"] for row in rows if row.get("error")] == [str(broken)]
    assert run(arguments) == 0
    (row,) = json.loads(capsys.readouterr().out)
    if "convnet" in study:
        assert 0 < row["probability"] <= 1
        assert len(row["top"]) == 5
    else:
        with Image.open(row["mask"]) as mask:
            assert mask.size == (70, 50)
        assert Path(row["preview"]).exists()
    with (out / "predictions.csv").open() as table:
        assert len(list(csv.DictReader(table))) == 1


def test_listing_verbs_show_the_study(
    finished: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, study = finished
    where = ["--results-dir", str(folder / "results")]
    assert run(["trials", study, *where, "--json"]) == 0
    trials = json.loads(capsys.readouterr().out)
    assert trials == read_json(folder / "results" / study / "trials.json")
    assert run(["trials", study, *where]) == 0
    text = capsys.readouterr().out
    assert all(trial["trial_id"] in text for trial in trials)
    assert run(["studies", *where, "--json"]) == 0
    row = next(r for r in json.loads(capsys.readouterr().out) if r["name"] == study)
    assert row["state"] == "exported"
    assert row["best_score"] == max(trial["score"] for trial in trials)


def test_a_finished_search_is_not_run_again_and_a_changed_one_is_refused(
    finished: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, study = finished
    where = ["--results-dir", str(folder / "results"), "--logs-dir", str(folder / "tb")]
    before = (folder / "results" / study / "trials.json").read_bytes()
    assert run(tiny_search(study, "--workers", "0", *where)) == 0
    assert (folder / "results" / study / "trials.json").read_bytes() == before
    assert run(tiny_search(study, "--workers", "0", "--seed", "5", *where)) == 2
    error = capsys.readouterr().err
    assert "seed = 0 as recorded" in error
    assert "--name" in error


def test_own_images_that_cannot_be_read_are_told_and_can_be_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What then comes of them, the tutorials show (tests/test_documents.py)."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in ("rose", "tulip"):
        Path("flowers", name).mkdir(parents=True)
        for number in range(10):
            pixels = rng.integers(0, 255, (40, 50, 3), np.uint8)
            Image.fromarray(pixels).save(f"flowers/{name}/{number}.png")
    Path("flowers/rose/broken.jpg").write_text("not an image")
    own = ["--dataset", "flowers", "--hypermodel", "convnet", "--image-size", "32"]
    assert run(["search", *own, "--workers", "0"]) == 2
    assert "--skip-unreadable" in capsys.readouterr().err
    assert not Path("results").exists()
    assert run(["space", *own, "--skip-unreadable"]) == 0
    few = ["--epochs", "1", "--trials", "1", "--skip-unreadable", "--dry-run"]
    assert run(["search", *own, *few]) == 0


BAD_INPUT: list[tuple[list[str], str]] = [
    (["search", "shapes-convnt"], "Did you mean shapes-convnet?"),
    (["search"], "a ready-made STUDY"),
    (["search", "shapes-convnet", "--fix", "learning_rat=1"], "learning_rate"),
    (["search", "shapes-convnet", "--fix", "learning_rate=9e9"], "learning_rate"),
    (["search", "shapes-convnet", "--fix", "stages=two"], "stages"),
    (["search", "shapes-convnet", "--fix", "stages"], "--fix KNOB=VALUE"),
    (["search", "shapes-convnet", "--epochs", "0"], "--epochs of at least 1"),
    (["search", "shapes-convnet", "--max-flops", "inf"], "--max-flops"),
    (["search", "shapes-convnet", "--max-latency-ms", "nan"], "--max-latency-ms"),
    (["search", "shapes-convnet", "--seed", "4294967296"], "--seed from 0 to"),
    (["search", "shapes-convnet", "--tuner", "magic"], "a tuner"),
    (
        ["search", "shapes-convnet", "--objective", "val_acuracy"],
        "Did you mean val_accuracy?",
    ),
    (["search", "shapes-convnet", "--limit-train", "3"], "one training image a class"),
    (
        ["search", "shapes-convnet", "--tuner", "kt-hyperband", "--trials", "5"],
        "without --trials",
    ),
    (["board", "--port", "80000"], "65535"),
    (["search", "shapes-convnet", "--budget", "soon"], "a duration"),
    (["search", "shapes-convnet", "--weights", "none.h5"], "--weights"),
    (["search", "shapes-convnet", "--name", "../up"], "a study name"),
    (["search", "shapes-convnet", "--patience", "0"], "--patience"),
    (["search", "shapes-unet", "--balance-classes"], "--balance-classes"),
    (["search", "shapes-convnet", "--augmented-passes", "2"], "--augmented-passes"),
    (["search", "shapes-convnet", "--weights", __file__], "--weights"),
    (["search", "shapes-convnet", "--trials-per-gpu", "x"], "auto or a number"),
    (["search", str(Path(__file__).parent)], "vision-tuner init"),
    (["search", "--dataset", "nowhere", "--hypermodel", "convnet"], "a data set"),
    (["search", "--dataset", ".", "--hypermodel", "convnet"], "Expected"),
    (["search", "--dataset", "shapes"], "--hypermodel"),
    (["search", "--dataset", "shapes", "--hypermodel", "x"], "a hypermodel"),
    (["report", "--verify"], "a study that has been searched"),
    (["trials", "nothing"], "a study that has been searched"),
    (["finalize", "shapes-convnet"], "vision-tuner search shapes-convnet"),
    (["export", "nothing"], "a study that has been searched"),
    (["predict", "nothing.keras", "x.jpg"], "nothing.keras"),
    (["board", "shapes-convnet"], "TensorBoard runs"),
    (["nonsense"], "No such command"),
    (["search", "shapes-convnet", "--nonsense"], "No such option"),
]


@pytest.mark.skipif(sys.platform == "win32", reason="has no limits of processes")
def test_a_disk_without_room_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As for a full disk; the limit of a file's size stands for it."""
    import resource

    monkeypatch.chdir(tmp_path)
    for name in ("red", "blue"):
        folder = tmp_path / "own" / name
        folder.mkdir(parents=True)
        for number in range(4):
            colour = ("red", "blue", "green", "grey")[number]
            Image.new("RGB", (20, 20 + number), colour).save(folder / f"{number}.png")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        status = run(["init", "own"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    told = capsys.readouterr().err
    assert status == 1 and told.startswith("vision-tuner: Cannot write")
    assert "Free space" in told and len(told.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["own"]


@pytest.mark.parametrize(("arguments", "part"), BAD_INPUT, ids=lambda a: " ".join(a))
def test_bad_input_gets_one_line_exit_code_2_and_leaves_nothing(
    arguments: list[str],
    part: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1, error
    assert part in error[0]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_told_before_any_work(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").write_text("a file where the folder should be")
    assert run(tiny_search("shapes-convnet", "--workers", "0")) == 2
    assert "--results-dir" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_what_may_not_be_written_is_named_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Where the operating system refuses a verb, as `chmod` does but not to root."""

    def refuse(*arguments: Any, **options: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "results/report.html")

    monkeypatch.setattr(import_module("search.report"), "report", refuse)
    monkeypatch.chdir(tmp_path)
    Path("results/s").mkdir(parents=True)
    assert run(["report", "s"]) == 2
    (error,) = capsys.readouterr().err.strip().splitlines()
    assert "results/report.html" in error and "Permission denied" in error


def test_a_weights_file_of_something_else_is_told_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "weights.h5"
    weights.write_text("not a weights file")
    where = ["--results-dir", str(tmp_path / "results"), "--weights", str(weights)]
    own = ["--dataset", "shapes", "--hypermodel", "vgg16_transfer", *where]
    assert run(["search", *own]) == 2
    (error,) = capsys.readouterr().err.strip().splitlines()
    assert "HDF5" in error and "--weights none" in error


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "search", *arguments]


def wait_for(condition: Any, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def workers(driver: int) -> list[int]:
    """Return the workers of a driver: what its nursery has forked."""
    return [worker for nursery in children(driver) for worker in children(nursery)]


def test_a_search_whose_processes_are_killed_ends_as_if_they_were_not(
    tmp_path: Path,
) -> None:
    # Not over before it is killed, however quick this machine is; the second trial is
    # another network.
    longer = ["--workers", "1", "--seed", "3", "--epochs", "12", "--trials", "2"]
    open_ = ("activation", "downsampling", "width_growth", "normalization")
    tiny = {k: v for k, v in TINY["shapes-convnet"].items() if k not in open_}
    size = ["--limit-train", "128", "--tuner", "random", *fixed(tiny)]
    arguments = ["search", "shapes-convnet", *size, *longer]
    whole = subprocess.run(
        command(*arguments, "--name", "whole"), cwd=tmp_path, check=True
    )
    assert whole.returncode == 0
    search = command(*arguments, "--name", "killed")
    last = tmp_path / "results" / "killed" / "work" / "trials" / "0000" / "last.npz"
    driver = subprocess.Popen(search, cwd=tmp_path)
    wait_for(last.exists)
    (worker,) = workers(driver.pid)
    os.kill(worker, signal.SIGKILL)  # the driver replaces it
    wait_for(lambda: workers(driver.pid) not in ([worker], []))
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    subprocess.run(search, cwd=tmp_path, check=True)
    tables = [
        [
            {k: v for k, v in trial.items() if k != "seconds"}
            for trial in read_json(tmp_path / "results" / name / "trials.json")
        ]
        for name in ("whole", "killed")
    ]
    assert tables[0] == tables[1]
    first, second = (trial["values"] for trial in tables[0])
    assert any(first[knob] != second[knob] for knob in open_)


def test_ctrl_c_saves_and_the_same_command_goes_on(tmp_path: Path) -> None:
    """A second driver is refused while the first one works, with its process."""
    tiny = tiny_search("shapes-convnet", "--workers", "1")
    search = command(*tiny, "--epochs", "500")  # far more than will be trained
    folder = tmp_path / "results" / "shapes-convnet"
    done = 0
    for _ in range(2):
        driver = subprocess.Popen(
            search, cwd=tmp_path, stderr=subprocess.PIPE, text=True
        )
        last = folder / "work/trials/0000"
        wait_for(lambda done=done, last=last: epochs_on_disk(last) > done)
        if not done:
            other = subprocess.run(search, cwd=tmp_path, capture_output=True, text=True)
            assert other.returncode == 2
            holder = f"process {driver.pid} on {socket.gethostname()}, since"
            assert holder in other.stderr
        driver.send_signal(signal.SIGINT)
        _, error = driver.communicate(timeout=120)
        assert driver.returncode == 1
        assert "the same command goes on" in error
        assert "Traceback" not in error
        (trial,) = read_json(folder / "trials.json")
        assert trial["state"] == "PAUSED"
        assert trial["epochs"] == epochs_on_disk(last) > done
        done = trial["epochs"]


def epochs_on_disk(folder: Path) -> int:
    standing = read_standing(folder / "last.npz")
    return standing.epochs if standing else 0
