"""Masks at the size of their image, and their outlines."""

import numpy as np
import pytest
from PIL import Image

from search.datasets import prepare
from search.datasets.originals import PackedMask, StoredMasks, write_originals
from search.scoring.boundaries import boundary_f, outline, without_void
from search.scoring.intervals import point
from search.scoring.original_resolution import original_columns


def square(edge, low, high):
    mask = np.zeros((edge, edge), np.uint8)
    mask[low:high, low:high] = 1
    return mask


def test_packed_masks_come_back_one_by_one(tmp_path):
    rng = np.random.default_rng(0)
    shapes = [(5, 9), (1, 1), (40, 3)]
    masks = [rng.choice(np.array([0, 1, 255], np.uint8), shape) for shape in shapes]
    write_originals(tmp_path / "m.npy", [PackedMask.of(mask) for mask in masks])
    stored = StoredMasks(tmp_path / "m.npy")
    assert len(stored) == 3
    for mask, back in zip(masks, stored, strict=True):
        np.testing.assert_array_equal(mask, back)
    np.testing.assert_array_equal(stored[2], masks[2])


def test_the_store_keeps_every_mask_at_the_size_of_its_image(tmp_path, monkeypatch):
    monkeypatch.setenv("VISION_TUNER_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    drawn = {}
    for split in ("train", "validation", "test"):
        for number in range(2):
            height, width = (int(n) for n in rng.integers(20, 60, 2))
            mask = rng.choice(np.array([0, 7, 255], np.uint8), (height, width))
            pixels = rng.integers(0, 255, (height, width, 3), np.uint8)
            name = f"{split}{number}"
            for kind, array in (("images", pixels), ("masks", mask)):
                place = tmp_path / "cells" / split / kind
                place.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(place / f"{name}.png")
            drawn[name] = np.where(mask == 7, 1, mask)
    data = prepare(str(tmp_path / "cells"), task="segmentation", image_size=32)
    for split in ("train", "validation", "test"):
        names, masks = data.names(split), data.original_masks(split)
        for name, mask in zip(names, masks, strict=True):
            stem = name.rpartition("/")[2].partition(".")[0]
            np.testing.assert_array_equal(mask, drawn[stem])


def test_an_outline_that_is_met_within_the_tolerance_is_right():
    mask = square(200, 50, 150)  # tolerance: 0.75 % of the diagonal, 2.1 pixels
    assert boundary_f(mask == 1, mask) == 1.0
    assert boundary_f(square(200, 51, 149) == 1, mask) == 1.0
    assert boundary_f(square(200, 60, 140) == 1, mask) < 0.05
    assert boundary_f(np.zeros((200, 200), bool), mask) == 0.0


def test_half_of_an_outline_is_half_the_recall():
    mask = square(200, 50, 150)
    left = mask.copy()
    left[:, 100:] = 0
    value = boundary_f(left == 1, mask)
    # Precision 2/3 (the new edge of 100 pixels is wrong), recall about 1/2.
    assert value == pytest.approx(2 * (2 / 3) * 0.5 / (2 / 3 + 0.5), abs=0.03)


def test_an_outline_within_the_void_band_is_right():
    mask = square(200, 60, 140)
    band = square(200, 55, 145) - square(200, 65, 135)
    mask[band == 1] = 255
    for low in (56, 60, 64):
        assert boundary_f(square(200, low, 200 - low) == 1, mask) == 1.0


def test_the_frame_of_the_image_is_no_outline():
    assert not outline(np.ones((6, 6), bool)).any()
    assert boundary_f(np.ones((6, 6), bool), np.ones((6, 6), np.uint8)) == 1.0
    assert without_void(np.full((3, 3), 255, np.uint8)) is None
    assert boundary_f(np.ones((3, 3), bool), np.full((3, 3), 255, np.uint8)) is None


def test_original_scores_are_those_of_the_masks_a_user_gets():
    probabilities = np.zeros((2, 8, 8), np.float32)
    probabilities[:, :, 4:] = 1.0
    masks = [np.zeros((80, 40), np.uint8), np.zeros((8, 8), np.uint8)]
    masks[0][:, 20:] = 1
    masks[1][:, 4:] = 1
    scores = point(original_columns(probabilities, masks, 1.0, 0.5))
    assert scores["original_dice"] == 1.0
    assert scores["original_pixel_accuracy"] == 1.0
    assert scores["original_boundary_f"] == 1.0
    assert scores["original_all_foreground_dice"] == pytest.approx(2 / 3)
    assert scores["original_all_background_pixel_accuracy"] == 0.5
