"""Where the ensemble errs: what finalize leaves for the report."""

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from search.datasets.sources import VOID
from search.files import read_json
from search.finalizing.blending import Calibrated
from search.finalizing.final_errors import (
    confusion,
    masks,
    mistakes,
    reliability,
    write_errors,
)
from search.paths import study_paths

RANDOM = np.random.default_rng(0)


def test_answers_that_are_as_sure_as_they_are_right_lie_on_the_diagonal() -> None:
    sure = RANDOM.uniform(0.5, 1, 20_000)
    labels = (RANDOM.uniform(size=sure.size) > sure).astype(int)
    probabilities = np.stack([sure, 1 - sure], axis=1)
    bins = reliability("classification", probabilities, labels, 1.0)
    assert sum(entry["share"] for entry in bins) == pytest.approx(1)
    for entry in bins:
        assert entry["right"] == pytest.approx(entry["confidence"], abs=0.03)
    # The temperature makes them less sure, and no less right.
    softer = reliability("classification", probabilities, labels, 3.0)
    assert max(e["confidence"] for e in softer) < max(e["confidence"] for e in bins)


def test_void_pixels_say_nothing_of_reliability() -> None:
    truth = np.array([[[0, 1, VOID, VOID]]], np.uint8)
    foreground = np.array([[[0.1, 0.9, 0.9, 0.1]]])
    (entry,) = reliability("segmentation", foreground, truth, 1.0)
    assert entry == {
        "confidence": pytest.approx(0.9),
        "right": 1.0,
        "share": pytest.approx(1.0),
    }


def test_the_confusion_matrix_counts_every_image_once() -> None:
    probabilities = np.eye(3)[[0, 1, 1, 2, 0]]
    counts = confusion(probabilities, np.array([0, 1, 2, 2, 1]), 3)
    assert counts == [[1, 0, 0], [1, 1, 0], [0, 1, 1]]


def test_the_surest_mistakes_come_first() -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.6, 0.4]])
    images = np.zeros((4, 16, 16, 3), np.uint8)
    labels = np.array([1, 0, 1, 1])
    content, found = mistakes(
        probabilities, Calibrated({"a": 1.0}), images, labels, ["cat", "dog"]
    )
    assert [entry["image"] for entry in found] == [0, 1, 3]
    assert found[0]["predicted"] == "cat" and found[0]["true"] == "dog"
    assert content is not None
    assert Image.open(io.BytesIO(content)).width > 300


def test_no_gallery_is_left_where_there_is_no_mistake(tmp_path: Path) -> None:
    """Not that of an earlier ensemble either, whose mistakes it shows."""
    paths = study_paths("right", tmp_path, tmp_path)
    labels = np.array([0, 1, 1])
    right = {"a": np.eye(2)[labels], "b": np.eye(2)[1 - labels]}
    data = SimpleNamespace(
        open=lambda split, task: (np.zeros((3, 16, 16, 3), np.uint8), labels),
        class_names=["cat", "dog"],
    )
    study = SimpleNamespace(task="classification")
    run: Any = SimpleNamespace(study=study, data=data, paths=paths)
    for member, is_right in (("b", False), ("a", True)):
        blend = Calibrated({member: 1.0})
        choices: Any = SimpleNamespace(ensemble=blend, best_single=blend)
        write_errors(run, choices, right)
        assert paths.gallery.exists() is not is_right
        assert (read_json(paths.errors)["gallery"] == []) is is_right


def test_masks_go_from_the_worst_to_the_best() -> None:
    images = RANDOM.integers(0, 255, (9, 24, 24, 3)).astype(np.uint8)
    truth = np.zeros((9, 24, 24), np.uint8)
    truth[:8, 6:18, 6:18] = 1  # the last has no foreground: no Dice to speak of
    found = truth.astype(float)
    for number in range(8):
        found[number, : 6 + number] = 0
    content, chosen = masks(found, Calibrated({"a": 1.0}), images, truth)
    dice = [entry["dice"] for entry in chosen]
    assert dice == sorted(dice) and dice[-1] == 1.0
    assert chosen[0]["kind"] == "worst"
    assert chosen[-1]["image"] == 0 and 8 not in {entry["image"] for entry in chosen}
    assert content.startswith(b"\x89PNG")


def test_masks_are_shown_where_no_image_has_any_foreground() -> None:
    images = RANDOM.integers(0, 255, (3, 24, 24, 3)).astype(np.uint8)
    nothing = np.zeros((3, 24, 24), np.uint8)
    found = nothing.astype(float)
    found[1, 4:9] = 1
    content, chosen = masks(found, Calibrated({"a": 1.0}), images, nothing)
    assert content.startswith(b"\x89PNG")
    assert (chosen[0]["image"], chosen[0]["dice"]) == (1, 0.0)
    assert chosen[-1]["dice"] == 1.0
