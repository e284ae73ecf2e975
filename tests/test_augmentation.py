"""Augmentation keeps image and mask together, and labels honest."""

from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from hypermodels.augmentation import (
    CLASSIFICATION,
    SEGMENTATION,
    Augmentation,
    Recipe,
    make_augmentation,
    source_points,
)
from hypermodels.augmented_model import AugmentedModel
from hypermodels.losses import LabelCrossEntropy
from hypermodels.rand_augment import COLOUR, NAMES, coloured, move_points
from hypermodels.sampling import sample_bilinear, sample_nearest, sample_whole

EDGE = 48
Array = NDArray[Any]


def applied(recipe: Recipe, task: str, images: Array, targets: Array) -> Any:
    keras.utils.set_random_seed(3)
    layer = Augmentation(recipe, task=task, num_classes=10)
    outputs = layer(images, targets)
    return tuple(keras.ops.convert_to_numpy(output) for output in outputs)


def coordinates(count: int) -> Array:
    """Images whose red is 2 x row and whose green is 2 x column; blue is 100."""
    rows, columns = np.mgrid[:EDGE, :EDGE] * 2.0
    image = np.stack([rows, columns, np.full_like(rows, 100.0)], axis=-1)
    return np.repeat(image[None].astype("float32"), count, axis=0)


def disc(rows: Array, columns: Array) -> Array:
    return np.hypot(rows - 20, columns - 26) - 12


def disc_masks(count: int) -> Array:
    """A disc of foreground with a ring of void around it, off the middle."""
    distance = disc(*np.mgrid[:EDGE, :EDGE])
    mask = np.where(distance < 0, 1, np.where(distance < 2, 255, 0))
    return np.repeat(mask[None].astype("uint8"), count, axis=0)


@pytest.mark.parametrize("level", [name for name in SEGMENTATION if name != "none"])
def test_mask_says_what_the_image_shows(level: str) -> None:
    recipe = Recipe(**{**vars(SEGMENTATION[level]), "colour": 0.0})
    images, masks = applied(recipe, "segmentation", coordinates(40), disc_masks(40))
    assert set(np.unique(masks)) <= {0, 1, 255}
    distance = disc(images[..., 0] / 2, images[..., 1] / 2)
    # The border is reflected, where coordinates are folded and masks are void.
    assert np.all(distance[masks == 1] < 0.75)
    assert np.all(distance[masks == 0] > 2 - 0.75)
    assert (masks != 255).mean() > 0.4
    assert (masks == 1).mean() > 0.05


def test_what_moves_in_from_outside_is_void() -> None:
    recipe = Recipe(flips=False, scale=(0.5, 0.500001))
    ones = np.ones((8, EDGE, EDGE, 1), "uint8")
    _, masks = applied(recipe, "segmentation", coordinates(8), ones)
    assert masks.shape == ones.shape
    inside = (masks == 1).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(inside, 0.25, atol=0.02)
    assert set(np.unique(masks)) == {1, 255}


def test_flip_mirrors_image_and_mask_exactly_or_leaves_both() -> None:
    images = np.random.default_rng(0).integers(0, 256, (32, 9, 14, 3), "uint8")
    masks = images[..., 0] % 2
    flipped, moved = applied(Recipe(), "segmentation", images, masks)
    kinds = []
    for before, after, mask, new in zip(images, flipped, masks, moved, strict=True):
        mirrored = bool((after == before[:, ::-1]).all())
        assert mirrored or (after == before).all()
        assert (new == (mask[:, ::-1] if mirrored else mask)).all()
        kinds.append(mirrored)
    assert 6 < sum(kinds) < 26


