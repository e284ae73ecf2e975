"""Where the ensemble errs on the test set: reliability, confusion, telling images.

Written by finalize beside its other records, while the test set is open; nothing is
chosen by it.
"""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.datasets.sources import FOREGROUND, VOID
from search.files import write_json, write_with
from search.finalizing.blending import Calibrated, Choices, Predictions
from search.finalizing.ensemble import average
from search.finalizing.steps import Finalizing
from search.pictures.mask_gallery import drawn_rows, enlarged, two_colours
from search.pictures.previews import highlighted, panel
from search.pictures.sheets import sheet
from search.pictures.style import BLUE, VERMILLION
from search.records import Task
from search.scoring.calibration import BINS, bins_of, scaled, stride_of
from search.scoring.columns import count_pixels

Array = NDArray[Any]

# Shares of the images, ordered by Dice, that are shown: worst, median, best.
SHOWN_AT = {"worst": (0.0, 0.02), "median": (0.49, 0.51), "best": (0.98, 1.0)}
MISTAKES_SHOWN = 12
MOST_PIXELS = 2_000_000


def write_errors(run: Finalizing, choices: Choices, test: Predictions) -> None:
    """Write errors.json and gallery.png; none of it where there is no mistake.

    Args:
        test: member id -> probabilities on the test set.
    """
    task = run.study.task
    images, targets = run.data.open("test", task)
    blends = {"ensemble": choices.ensemble, "best_single": choices.best_single}
    means = {name: average(test, blend.weights) for name, blend in blends.items()}
    record: dict[str, Any] = {
        "reliability": {
            name: reliability(task, means[name], targets, blend.temperature)
            for name, blend in blends.items()
        }
    }
    if task == "classification":
        names = run.data.class_names
        counts = confusion(means["ensemble"], targets, len(names))
        record["confusion"] = {"classes": names, "counts": counts}
        content: bytes | None
        content, record["gallery"] = mistakes(
            means["ensemble"], choices.ensemble, images, targets, names
        )
    else:
        content, record["gallery"] = masks(
            means["ensemble"], choices.ensemble, images, targets
        )
    write_json(run.paths.errors, record)
    if content is None:  # one of an earlier ensemble shows mistakes of that
        run.paths.gallery.unlink(missing_ok=True)
        return
    gallery = content
    write_with(run.paths.gallery, lambda file: file.write(gallery))


def reliability(
    task: Task, probabilities: Array, targets: Array, temperature: float
) -> list[dict[str, float]]:
    """Return how often answers of about the same confidence were right.

    Returns:
        {"confidence": mean, "right": share, "share": of all answers} for each of the
        15 bins in which there is an answer. Of very many pixels a regular sample.
    """
    if task == "segmentation":
        chosen = np.arange(0, targets.size, stride_of(targets, MOST_PIXELS))
        truth = np.take(targets, chosen)
        foreground = scaled(task, np.take(probabilities, chosen), temperature)
        foreground, truth = foreground[truth != VOID], truth[truth != VOID]
        sure = np.maximum(foreground, 1 - foreground)
        right = (foreground >= 0.5) == (truth == FOREGROUND)
    else:
        values = scaled(task, probabilities, temperature)
        sure, right = values.max(axis=1), values.argmax(axis=1) == targets
    bins = bins_of(sure)
    return [
        {
            "confidence": float(sure[own].mean()),
            "right": float(right[own].mean()),
            "share": float(own.mean()),
        }
        for own in (bins == place for place in range(BINS))
        if own.any()
    ]


def confusion(probabilities: Array, labels: Array, classes: int) -> list[list[int]]:
    """Return images by true class (row) and predicted class (column)."""
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (np.asarray(labels), probabilities.argmax(axis=1)), 1)
    found: list[list[int]] = counts.tolist()
    return found


def mistakes(
    probabilities: Array,
    blend: Calibrated,
    images: Array,
    labels: Array,
    names: list[str],
) -> tuple[bytes | None, list[dict[str, Any]]]:
    """Return the most confident mistakes as PNG, None without any, and which."""
    values = scaled("classification", probabilities, blend.temperature)
    answers, sure = values.argmax(axis=1), values.max(axis=1)
    wrong = np.flatnonzero(answers != labels)
    chosen = wrong[np.argsort(-sure[wrong], kind="stable")][:MISTAKES_SHOWN]
    found = [
        {
            "image": int(i), "true": names[int(labels[i])],
            "predicted": names[int(answers[i])], "confidence": float(sure[i]),
        }
        for i in chosen
    ]  # fmt: skip
    if not found:
        return None, found
    words = [
        [f"{entry['predicted']} {entry['confidence']:.2f}", f"is {entry['true']}"]
        for entry in found
    ]
    file = io.BytesIO()
    sheet([images[i] for i in chosen], words, 6).save(file, format="PNG")
    return file.getvalue(), found


def masks(
    probabilities: Array, blend: Calibrated, images: Array, targets: Array
) -> tuple[bytes, list[dict[str, Any]]]:
    """Return images with the worst, median and best masks as PNG, and which.

    Those without foreground are left out, unless no image has any.
    """
    counts = count_pixels(probabilities, targets, blend.threshold, blend.temperature)
    twice = 2 * counts.true_positives
    size = twice + counts.wrong
    dice = np.where(size > 0, twice / np.maximum(1, size), 1.0)
    shown = counts.foreground > 0
    shown |= not shown.any()
    order = [int(i) for i in np.argsort(dice, kind="stable") if shown[i]]
    rows, found = [], []
    for kind, shares in SHOWN_AT.items():
        places = dict.fromkeys(round(share * (len(order) - 1)) for share in shares)
        for i in [order[place] for place in places]:
            values = scaled("segmentation", probabilities[i], blend.temperature)
            mask = values.astype(np.float32) >= blend.threshold
            rows.append(mask_row(images[i], targets[i], mask))
            found.append({"image": i, "kind": kind, "dice": float(dice[i])})
    titles = [f"{entry['kind']}, Dice {entry['dice']:.2f}" for entry in found]
    legend = [(BLUE, "found where there is none"), (VERMILLION, "missed")]
    heads = ["image", "truth", "ensemble", "errors"]
    return drawn_rows(rows, heads, legend, titles), found


def mask_row(image: Array, target: Array, mask: Array) -> list[Array]:
    """Return image, truth, mask and errors, (height, width, 3) uint8 each."""
    picture = panel(np.asarray(image))
    truth, found = (enlarged(part, picture) for part in (target == FOREGROUND, mask))
    valid = enlarged(target != VOID, picture)
    return [
        picture,
        highlighted(picture, truth),
        highlighted(picture, found),
        two_colours(picture, found & ~truth & valid, truth & ~found & valid),
    ]
