"""Real training of tiny networks: resume, promotion, failures, checkpoints."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search.datasets import PreparedDataset, prepare
from search.errors import InputError
from search.orders import Order, Outcome, Progress, from_line, to_line
from search.studies import Study
from search.training.checkpoints import BEST, LAST, load_variables, read_standing
from search.training.leases import leased
from search.training.loop import build_model, make_hypermodel
from search.training.predictions import load_best
from search.workers.worker import run_order

# Every part of the state at once: random augmentation and dropout, momentum, moving
# averages of weights and of normalisation, a schedule over the whole life.
VALUES: dict[str, Any] = {
    "stages": 2,
    "blocks_per_stage": 1,
    "base_filters": 16,
    "width_growth": 1.5,
    "convolution": "standard",
    "residual": True,
    "normalization": "batch",
    "activation": "relu",
    "downsampling": "stride",
    "squeeze_excitation": False,
    "stochastic_depth_rate": 0.1,
    "dropout_rate": 0.2,
    "augmentation": "flip_crop",
    "mixing": "none",
    "batch_size": 64,
    "label_smoothing": 0.0,
    "weight_averaging": True,
    "optimizer": "adamw",
    "learning_rate": 2e-3,
    "weight_decay": 1e-2,
    "schedule": "cosine",
    "warmup_fraction": 0.05,
}
STUDY = Study(
    "tiny",
    "classification",
    "shapes",
    "convnet",
    epochs=4,
    limit_train=128,
)
MEASURED = replace(STUDY, further_objectives=["latency_ms", "flops"])


@pytest.fixture(scope="module")
def data() -> PreparedDataset:
    return prepare("shapes", task="classification", image_size=32)


def order(data: PreparedDataset, folder: Path, epochs: int = 4, **values: Any) -> Order:
    """Return an order that draws and measures nothing besides its training."""
    return Order(
        order_id="0000",
        job="train",
        study=asdict(STUDY),
        data_folder=str(data.folder),
        folder=str(folder),
        logs=None,
        values=VALUES | values,
        seed=0,
        epochs=epochs,
        length=4,
    )


def measured_order(
    data: PreparedDataset, folder: Path, study: Study = MEASURED
) -> Order:
    """Return one with pictures, curves and the costs of its network."""
    plain = order(data, folder)
    return replace(plain, study=asdict(study), logs=str(folder / "logs"))


def ignore(progress: Progress) -> None:
    pass


def never() -> bool:
    return False


def arrays(folder: Path) -> list[np.ndarray[Any, Any]]:
    with np.load(folder / LAST) as file:
        return [file[name] for name in sorted(file.files) if name != "state"]


@pytest.fixture(scope="module")
def straight(
    data: PreparedDataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Outcome]:
    folder = tmp_path_factory.mktemp("straight")
    return folder, run_order(measured_order(data, folder), ignore, never)


def test_promotion_with_sgd_momentum_and_cosine_is_the_same_training(
    data: PreparedDataset, tmp_path: Path
) -> None:
    """keras-tuner: a promoted trial restarts its optimizer and its schedule."""
    sgd = {"optimizer": "sgd", "sgd_learning_rate": 0.05, "sgd_weight_decay": 1e-4}
    values = {**sgd, "weight_averaging": False, "normalization": "group"}
    for epochs in (1, 3):
        promoted = order(data, tmp_path / "promoted", epochs, **values)
        outcome = run_order(promoted, ignore, never)
    straight = order(data, tmp_path / "straight", 3, **values)
    assert run_order(straight, ignore, never).history == outcome.history
    pairs = zip(
        arrays(tmp_path / "promoted"), arrays(tmp_path / "straight"), strict=True
    )
    for ours, theirs in pairs:
        np.testing.assert_array_equal(ours, theirs)


def test_what_a_network_costs_is_measured_and_kept(
    straight: tuple[Path, Outcome],
) -> None:
    folder, outcome = straight
    assert set(outcome.measured) == {"latency_ms", "flops"}
    assert all(value and value > 0 for value in outcome.measured.values())
    standing = read_standing(folder / LAST)
    assert standing is not None
    assert standing.measured == outcome.measured


def test_a_trial_promoted_from_rung_to_rung_is_the_same_training(
    data: PreparedDataset, straight: tuple[Path, Outcome], tmp_path: Path
) -> None:
    folder, whole = straight
    for epochs in (1, 2, 4):
        outcome = run_order(order(data, tmp_path, epochs), ignore, never)
        assert outcome.state == "COMPLETED"
    assert outcome.history == whole.history
    for ours, theirs in zip(arrays(tmp_path), arrays(folder), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_plateau_is_found_again_by_a_trial_that_goes_on(
    data: PreparedDataset, tmp_path: Path
) -> None:
    # A rate so small that the loss stays: reduced once two epochs were no better.
    plateau: dict[str, Any] = {
        "schedule": "reduce_on_plateau",
        "warmup_fraction": 0.0,
        "learning_rate": 1e-9,
        "normalization": "none",
        "weight_averaging": False,
        "augmentation": "none",
    }
    whole = run_order(order(data, tmp_path / "a", **plateau), ignore, never)
    for epochs in (3, 4):
        part = run_order(order(data, tmp_path / "b", epochs, **plateau), ignore, never)
    rates = whole.history["learning_rate"]
    np.testing.assert_allclose(rates, [1e-9, 1e-9, 1e-9, 1e-10], rtol=1e-4)
    assert part.history == whole.history


def test_an_order_stopped_when_asked_keeps_its_epoch_and_goes_on(
    data: PreparedDataset, straight: tuple[Path, Outcome], tmp_path: Path
) -> None:
    stopped = run_order(order(data, tmp_path), ignore, lambda: True)
    assert stopped.state == "PAUSED"
    assert len(stopped.history["loss"]) == 1
    resumed = run_order(order(data, tmp_path), ignore, never)
    assert resumed.history == straight[1].history


def test_a_worker_whose_trial_was_given_to_another_writes_nothing_more(
    data: PreparedDataset, tmp_path: Path
) -> None:
    ours = leased(order(data, tmp_path))

    def give_away(progress: Progress) -> None:
        leased(ours)

    outcome = run_order(ours, give_away, never)
    assert "another worker" in str(outcome.message)
    standing = read_standing(tmp_path / LAST)
    assert standing is not None
    assert standing.epochs == 1


def test_an_order_that_is_done_is_answered_without_training(
    data: PreparedDataset, straight: tuple[Path, Outcome]
) -> None:
    folder, whole = straight
    seen: list[Progress] = []
    again = run_order(measured_order(data, folder), seen.append, never)
    assert seen == []
    assert again == whole


def test_an_order_answered_from_a_longer_training_tells_its_own_epochs(
    data: PreparedDataset, tmp_path: Path
) -> None:
    longer = run_order(order(data, tmp_path, epochs=2), ignore, never)
    answer = run_order(order(data, tmp_path, epochs=1), ignore, never)
    assert answer.state == "COMPLETED"
    assert answer.history == {k: v[:1] for k, v in longer.history.items()}
    assert answer.seconds == pytest.approx(longer.seconds / 2)


def test_every_epoch_is_reported_once_it_is_on_disk(
    data: PreparedDataset, tmp_path: Path
) -> None:
    def check(progress: Progress) -> None:
        standing = read_standing(tmp_path / LAST)
        assert standing is not None
        assert standing.epochs == progress.epoch
        assert standing.history["val_accuracy"][-1] == progress.logs["val_accuracy"]

    outcome = run_order(order(data, tmp_path, epochs=2), check, never)
    assert outcome.message is None
    assert outcome.state == "COMPLETED"


def test_the_best_weights_give_the_recorded_score(
    data: PreparedDataset, straight: tuple[Path, Outcome]
) -> None:
    folder, whole = straight
    best = max(value or 0 for value in whole.history["val_accuracy"])
    model = load_best(order(data, folder))
    images, labels = data.open("validation", "classification")
    accuracy = model.evaluate(images, labels, verbose=0, return_dict=True)["accuracy"]
    assert accuracy == pytest.approx(best, abs=1e-6)


def test_a_checkpoint_of_another_network_is_refused(
    data: PreparedDataset, straight: tuple[Path, Outcome]
) -> None:
    folder, _ = straight
    other = order(data, folder, base_filters=32)
    model = build_model(other, make_hypermodel(STUDY, data, 4))
    with pytest.raises(InputError, match="another --name"):
        load_variables(folder / BEST, model.variables)


def test_a_loss_that_is_not_finite_is_told_apart(
    data: PreparedDataset, tmp_path: Path
) -> None:
    values = {"normalization": "none", "residual": False, "weight_averaging": False}
    wild = order(data, tmp_path, learning_rate=1e30, **values)
    outcome = run_order(wild, ignore, never)
    assert (outcome.state, outcome.failure) == ("FAILED", "not finite")
    assert "loss = " in str(outcome.message)


def test_a_network_above_the_size_limit_is_infeasible(
    data: PreparedDataset, tmp_path: Path
) -> None:
    for limit in (
        {"max_flops": 1e3},
        {"max_parameters": 10},
        {"max_latency_ms": 1e-3},
    ):
        small = replace(order(data, tmp_path), study=asdict(replace(STUDY, **limit)))
        outcome = run_order(small, ignore, never)
        assert (outcome.state, outcome.failure) == ("INFEASIBLE", "infeasible")
        assert "--max-" in str(outcome.message)
    assert not (tmp_path / LAST).exists()


def test_a_trial_that_has_begun_is_not_ended_by_a_slower_measurement(
    data: PreparedDataset, straight: tuple[Path, Outcome]
) -> None:
    folder, whole = straight
    study = replace(MEASURED, max_latency_ms=1e-3)
    again = run_order(measured_order(data, folder, study), ignore, never)
    assert again == whole


def test_a_bug_comes_back_with_its_traceback(
    data: PreparedDataset, tmp_path: Path
) -> None:
    outcome = run_order(order(data, tmp_path, activation="nonsense"), ignore, never)
    assert (outcome.state, outcome.failure) == ("FAILED", "bug")
    assert "nonsense" in str(outcome.message)
    assert "Traceback" in str(outcome.traceback)


def test_training_stops_early_when_the_score_stays(
    data: PreparedDataset, tmp_path: Path
) -> None:
    study = replace(STUDY, patience=1)
    frozen = order(data, tmp_path, learning_rate=1e-12, weight_averaging=False)
    outcome = run_order(replace(frozen, study=asdict(study)), ignore, never)
    assert outcome.state == "COMPLETED"
    assert "stopped early" in str(outcome.message)
    assert len(outcome.history["loss"]) < 4


def test_messages_survive_the_way_between_processes(
    data: PreparedDataset, straight: tuple[Path, Outcome], tmp_path: Path
) -> None:
    messages = (
        order(data, tmp_path),
        straight[1],
        Progress("0000", 1, 0.5, {"a": None}),
    )
    for message in messages:
        assert from_line(to_line(message)) == message