def test_shift_is_in_whole_pixels_up_to_an_eighth() -> None:
    recipe = Recipe(flips=False, shift_fraction=1 / 8)
    images, _ = applied(recipe, "classification", coordinates(64), np.zeros(64))
    middle = images[:, EDGE // 2, EDGE // 2, :2] / 2 - EDGE // 2
    assert (middle == np.round(middle)).all()
    assert middle.min() == -6
    assert middle.max() == 6


def test_whole_pixels_are_what_reading_between_them_gives() -> None:
    recipe = Recipe(shift_fraction=1 / 8)
    assert not recipe.reads_between and CLASSIFICATION["strong"].reads_between
    images = np.random.default_rng(0).uniform(0, 255, (32, 9, 14, 3)).astype("float32")
    seed = keras.random.SeedGenerator(3)
    points = source_points(keras.ops.array(images), recipe, seed)
    whole, between = sample_whole(images, *points), sample_bilinear(images, *points)
    whole, between = map(keras.ops.convert_to_numpy, (whole, between))
    np.testing.assert_array_equal(whole, between)
    assert (whole != images).any(axis=(1, 2, 3)).mean() > 0.8


def test_sampling_agrees_with_keras_affine_transform() -> None:
    rng = np.random.default_rng(1)
    images = rng.uniform(0, 255, (3, 12, 17, 3)).astype("float32")
    maps = rng.normal([1, 0, 3, 0, 1, -2, 0, 0], 0.3, (3, 8)).astype("float32")
    maps[:, 6:] = 0
    y, x = np.mgrid[:12, :17].astype("float32")
    a, b, c, d, e, f = (maps[:, place, None, None] for place in range(6))
    columns, rows = a * x + b * y + c, d * x + e * y + f
    expected = keras.ops.image.affine_transform(images, maps, fill_mode="reflect")
    received = sample_bilinear(images, rows, columns)
    np.testing.assert_allclose(received, expected, atol=0.01)
    expected = keras.ops.image.affine_transform(
        images, maps, "nearest", fill_mode="constant", fill_value=255
    )
    received = sample_nearest(images[..., :1], rows, columns, fill=255)
    equal = keras.ops.convert_to_numpy(received == expected[..., :1])
    assert equal.mean() > 0.99  # Ties may round either way.


def test_colour_changes_images_within_range_and_no_mask() -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), "uint8")
    masks = images[..., 0]
    recipe = Recipe(flips=False, colour=0.3)
    changed, kept = applied(recipe, "segmentation", images, masks)
    assert (kept == masks).all()
    assert changed.min() >= 0
    assert changed.max() <= 255
    assert (changed != images).mean() > 0.5


def test_erasing_paints_one_rectangle_in_some_images() -> None:
    images, labels = np.full((64, 32, 32, 3), 7.0, "float32"), np.arange(64)
    recipe = Recipe(flips=False, erasing=0.5)
    erased, kept = applied(recipe, "classification", images, labels)
    assert (kept == labels).all()
    hit = (erased != 7).any(axis=-1)
    share = hit.mean(axis=(1, 2))
    assert 16 < (share > 0).sum() < 48
    assert share.max() < 0.4
    for image in hit[share > 0]:
        rows, columns = image.any(axis=1).sum(), image.any(axis=0).sum()
        assert image.sum() == rows * columns


def test_cutmix_labels_are_the_shares_of_the_pixels() -> None:
    labels = np.arange(10)
    images = np.broadcast_to(labels[:, None, None, None] * 20.0, (10, 16, 16, 3))
    recipe = Recipe(flips=False, mixing="cutmix")
    mixed, soft = applied(recipe, "classification", images, labels)
    classes = np.round(mixed[..., 0] / 20).astype(int)
    shares = np.stack([(classes == label).mean(axis=(1, 2)) for label in labels], 1)
    np.testing.assert_allclose(soft, shares, atol=1e-6)
    assert ((soft > 0).sum(axis=1) == 2).sum() > 3


def test_mixup_labels_are_the_weights_of_the_images() -> None:
    labels = np.arange(10)
    images = np.zeros((10, 8, 8, 3), "float32") + labels[:, None, None, None]
    recipe = Recipe(flips=False, mixing="mixup")
    mixed, soft = applied(recipe, "classification", images, labels[:, None])
    np.testing.assert_allclose(mixed[:, 0, 0, 0], soft @ labels, atol=1e-4)
    np.testing.assert_allclose(soft.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("level", list(CLASSIFICATION))
def test_every_level_of_classification_keeps_labels(level: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), "uint8")
    layer = make_augmentation("classification", level, num_classes=10)
    if level == "none":
        assert layer is None
        return
    assert layer is not None
    changed, labels = layer(images, np.arange(6))
    assert keras.backend.standardize_dtype(changed.dtype) == "float32"
    assert changed.shape == images.shape
    assert (keras.ops.convert_to_numpy(labels) == np.arange(6)).all()


