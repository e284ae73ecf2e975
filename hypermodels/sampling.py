"""Reading images at other places than their pixels' own, one place a pixel.

Places are rows and columns, float32, in pixels of the image: (batch, height, width),
or, where rows do not depend on columns, (batch, height, 1) and (batch, 1, width).
"""

from typing import Any

import keras


def sample_bilinear(images: Any, rows: Any, columns: Any) -> Any:
    """Read images (batch, height, width, 3) between pixels, reflected outside."""
    ops = keras.ops
    height, width = ops.shape(images)[1:3]
    rows, columns = reflect(rows, height), reflect(columns, width)
    top, left = ops.floor(rows), ops.floor(columns)
    lower = (rows - top)[..., None]
    righter = (columns - left)[..., None]
    top, left = ops.cast(top, "int32"), ops.cast(left, "int32")
    bottom = ops.minimum(top + 1, height - 1)
    right = ops.minimum(left + 1, width - 1)
    upper_line = read(images, top, left) * (1.0 - righter)
    upper_line += read(images, top, right) * righter
    lower_line = read(images, bottom, left) * (1.0 - righter)
    lower_line += read(images, bottom, right) * righter
    return upper_line * (1.0 - lower) + lower_line * lower


def sample_whole(images: Any, rows: Any, columns: Any) -> Any:
    """Read whole pixels of images (batch, height, width, 3), reflected outside."""
    ops = keras.ops
    height, width = ops.shape(images)[1:3]
    rows = ops.cast(reflect(rows, height), "int32")
    columns = ops.cast(reflect(columns, width), "int32")
    return read(images, rows, columns)


def sample_nearest(masks: Any, rows: Any, columns: Any, *, fill: int) -> Any:
    """Read masks (batch, height, width[, 1]) at the nearest pixel, `fill` outside."""
    ops = keras.ops
    shape = ops.shape(masks)
    height, width = shape[1:3]
    rows = ops.cast(ops.floor(rows + 0.5), "int32")
    columns = ops.cast(ops.floor(columns + 0.5), "int32")
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    pixels = ops.reshape(masks, (-1, height, width, 1))
    moved = read(pixels, ops.clip(rows, 0, height - 1), ops.clip(columns, 0, width - 1))
    outside = ops.cast(fill, masks.dtype)
    return ops.reshape(ops.where(inside[..., None], moved, outside), shape)


def reflect(positions: Any, length: Any) -> Any:
    """Fold positions back into 0..length-1, the border pixel repeated once."""
    ops = keras.ops
    length = ops.cast(length, "float32")
    folded = length - ops.abs(ops.mod(positions + 0.5, 2.0 * length) - length) - 0.5
    return ops.clip(folded, 0.0, length - 1.0)


def read(images: Any, rows: Any, columns: Any) -> Any:
    """Read pixels: rows and columns are int32, inside."""
    ops = keras.ops
    count, height, width, channels = ops.shape(images)
    first = ops.arange(count, dtype="int32")[:, None, None] * (height * width)
    pixels = ops.reshape(images, (-1, channels))
    return ops.take(pixels, first + rows * width + columns, axis=0)
