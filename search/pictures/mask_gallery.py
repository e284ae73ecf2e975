"""The same images under each value of a knob, and where their masks differ."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.datasets import PreparedDataset
from search.datasets.images import resize_mask
from search.datasets.sources import FOREGROUND, VOID
from search.files import write_with
from search.pictures.previews import blended, highlighted, panel
from search.pictures.style import BLUE, PNG_DOTS, VERMILLION, style

Array = NDArray[Any]

# Shares of the images, ordered by how much the masks differ, that are shown.
SHOWN_AT = (1.0, 0.9, 0.5, 0.1)
CELL = 1.45  # inches an image
THRESHOLD = 0.5


def write_gallery(
    file: Path, data: PreparedDataset, predictions: Mapping[str, Path]
) -> None:
    """Write a PNG: image, truth, the mask under each value, and their differences.

    Nothing is written where fewer than two values have predictions.

    Args:
        predictions: label -> .npy of foreground probabilities on validation,
            (images, height, width); the first label is the reference.
    """
    if len(predictions) < 2:
        return
    images, targets = data.open("validation", "segmentation")
    masks = {
        label: np.load(path, mmap_mode="r") >= THRESHOLD
        for label, path in predictions.items()
    }
    chosen = chosen_images(list(masks.values()), targets)
    rows = [row_of(images[i], targets[i], masks, i) for i in chosen]
    titles = headings(list(masks))
    legend = [
        (BLUE, "foreground only under the other value"),
        (VERMILLION, f"foreground only under {titles[2]}"),
    ]
    content = drawn_rows(rows, titles, legend)
    write_with(file, lambda opened: opened.write(content))


def headings(labels: list[str]) -> list[str]:
    """Return the title of each column."""
    others = [f"{label}\n− {labels[0]}" for label in labels[1:]]
    return ["image", "truth", *labels, *others]


def chosen_images(masks: list[Array], targets: Array) -> list[int]:
    """Return images from the most to the least different under the values."""
    counted = targets != VOID
    differences = np.mean(
        [((mask != masks[0]) & counted).mean(axis=(1, 2)) for mask in masks[1:]],
        axis=0,
    )
    order = np.argsort(differences, kind="stable")
    last = len(order) - 1
    return list(dict.fromkeys(int(order[round(share * last)]) for share in SHOWN_AT))


def row_of(
    image: Array, target: Array, masks: Mapping[str, Array], index: int
) -> list[Array]:
    """Return the panels of one image, (height, width, 3) uint8 each."""
    image = panel(np.asarray(image))
    first, *others = [enlarged(mask[index], image) for mask in masks.values()]
    truth = enlarged(target == FOREGROUND, image)
    return [
        image,
        highlighted(image, truth),
        *(highlighted(image, mask) for mask in (first, *others)),
        *(difference_of(image, mask, first) for mask in others),
    ]


def enlarged(mask: Array, image: Array) -> Array:
    """Return a mask at the size of a picture."""
    resized: Array = resize_mask(mask.astype(np.uint8), *image.shape[:2])
    return np.asarray(resized == 1)


def difference_of(image: Array, mask: Array, reference: Array) -> Array:
    """Colour what only `mask` calls foreground blue, what only `reference` does red."""
    return two_colours(image, mask & ~reference, reference & ~mask)


def two_colours(image: Array, blue: Array, red: Array) -> Array:
    """Return a picture in grey with some of its pixels blue and some red."""
    grey = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2) * 0.5 + 90
    for pixels, colour in ((blue, BLUE), (red, VERMILLION)):
        grey = blended(grey, rgb(colour), pixels.astype(np.float32))
    return grey.clip(0, 255).astype(np.uint8)


def rgb(colour: str) -> Array:
    """Return `#rrggbb` as three numbers, 0–255."""
    parts = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    return np.array(parts, np.float32)


def drawn_rows(
    rows: list[list[Array]],
    titles: list[str],
    legend: list[tuple[str, str]],
    names: Sequence[str] = (),
) -> bytes:
    """Return a sheet of panels as PNG.

    Args:
        titles: of the columns.
        legend: colours and what they mean.
        names: of the rows, where they have any.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    down, across = len(rows), len(titles)
    height, left = CELL * down + 0.75, 0.25 * bool(names)
    width = CELL * across + left
    file = io.BytesIO()
    with style("gallery"):
        figure = Figure(figsize=(width, height))
        grid = figure.subplots(down, across, squeeze=False)
        for axes, picture in zip(
            grid.flat, [cell for row in rows for cell in row], strict=True
        ):
            axes.imshow(picture)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        for axes, title in zip(grid[0], titles, strict=True):
            axes.set_title(title, fontsize=8.5, loc="center")
        for axes, name in zip(grid[:, 0], names, strict=False):
            axes.set_ylabel(name, fontsize=8.5)
        handles = [Patch(color=colour, label=label) for colour, label in legend]
        figure.legend(handles=handles, loc="lower center", ncols=2)
        figure.subplots_adjust(
            0.01 + left / width, 0.4 / height, 0.99, 1 - 0.4 / height,
            wspace=0.04, hspace=0.04,
        )  # fmt: skip
        figure.savefig(file, format="png", dpi=PNG_DOTS, facecolor="white")
    return file.getvalue()