@pytest.mark.parametrize(("level", "mixing"), [("flop", "none"), ("flip", "cut")])
def test_unknown_levels_are_refused(level: str, mixing: str) -> None:
    with pytest.raises(ValueError, match=r"Expected one of .* Received: "):
        make_augmentation("classification", level, mixing=mixing)


def test_rand_augment_draws_its_operations_for_each_image() -> None:
    images = np.random.default_rng(0).integers(0, 256, (48, 16, 16, 3), "uint8")
    images[:] = images[0]
    recipe = Recipe(flips=False, rand_augment=True)
    changed, labels = applied(recipe, "classification", images, np.arange(48))
    assert (labels == np.arange(48)).all()
    assert 0 <= changed.min() < changed.max() <= 255
    unlike = {image.tobytes() for image in changed.round(3)}
    # Twice one of twelve operations with a sign; of 48, most are unlike all others.
    assert len(unlike) > 24


@pytest.mark.parametrize("name", COLOUR)
def test_rand_augment_s_colours_are_what_their_names_say(name: str) -> None:
    ramp = np.linspace(40, 200, 64, dtype="float32").reshape(1, 8, 8, 1)
    image = np.concatenate([ramp, ramp[:, ::-1], ramp], axis=-1)
    factor = np.full((1, 1, 1, 1), 0.5, "float32")
    changed = keras.ops.convert_to_numpy(coloured(image, name, factor))
    contrast = np.ptp(changed) / np.ptp(image)
    if name == "brightness":
        np.testing.assert_allclose(changed, image / 2, rtol=1e-5)
    elif name == "contrast":
        assert contrast == pytest.approx(0.5, rel=1e-4)
    elif name == "saturation":
        spread = np.ptp(changed, axis=-1) / np.ptp(image, axis=-1).clip(1)
        np.testing.assert_allclose(spread[spread > 0], 0.5, rtol=1e-3)
    elif name == "stretch":
        assert (changed.min(), changed.max()) == (0, pytest.approx(255))
    elif name == "solarize":
        np.testing.assert_allclose(
            changed, np.where(image >= 178.5, 255 - image, image)
        )
    else:
        assert name == "posterize"
        assert (changed % 2 == 0).all()
        assert 0 <= (image - changed).min() <= (image - changed).max() < 2


def test_rand_augment_s_moves_are_small_and_one_at_a_time() -> None:
    rows, columns = np.mgrid[:EDGE, :EDGE].astype("float32")[:, None]
    for name, moved in (
        ("rotate", True),
        ("shear_rows", True),
        ("shift_columns", True),
        ("identity", False),
        ("solarize", False),
    ):
        place = np.array([NAMES.index(name)], "float32")
        drawn = [(place, np.ones(1, "float32"))]
        new = move_points(rows, columns, EDGE, EDGE, drawn)
        new_rows, new_columns = (keras.ops.convert_to_numpy(part) for part in new)
        distance = np.hypot(new_rows - rows, new_columns - columns)
        assert (distance.max() > 1) == moved
        # 30 degrees, 0.3 and 150/331 of the edge, times 9/30.
        assert distance.max() < 0.16 * EDGE


@pytest.mark.parametrize("mixing", ["mixup", "cutmix"])
@pytest.mark.parametrize("level", ["strong", "rand_augment"])
def test_everything_compiles_inside_a_training_step(level: str, mixing: str) -> None:
    recipe = Recipe(**{**vars(CLASSIFICATION[level]), "mixing": mixing, "erasing": 0.5})
    inputs = keras.Input((8, 8, 3))
    outputs = keras.layers.Dense(10, "softmax")(keras.layers.Flatten()(inputs))
    augmentation = Augmentation(recipe, task="classification", num_classes=10)
    model = AugmentedModel(inputs, outputs, augmentation)
    model.compile(loss=LabelCrossEntropy(10))
    before = keras.ops.convert_to_numpy(augmentation.seed_generator.state)
    data = np.ones((5, 8, 8, 3), "uint8"), np.arange(5)
    assert np.isfinite(model.fit(*data, batch_size=4, verbose=0).history["loss"]).all()
    after = keras.ops.convert_to_numpy(augmentation.seed_generator.state)
    assert (before != after).any()
