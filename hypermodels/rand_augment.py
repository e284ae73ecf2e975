"""RandAugment: a few transformations, drawn for each image from a list.

Source: Cubuk et al. 2020, with the ranges that torchvision's RandAugment has at its
defaults (2 operations, magnitude 9 of 30); without sharpness and equalisation.
`keras.layers.RandAugment` draws one pair of operations for a whole batch and computes
all 22 candidates every time, so ours chooses per image.
"""

import math
from typing import Any

import keras

OPERATIONS = 2
MAGNITUDE = 9 / 30
GEOMETRY = ("rotate", "shear_rows", "shear_columns", "shift_rows", "shift_columns")
COLOUR = ("brightness", "contrast", "saturation", "solarize", "posterize", "stretch")
NAMES = ("identity", *GEOMETRY, *COLOUR)
MAX_VALUE = 255.0
# ITU-R BT.601.
LUMA = (0.299, 0.587, 0.114)


def draw_operations(count: Any, seed: Any) -> list[tuple[Any, Any]]:
    """Draw `OPERATIONS` per image.

    Returns:
        for each, its place in `NAMES` and its sign, -1 or 1, both (count,) float32.
    """
    ops = keras.ops
    drawn = []
    for _ in range(OPERATIONS):
        place = keras.random.uniform((count,), 0, len(NAMES), "float32", seed)
        up = keras.random.uniform((count,), 0, 1, "float32", seed) < 0.5
        drawn.append((ops.floor(place), ops.where(up, 1.0, -1.0)))
    return drawn


def chosen(place: Any, name: str) -> Any:
    """Return where an image drew the operation `name`, (count,) float32."""
    return keras.ops.cast(place == NAMES.index(name), "float32")


def move_points(
    rows: Any, columns: Any, height: Any, width: Any, operations: Any
) -> tuple[Any, Any]:
    """Apply the geometric operations to the points that pixels are taken from.

    Args:
        rows, columns: (count, height, width) float32, in pixels.
    """
    ops = keras.ops
    height, width = ops.cast(height, "float32"), ops.cast(width, "float32")
    down, right = rows - (height - 1.0) / 2.0, columns - (width - 1.0) / 2.0
    for place, sign in operations:

        def amount(name: str, largest: float, place: Any = place, s: Any = sign) -> Any:
            strength = chosen(place, name) * s * largest * MAGNITUDE
            return strength[:, None, None]

        angle = amount("rotate", math.radians(30.0))
        cosine, sine = ops.cos(angle), ops.sin(angle)
        down, right = cosine * down + sine * right, cosine * right - sine * down
        down = down + amount("shear_rows", 0.3) * right
        right = right + amount("shear_columns", 0.3) * down
        down = down + ops.round(amount("shift_rows", 150 / 331) * height)
        right = right + ops.round(amount("shift_columns", 150 / 331) * width)
    return down + (height - 1.0) / 2.0, right + (width - 1.0) / 2.0


def recolour(images: Any, operations: Any) -> Any:
    """Apply the operations on colour to images (count, height, width, 3), 0-255."""
    ops = keras.ops
    for place, sign in operations:
        factor = (1.0 + sign * 0.9 * MAGNITUDE)[:, None, None, None]
        changed = images
        for name in COLOUR:
            is_chosen = (place == NAMES.index(name))[:, None, None, None]
            changed = ops.where(is_chosen, coloured(images, name, factor), changed)
        images = ops.clip(changed, 0.0, MAX_VALUE)
    return images


def coloured(images: Any, name: str, factor: Any) -> Any:
    """Apply one operation on colour to all images."""
    ops = keras.ops
    if name == "brightness":
        return images * factor
    if name == "solarize":
        threshold = MAX_VALUE * (1.0 - MAGNITUDE)
        return ops.where(images >= threshold, MAX_VALUE - images, images)
    if name == "posterize":
        step = 2.0 ** round(4 * MAGNITUDE)
        return ops.floor(images / step) * step
    if name == "stretch":
        low = ops.min(images, axis=(1, 2), keepdims=True)
        high = ops.max(images, axis=(1, 2), keepdims=True)
        scale = MAX_VALUE / ops.maximum(high - low, 1.0)
        return ops.where(high > low, (images - low) * scale, images)
    luma = ops.convert_to_tensor(LUMA, dtype="float32")
    grey = ops.sum(images * luma, axis=-1, keepdims=True)
    if name == "contrast":
        grey = ops.mean(grey, axis=(1, 2), keepdims=True)
    return grey + (images - grey) * factor
