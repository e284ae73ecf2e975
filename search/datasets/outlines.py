"""The outlines of the generated shapes, as tables of signed distances.

A table gives the distance of a point to the outline, negative inside, on a fine grid:
any size, rotation and proportion of a shape is then one look-up a pixel.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

REACH = 1.6  # the tables cover -REACH to REACH; shapes have about radius 1
GRID = 224  # points an edge


def distance_to_polygon(corners: NDArray[np.float64]) -> Floats:
    """Return the (GRID, GRID) distances to a closed polygon with (n, 2) corners."""
    line = np.linspace(-REACH, REACH, GRID)
    points = np.stack(np.meshgrid(line, line), axis=-1)
    nearest = np.full((GRID, GRID), np.inf)
    is_inside = np.zeros((GRID, GRID), bool)
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        edge, offset = end - start, points - start
        along = np.clip(offset @ edge / (edge @ edge), 0, 1)
        gap = offset - along[..., None] * edge
        nearest = np.minimum(nearest, np.hypot(gap[..., 0], gap[..., 1]))
        # Even-odd rule: count the edges that a ray to the right crosses.
        is_between = (start[1] <= points[..., 1]) != (end[1] <= points[..., 1])
        side = edge[0] * offset[..., 1] - edge[1] * offset[..., 0]
        is_inside ^= is_between & ((side > 0) == (edge[1] < 0))
    return np.where(is_inside, -nearest, nearest).astype(np.float32)


def regular(corners: int, inner: float = 1.0) -> Floats:
    """Return a regular polygon, or a star where `inner` radius is below 1."""
    angles = np.arange(corners) * 2 * np.pi / corners - np.pi / 2
    radii = np.where(np.arange(corners) % 2, inner, 1.0)
    return distance_to_polygon(
        np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=-1)
    )


def polygon(*corners: tuple[float, float]) -> Floats:
    return distance_to_polygon(np.array(corners, np.float64))


def circle(radius: float = 1.0, x: float = 0.0) -> Floats:
    line = np.linspace(-REACH, REACH, GRID)
    return (np.hypot(line - x, line[:, None]) - radius).astype(np.float32)


def heart() -> Floats:
    """Source: the usual parametric heart curve, scaled to about radius 1."""
    turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    x = 16 * np.sin(turn) ** 3
    y = -(13 * np.cos(turn) - 5 * np.cos(2 * turn) - 2 * np.cos(3 * turn))
    return distance_to_polygon(np.stack([x, y - 2], axis=-1) / 15.5)


def cross() -> Floats:
    arm, end = 0.32, 0.95
    quarter = [(arm, -end), (arm, -arm), (end, -arm)]
    corners = [
        (x * cos - y * sin, x * sin + y * cos)
        for cos, sin in ((1, 0), (0, 1), (-1, 0), (0, -1))
        for x, y in quarter
    ]
    return polygon(*corners)


def arrow() -> Floats:
    return polygon(
        (1.05, 0),
        (0.15, 0.8),
        (0.15, 0.3),
        (-0.95, 0.3),
        (-0.95, -0.3),
        (0.15, -0.3),
        (0.15, -0.8),
    )


CLASS_NAMES = (
    "circle",
    "ring",
    "crescent",
    "triangle",
    "square",
    "pentagon",
    "star",
    "cross",
    "heart",
    "arrow",
)
BAR = len(CLASS_NAMES)
CLUTTER = (BAR, BAR + 1, BAR + 2, BAR + 3)  # bar, arc, bean, bolt: no class


@cache
def distance_tables() -> Floats:
    """Return the (14, GRID, GRID) tables: the classes, then the clutter."""
    bar = polygon((-1.5, -0.13), (1.5, -0.13), (1.5, 0.13), (-1.5, 0.13))
    right_half = -np.linspace(-REACH, REACH, GRID, dtype=np.float32)
    arc = np.maximum.reduce(
        [circle(), -circle(0.7), np.broadcast_to(right_half, (GRID, GRID))]
    )
    bean = np.minimum(circle(0.5, -0.4), circle(0.42, 0.45))
    bolt = polygon((-0.3, -1), (0.4, -1), (0, -0.1), (0.5, -0.1), (-0.4, 1), (-0.1, 0))
    return np.stack(
        [
            circle(0.85),
            np.maximum(circle(0.95), -circle(0.5)),
            np.maximum(circle(), -circle(0.85, 0.55)),
            regular(3),
            regular(4),
            regular(5),
            regular(10, inner=0.45),
            cross(),
            heart(),
            arrow(),
            bar,
            arc,
            bean,
            bolt,
        ]
    )


def look_up(kinds: NDArray[np.intp], x: Floats, y: Floats) -> Floats:
    """Return the signed distances of points in the shapes' own coordinates.

    Args:
        kinds: (n,) row of the tables.
        x, y: (n, height, width); beyond REACH the distance at the border is given.
    """
    scale = (GRID - 1) / (2 * REACH)
    columns, rows = (
        np.clip(np.rint((value + REACH) * scale), 0, GRID - 1).astype(np.intp)
        for value in (x, y)
    )
    distances: Floats = distance_tables()[kinds[:, None, None], rows, columns]
    return distances
