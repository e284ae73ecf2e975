"""On JAX, data that stay on the device: the same training."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from test_features import STUDY as FROZEN
from test_features import TRANSFER, trained
from test_training import arrays, ignore, never, order

from hypermodels.resident import gathered
from search.datasets import PreparedDataset, prepare
from search.datasets.rows import Rows
from search.orders import Outcome
from search.training import checkpoints, streams
from search.training.streams import stream_of
from search.training.workbench import WORKBENCH
from search.workers.worker import run_order

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="only on JAX; tests/test_jax.py runs it"
)
ROOM = 2**30
IMAGES = np.random.default_rng(0).integers(0, 256, (11, 4, 4, 3), np.uint8)
LABELS = np.arange(11, dtype=np.int32)


@pytest.fixture(scope="module")
def data() -> PreparedDataset:
    return prepare("shapes", task="classification", image_size=32)


@pytest.fixture(autouse=True)
def room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give data room on the device, which on CPUs they do not have."""
    monkeypatch.setattr(streams, "room_for_arrays", lambda: ROOM)
    WORKBENCH.clear()


@pytest.mark.parametrize(("size", "parts"), [(2, 1), (4, 2), (11, 1)])
def test_rows_are_the_batches_of_an_epoch(size: int, parts: int) -> None:
    skips = IMAGES.astype(np.float64) / 3
    stream = stream_of(((IMAGES, skips), LABELS), size, parts)
    for seed in range(2):
        stream.rows = np.random.default_rng(seed).permutation(11)
        assert len(stream.source) == len(stream)
        for step in range(len(stream)):
            (images, halves), labels = gathered(stream.source[step])
            (of_images, of_halves), of_labels = stream.batch(step)
            np.testing.assert_array_equal(labels, of_labels)
            np.testing.assert_array_equal(images, of_images)
            np.testing.assert_array_equal(halves, of_halves)
            assert (images.dtype, halves.dtype) == (np.uint8, np.float32)


def test_rows_of_files_are_put_on_the_device_as_they_are_read() -> None:
    some = Rows((IMAGES[:6], IMAGES[6:]), np.array([9, 0, 5, 6]))
    stream = stream_of((some, LABELS[:4]), 2)
    assert stream.is_resident
    found = [np.asarray(gathered(stream.source[step])[0]) for step in range(2)]
    np.testing.assert_array_equal(np.concatenate(found), IMAGES[[9, 0, 5, 6]])


def test_data_larger_than_their_room_are_read_in_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for room, is_resident in ((IMAGES.nbytes, False), (IMAGES.nbytes + 44, True)):
        monkeypatch.setattr(streams, "room_for_arrays", lambda room=room: room)
        assert stream_of((IMAGES, LABELS), 2).is_resident == is_resident


def test_data_are_not_copied_into_every_worker_on_a_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    assert streams.room_for_arrays() == 0


def both_ways(
    monkeypatch: pytest.MonkeyPatch, train: Any, tmp_path: Path
) -> list[tuple[Outcome, list[np.ndarray[Any, Any]]]]:
    """Train with data on the device, then outside; return outcomes and variables."""
    found = []
    for room in (ROOM, 0):
        monkeypatch.setattr(streams, "room_for_arrays", lambda room=room: room)
        WORKBENCH.clear()
        folder = tmp_path / str(room)
        outcome = train(folder)
        assert outcome.state == "COMPLETED", outcome
        found.append((outcome, arrays(folder)))
    return found


def assert_alike(both: list[tuple[Outcome, list[np.ndarray[Any, Any]]]]) -> None:
    (one, ours), (other, theirs) = both
    for name, values in other.history.items():
        np.testing.assert_allclose(one.history[name], values, rtol=1e-3, atol=1e-4)
    for mine, its in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-3, atol=2e-4)


def test_a_training_on_rows_is_that_on_batches(
    data: PreparedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Augmentation, mixing, dropout, averages of weights, and a smaller last batch."""

    def train(folder: Path) -> Outcome:
        mixed = order(data, folder, 1, mixing="mixup", batch_size=24)
        return run_order(mixed, ignore, never)

    assert_alike(both_ways(monkeypatch, train, tmp_path))


def test_a_head_on_rows_of_features_is_that_on_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_alike(
        both_ways(monkeypatch, lambda f: trained(f, FROZEN, TRANSFER, 2), tmp_path)
    )


def test_a_training_that_was_cut_goes_on_as_if_it_had_not_been(
    data: PreparedDataset, tmp_path: Path
) -> None:
    whole = run_order(order(data, tmp_path / "whole", 2), ignore, never)
    for epochs in (1, 2):
        WORKBENCH.clear()
        part = run_order(order(data, tmp_path / "parts", epochs), ignore, never)
    assert part.history == whole.history
    pairs = zip(arrays(tmp_path / "parts"), arrays(tmp_path / "whole"), strict=True)
    for ours, theirs in pairs:
        np.testing.assert_array_equal(ours, theirs)


def test_a_checkpoint_is_of_the_epoch_it_belongs_to_though_training_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checkpoints, "are_on_accelerator", lambda values: True)
    variables = [keras.Variable(np.full((3, 2), n, "float32")) for n in range(3)]
    copied = checkpoints.begin_copy(variables)
    for variable in variables:
        before = variable.value
        variable.assign(variable.value + 1)
        before.delete()  # as a step does that is given its memory
    for n, value in enumerate(copied()):
        np.testing.assert_array_equal(value, np.full((3, 2), n, "float32"))


def test_a_training_whose_copies_are_fetched_later_can_be_continued(
    monkeypatch: pytest.MonkeyPatch, data: PreparedDataset, tmp_path: Path
) -> None:
    monkeypatch.setattr(checkpoints, "are_on_accelerator", lambda values: True)
    straight = run_order(order(data, tmp_path / "straight", 2), ignore, never)
    for epochs in (1, 2):
        WORKBENCH.clear()
        parts = run_order(order(data, tmp_path / "parts", epochs), ignore, never)
    assert parts.history == straight.history
    for one, other in zip(
        arrays(tmp_path / "straight"), arrays(tmp_path / "parts"), strict=True
    ):
        np.testing.assert_array_equal(one, other)
