"""Views of test-time augmentation: seen changed, and put back to the pixel."""

import numpy as np
import pytest

from search.errors import InputError
from search.training.tta import averaged_over_views, check_kinds, views

IMAGES = np.random.default_rng(0).integers(0, 255, (3, 16, 32, 3), np.uint8)


def test_the_plain_view_comes_first_and_kinds_are_combined():
    assert [len(views(k, 16, 32)) for k in ((), ("flip",), ("shift",))] == [1, 2, 5]
    both = views(("flip", "shift"), 16, 32)
    assert len(set(both)) == 10
    np.testing.assert_array_equal(both[0].of(IMAGES), IMAGES)


def test_masks_are_put_back_where_they_were():
    """A model that marks a colour: of every view the same pixels must come back."""
    for view in views(("flip", "shift"), 16, 32):
        seen = view.of(IMAGES)[..., :1].astype(np.float32)
        back = view.undone(seen)
        inner = (slice(None), slice(2, -2), slice(3, -3))
        np.testing.assert_array_equal(back[inner], IMAGES[inner][..., :1])


def test_a_shift_moves_by_a_sixteenth_and_repeats_the_border():
    down = next(v for v in views(("shift",), 16, 32) if v.down == 1)
    seen = down.of(IMAGES)
    np.testing.assert_array_equal(seen[:, 1:], IMAGES[:, :-1])
    np.testing.assert_array_equal(seen[:, 0], IMAGES[:, 0])
    right = next(v for v in views(("shift",), 16, 32) if v.right == 2)
    np.testing.assert_array_equal(right.of(IMAGES)[:, :, 2:], IMAGES[:, :, :-2])


def test_the_mean_over_views_of_what_does_not_see_sides_is_the_plain_answer():
    def brightness(images):
        mean = images.mean(axis=(1, 2, 3), dtype=np.float64)[:, None]
        return np.concatenate([mean, 255 - mean], axis=1) / 255

    plain = brightness(IMAGES)
    flipped = averaged_over_views(brightness, IMAGES, ("flip",), "classification")
    np.testing.assert_allclose(flipped, plain, rtol=1e-6)
    none = averaged_over_views(brightness, IMAGES, (), "classification")
    np.testing.assert_allclose(none, plain, rtol=1e-6)


def test_a_model_that_prefers_one_side_is_evened_out():
    def left_half(images):
        return (images[..., :1] > 127) * (np.arange(32) < 16)[None, None, :, None]

    mean = averaged_over_views(left_half, IMAGES, ("flip",), "segmentation")
    bright = IMAGES[..., :1] > 127
    np.testing.assert_allclose(mean, bright / 2)


def test_an_unknown_kind_is_refused_and_the_order_is_fixed():
    assert check_kinds(["shift", "flip", "flip"]) == ("flip", "shift")
    with pytest.raises(InputError, match="'rotate'"):
        check_kinds(["rotate"])
