"""Comparisons: only the named knob changes, and the intervals mean what they say."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import SMALL_UNET
from small import fixed as fixed_words

from search.cli import run
from search.comparing.ablation import kept, make_path
from search.comparing.comparisons import (
    Comparison,
    Run,
    differences_of,
    ended_run,
    read_comparison,
    read_path,
)
from search.comparing.variants import base_values, changed, compared_values, differing
from search.errors import InputError
from search.files import read_json
from search.listing import study_state
from search.orders import Outcome
from search.paths import study_paths
from search.records import Finalist, History, Trial, Values
from search.scoring.paired import difference, mean_interval, verdict
from search.spaces import completed
from search.studies import ready_made

SIMULATIONS = 1000
TINY = ("stages=2", "blocks_per_stage=1", "base_filters=16")


@pytest.fixture(scope="module")
def space() -> Any:
    import keras_tuner

    space = keras_tuner.HyperParameters()
    space.Float("learning_rate", 1e-4, 1e-1, sampling="log", default=1e-3)
    space.Int("depth", 1, 9, default=3)
    space.Choice("optimizer", ["adam", "sgd"])
    with space.conditional_scope("optimizer", ["sgd"]):
        space.Float("momentum", 0.0, 0.99, default=0.9)
    space.Boolean("residual", default=True)
    return space


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_intervals_cover_the_truth_in_95_of_100_comparisons(seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    truth, covered = 0.02, 0
    for _ in range(SIMULATIONS):
        shared = rng.normal(0, 0.05, seeds)  # what a seed does to both
        first = 0.5 + shared + rng.normal(0, 0.01, seeds)
        second = 0.5 + truth + shared + rng.normal(0, 0.01, seeds)
        found = difference("b", "a", list(zip(second, first, strict=True)))
        assert found.low is not None and found.high is not None
        covered += found.low <= truth <= found.high
    assert 0.93 <= covered / SIMULATIONS <= 0.97


def test_one_seed_has_no_interval_and_says_so() -> None:
    found = difference("b", "a", [(0.7, 0.6)])
    assert (found.low, found.high) == (None, None)
    assert mean_interval([0.1]) is None
    assert "one seed" in verdict(found, 1, "val_accuracy")


def test_verdict_knows_which_direction_is_better() -> None:
    found = difference("b", "a", [(0.70, 0.60), (0.71, 0.60), (0.72, 0.62)])
    assert "b is better than a" in verdict(found, 1, "val_accuracy")
    assert "b is worse than a" in verdict(found, -1, "val_loss")
    none = difference("b", "a", [(0.7, 0.6), (0.5, 0.6)])
    assert "no difference can be told" in verdict(none, 1, "val_accuracy")
    assert "no seed" in verdict(difference("b", "a", []), 1, "val_accuracy")


def test_a_failed_seed_is_left_out_of_both_sides_of_its_pair() -> None:
    scores = {("a", 0): 0.5, ("a", 1): 0.6, ("b", 0): 0.7, ("b", 1): None}
    runs = [
        Run(f"{value}{seed}", value, seed, {}, score=score)  # as `ended_run` scores
        for (value, seed), score in scores.items()
    ]
    (found,) = differences_of(runs, ["a", "b"], "val_accuracy", 100)
    assert found.by_seed == [pytest.approx(0.2)]


def test_a_changed_knob_brings_its_own_knobs_and_drops_others(space: Any) -> None:
    base = completed(space, {})
    assert "momentum" not in base
    with_sgd = changed(space, base, "optimizer", "sgd")
    assert with_sgd == base | {"optimizer": "sgd", "momentum": 0.9}
    assert changed(space, with_sgd, "optimizer", "adam") == base
    with pytest.raises(InputError, match=r"momentum is active .*optimizer = sgd"):
        changed(space, base, "momentum", 0.5)


def test_values_compared_by_default(space: Any) -> None:
    assert list(compared_values(space, "optimizer", None)) == ["adam", "sgd"]
    assert list(compared_values(space, "residual", None)) == ["false", "true"]
    assert list(compared_values(space, "depth", None)) == ["1", "3", "9"]
    assert compared_values(space, "depth", [9, "2"]) == {"9": 9, "2": 2}
    for knob, values in (("depht", None), ("depth", [3]), ("depth", [3, 30])):
        with pytest.raises(InputError):
            compared_values(space, knob, values)


def test_the_best_is_who_was_best_after_all_epochs(space: Any) -> None:
    study = ready_made("cifar100-convnet")
    trials = [
        Trial("0000", "COMPLETED", 0.3, values={"depth": 1}),
        Trial("0001", "COMPLETED", 0.2, values={"depth": 2}),
        Trial("0002", "COMPLETED", 0.1, values={"depth": 3}),
    ]

    def finalist(trial: str, seed: int, score: float | None) -> Finalist:
        scores = {"accuracy": score}
        return Finalist("", trial, seed, {}, 9, 9, scores, {}, 1, 1.0, {}, "")

    assert base_values("best", space, trials, [], study)[0] == "0000"
    ended = [finalist("0000", 0, 0.5), finalist("0000", 1, 0.3)]
    ended += [finalist("0001", 0, 0.45), finalist("0002", 0, None)]
    name, values = base_values("best", space, trials, ended, study)
    assert name == "0001" and values["depth"] == 2


def test_the_path_sets_the_knob_that_gains_most_first(space: Any) -> None:
    gains = {"depth": 0.01, "optimizer": 0.1, "momentum": 0.05, "residual": -0.02}
    start = completed(space, {})
    target = completed(
        space,
        {"optimizer": "sgd", "momentum": 0.5, "depth": 7, "residual": False},
    )
    asked: list[tuple[str, int]] = []

    def train(runs: Sequence[Run], epochs: int) -> list[Run]:
        asked.extend((run.run_id, epochs) for run in runs)
        return [
            replace(run, score=score(run.values) + 0.001 * run.seed, state="COMPLETED")
            for run in runs
        ]

    def score(values: Values) -> float:
        is_set = [k for k in gains if k in values and values[k] == target[k]]
        return 0.5 + sum(gains[knob] for knob in is_set)

    study = replace(ready_made("shapes-convnet"), epochs=9)
    steps = make_path(space, start, target, [0, 1], study, train)
    assert [step.knob for step in steps] == [
        None, "optimizer", "momentum", "depth", "residual",
    ]  # fmt: skip
    assert [step.gain for step in steps[1:]] == pytest.approx([0.1, 0.05, 0.01, -0.02])
    assert steps[-1].values == target
    assert not differing(space, steps[-1].values, target)
    to_the_end = [name for name, epochs in asked if epochs == 9 and "step1" in name]
    assert len(to_the_end) == 2 * kept(3)
    assert ("path-step1-residual-seed0", 3) in asked
    assert "path-step1-residual-seed0" not in to_the_end


def test_what_a_training_reached_before_it_failed_is_no_result() -> None:
    history: History = {"val_accuracy": [0.4, 0.5]}
    ended = Outcome("id", "COMPLETED", history=history)
    failed = replace(ended, state="FAILED", failure="not finite")
    run_of = Run("a0", "a", 0, {})
    assert ended_run(run_of, ended, "val_accuracy", "max").score == 0.5
    cut = ended_run(run_of, failed, "val_accuracy", "max")
    assert (cut.score, cut.best_epoch, cut.epochs) == (None, None, 2)


def test_values_that_look_alike_stay_apart(space: Any) -> None:
    close = compared_values(space, "learning_rate", [0.001, 0.0012341, 0.0012342])
    assert list(close.values()) == [0.001, 0.0012341, 0.0012342]


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two real comparisons and a path, by the command line."""
    folder = tmp_path_factory.mktemp("compare")
    fixed = [word for knob in TINY for word in ("--fix", knob)]
    size = ["--epochs", "1", "--limit-train", "64", "--seeds", "2", "--workers", "0"]
    where = ["--results-dir", str(folder / "r"), "--logs-dir", str(folder / "l")]
    vary = ["--vary", "activation", "--values", "relu,silu"]
    assert run(["compare", "shapes-convnet", *vary, *size, *fixed, *where]) == 0
    unet = fixed_words({k: v for k, v in SMALL_UNET.items() if k != "upsampling"})
    vary = ["--vary", "upsampling", "--values", "transpose,bilinear", "--seeds", "1"]
    assert run(["compare", "shapes-unet", *size, *vary, *unet, *where]) == 0
    return folder


