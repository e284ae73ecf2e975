"""Where labels go, so that they lie on no dot and on no other label; pure geometry.

Units are points, from the left and from the bottom.
"""

from collections.abc import Sequence
from dataclasses import dataclass

Point = tuple[float, float]

DOT = 4.0  # half the edge of what a dot takes
LEVELS = (1, -1, 2, -2, 3, -3, 4, -4)
ALIGNED = (0.5, 0.0, 1.0)  # share of a label to the left of its dot
# What a label on another, or a line through it, is worse than being a line farther.
OVERLAP, CROSSING, OUTSIDE = 100.0, 1.5, 100.0


@dataclass(frozen=True)
class Box:
    """The place of a label.

    Attributes:
        level: how many lines from what it names, below it if negative.
    """

    left: float
    bottom: float
    right: float
    top: float
    level: int = 1


def around(dot: Point, width: float, line: float) -> list[Box]:
    """Return the places of a label beside a dot, the best first.

    Args:
        line: height of a line of words.
    """
    x, y = dot
    return [
        Box(x - share * width, low, x + (1 - share) * width, low + line, level)
        for level in LEVELS
        for share in ALIGNED
        for low in [y + (DOT + (level - 1) * line if level > 0 else level * line - DOT)]
    ]


def along(area: Box, height: float, width: float, line: float) -> list[Box]:
    """Return the places of a label at the ends of a level line, the best first."""
    ends = ((area.right - width, area.right), (area.left + 2, area.left + 2 + width))
    return [
        Box(left, low, right, low + line, level)
        for left, right in ends
        for level in (1, -1)
        for low in [height + 1 if level > 0 else height - line]
    ]


def placed(
    options: Sequence[Sequence[Box]],
    dots: Sequence[Point],
    heights: Sequence[float],
    area: Box,
) -> list[Box]:
    """Return a place for every label, one after the other.

    Args:
        options: the places of each label, the best first.
        heights: of level lines.
        area: in which labels are to stay.
    """
    taken = [Box(x - DOT, y - DOT, x + DOT, y + DOT) for x, y in dots]
    found: list[Box] = []
    for own in options:

        def cost(place: Box) -> float:
            hidden = sum(shared(place, other) for other in [*taken, *found])
            crossed = sum(place.bottom < height < place.top for height in heights)
            outside = size(place) - shared(place, area)
            far = abs(place.level)
            return OVERLAP * hidden + CROSSING * crossed + OUTSIDE * outside + far

        found.append(min(own, key=cost))
    return found


def size(box: Box) -> float:
    """Return the area of a box."""
    return (box.right - box.left) * (box.top - box.bottom)


def shared(first: Box, second: Box) -> float:
    """Return the area that two boxes share."""
    wide = min(first.right, second.right) - max(first.left, second.left)
    high = min(first.top, second.top) - max(first.bottom, second.bottom)
    return max(0.0, wide) * max(0.0, high)
