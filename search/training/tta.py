"""Test-time augmentation: the mean prediction over an image's plain and changed views.

`flip` adds the mirror image; `shift` adds four views moved by a sixteenth of the edge
up, down, left and right, the border pixel repeated. Views are combined (5 shifts × 2
with both). Masks are moved back before they are averaged.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.errors import InputError
from search.records import Task

Array = NDArray[Any]

KINDS = ("flip", "shift")
SHIFT_FRACTION = 1 / 16


@dataclass(frozen=True)
class View:
    """One change of an image: mirrored or not, then moved by whole pixels."""

    mirrored: bool = False
    down: int = 0
    right: int = 0

    def of(self, images: Array) -> Array:
        """Return (n, height, width, channels) as seen in this view."""
        seen = images[:, :, ::-1] if self.mirrored else images
        return moved(seen, self.down, self.right) if self.down or self.right else seen

    def undone(self, masks: Array) -> Array:
        """Return (n, height, width, 1) probabilities moved back to the plain image."""
        is_moved = self.down or self.right
        back = moved(masks, -self.down, -self.right) if is_moved else masks
        return back[:, :, ::-1] if self.mirrored else back


def check_kinds(kinds: Sequence[str]) -> tuple[str, ...]:
    """Return the kinds in their fixed order.

    Raises:
        InputError: one is unknown.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise InputError(
                f"--tta of {', '.join(KINDS)}, with commas", repr(kind), "Change --tta"
            )
    return tuple(kind for kind in KINDS if kind in kinds)


def views(kinds: Sequence[str], height: int, width: int) -> list[View]:
    """Return the views of `kinds`, the plain one first."""
    down = max(1, round(height * SHIFT_FRACTION))
    right = max(1, round(width * SHIFT_FRACTION))
    shifts = [(0, 0)]
    if "shift" in kinds:
        shifts += [(down, 0), (-down, 0), (0, right), (0, -right)]
    mirrors = (False, True) if "flip" in kinds else (False,)
    return [View(mirrored, *shift) for mirrored in mirrors for shift in shifts]


def moved(images: Array, down: int, right: int) -> Array:
    """Move images by whole pixels; what comes in from outside repeats the border."""
    height, width = images.shape[1:3]
    rows = np.clip(np.arange(height) - down, 0, height - 1)
    columns = np.clip(np.arange(width) - right, 0, width - 1)
    return images[:, rows][:, :, columns]


def averaged_over_views(
    predict: Callable[[Array], Array], images: Array, kinds: Sequence[str], task: Task
) -> Array:
    """Return the mean probabilities over the views as float32.

    Args:
        predict: takes and returns an array of as many rows as `images`.
    """
    total: Array | None = None
    seen = views(kinds, *images.shape[1:3])
    for view in seen:
        output = np.asarray(predict(view.of(images)), np.float32)
        if task == "segmentation":
            output = view.undone(output)
        total = output.copy() if total is None else total + output
    assert total is not None
    return np.asarray(total / np.float32(len(seen)))