def test_only_the_varied_knob_differs_and_seeds_are_shared(compared: Path) -> None:
    paths = study_paths("shapes-convnet", compared / "r", compared / "l")
    record = read_comparison(paths.comparisons / "activation-from-default.json")
    assert {(run.value, run.seed) for run in record.runs} == {
        ("relu", 0), ("silu", 0), ("relu", 1), ("silu", 1),
    }  # fmt: skip
    others = [{**run.values, "activation": None} for run in record.runs]
    assert all(values == others[0] for values in others)
    assert all(run.score is not None for run in record.runs)
    assert len({run.score for run in record.runs}) > 1
    assert len(record.differences[0].by_seed) == 2
    assert record.about["environment"]["packages"]["keras"]
    assert (record.images, record.seeds) == (1000, [0, 1])
    logs = [paths.logs / "comparisons" / f"{run.run_id}-" for run in record.runs]
    assert all(len(list(log.parent.glob(f"{log.name}*"))) == 1 for log in logs)
    assert not paths.trials.exists()
    assert not paths.test_ledger.exists()


def test_the_same_comparison_again_trains_nothing_and_says_the_same(
    compared: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(*arguments: Any) -> Any:
        raise AssertionError("an epoch was trained")

    monkeypatch.setattr("search.training.continuing.train_epochs", never)
    paths = study_paths("shapes-convnet", compared / "r", compared / "l")
    file = paths.comparisons / "activation-from-default.json"
    before: Comparison = read_comparison(file)
    where = ["--results-dir", str(compared / "r"), "--logs-dir", str(compared / "l")]
    vary = ["--vary", "activation", "--values", "relu,silu", "--seeds", "2"]
    capsys.readouterr()
    again = ["compare", "shapes-convnet", *vary, "--workers", "0", *where, "--json"]
    assert run(again) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["verdicts"] == before.verdicts
    assert read_comparison(file).runs == before.runs


def test_a_study_that_was_only_compared_says_so(compared: Path) -> None:
    paths = study_paths("shapes-unet", compared / "r", compared / "l")
    assert study_state(paths, []) == "compared"
    assert study_state(study_paths("other", compared / "r", compared / "l"), []) == (
        "unfinished"
    )


def test_masks_are_shown_under_each_value_and_in_the_report(compared: Path) -> None:
    paths = study_paths("shapes-unet", compared / "r", compared / "l")
    gallery = paths.comparisons / "upsampling-from-default.png"
    assert gallery.read_bytes().startswith(b"\x89PNG")
    where = ["--results-dir", str(compared / "r"), "--logs-dir", str(compared / "l")]
    assert run(["report", "shapes-unet", *where]) == 0
    page = (paths.folder / "report.html").read_text()
    for verdict_text in read_comparison(gallery.with_suffix(".json")).verdicts:
        assert verdict_text.split(":")[0] in page
    assert "data:image/png;base64," in page
    text = (paths.folder / "report.md").read_text()
    assert "(comparisons/upsampling-from-default.png)" in text


def test_the_path_to_a_trial_is_recorded(compared: Path) -> None:
    paths = study_paths("shapes-convnet", compared / "r", compared / "l")
    where = ["--results-dir", str(compared / "r"), "--logs-dir", str(compared / "l")]
    base = read_json(paths.comparisons / "activation-from-default.json")
    values = base["runs"][0]["values"] | {"activation": "gelu", "label_smoothing": 0.1}
    trial = {"trial_id": "0000", "state": "COMPLETED", "score": 0.5, "best_epoch": 1}
    trial |= {"values": values, "epochs": 1, "history": {"val_accuracy": [0.5]}}
    paths.trials.write_text(json.dumps([trial]))
    command = ["compare", "shapes-convnet", "--path", "--seeds", "1", "--workers", "0"]
    assert run([*command, *where]) == 0
    path = read_path(paths.comparisons / "path-to-0000.json")
    assert path.seeds == [1]  # 0 is the training that was chosen
    assert {step.knob for step in path.steps} == {None, "activation", "label_smoothing"}
    assert path.steps[-1].values == values
    about = paths.study.read_bytes()
    plainer = ["--start", "activation=silu", "--start", "residual=false"]
    assert run([*command, "--from", "default", *plainer, *where]) == 0
    assert paths.study.read_bytes() == about
    (found,) = paths.comparisons.glob("path-to-default-starting-*.json")
    path = read_path(found)
    assert path.base == "default with activation=silu, residual=false"
    first = path.steps[0].values
    assert (first["activation"], first["residual"]) == ("silu", False)
    assert {step.knob for step in path.steps} == {None, "activation", "residual"}
    assert path.steps[-1].values["residual"] is True
    assert run(["report", "shapes-convnet", *where]) == 0
    page = (paths.folder / "report.html").read_text()
    assert "Ablation path" in page and path.base in page
    paths.trials.unlink()  # a path that was asked for without any search
    for file in paths.comparisons.glob("*.json"):
        if file != found:
            file.unlink()
    assert run(["report", "shapes-convnet", *where]) == 0
    tried = 1 + sum(len(step.candidates) for step in path.steps)
    told = (paths.folder / "report.md").read_text()
    assert f"**{tried}** (1 seed)" in told and "Which configuration" not in told


BROKEN = """
import keras

from hypermodels import blocks, optimizers
from hypermodels.image_hypermodel import ImageHyperModel, Network


class Broken(ImageHyperModel):
    task = "classification"
    objective = "val_accuracy"

    def draw(self, hp):
        hp.Int("depth", 1, 6, default=2)
        hp.Fixed("augmentation", "none")
        self.draw_batch_size(hp, 32, 64)
        optimizers.draw_optimizer(hp, ["adamw"], 1e-3, sgd_learning_rate=0.1)

    def network(self, values, images):
        x = keras.layers.GlobalAveragePooling2D()(images)
        x = keras.layers.Rescaling(float("nan"))(x)
        return Network(blocks.class_probabilities(x, self.num_classes))
"""


def test_a_path_without_any_score_is_an_error_and_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken_network.py").write_text(BROKEN)
    monkeypatch.chdir(tmp_path)
    own = ["--dataset", "shapes", "--hypermodel", "broken_network:Broken"]
    small = ["--epochs", "1", "--limit-train", "64", "--seeds", "1", "--workers", "0"]
    path = ["--path", "--from", "default", "--start", "depth=3"]
    assert run(["compare", *own, "--name", "own", *path, *small]) == 1
    assert "no step of the path has a score" in capsys.readouterr().err
    assert not list((tmp_path / "results").glob("own/comparisons/*"))


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ([], "either --vary KNOB or --path. Received: neither"),
        (["--vary", "optimiser"], "Did you mean optimizer?"),
        (["--vary", "activation", "--values", "relu,tanh"], "'tanh'"),
        (["--vary", "activation", "--path"], "Received: both"),
        (["--vary", "activation", "--start", "residual=false"], "--path with --start"),
        (["--path", "--from", "default", "--start", "residual"], "--start KNOB=VALUE"),
        (["--path", "--from", "default", "--start", "depth=1"], "'depth'"),
        (["--path", "--from", "default"], "--start KNOB=VALUE to begin with a plainer"),
        (["--vary", "residual", "--objective", "val_acuracy"], "No such option"),
        (["--vary", "activation", "--seeds", "0"], "--seeds of 1 to 100"),
        (["--vary", "activation", "--from", "best"], "a search of shapes-convnet"),
        (["--vary", "activation", "--fix", "activation=relu"], "at least two values"),
    ],
)
def test_bad_questions_get_one_line(
    arguments: list[str],
    part: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    where = ["--results-dir", str(tmp_path / "r"), "--logs-dir", str(tmp_path / "l")]
    assert run(["compare", "shapes-convnet", *arguments, *where]) == 2
    complaint = capsys.readouterr().err.strip().splitlines()[-1]
    assert part in complaint
    assert not (tmp_path / "r" / "shapes-convnet" / "study.json").exists()
