"""The figures of errors on the test set: reliability, classes, confusion."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from search.pictures.style import BLUE, ORANGE, SOFT
from search.reporting.blocks import Panel, Picture
from search.reporting.charts import confusion_chart
from search.reporting.drawing import legend_above, short
from search.reporting.records import StudyRecords

MODELS = (("ensemble", BLUE), ("best_single", ORANGE))
MOST_NAMED = 40
CLASS_INCHES = 0.145


def reliability_picture(records: StudyRecords) -> Picture | None:
    """Return how often the models were right against how sure they were."""
    found: Mapping[str, Any] = records.errors.get("reliability", {})
    if not found:
        return None

    def draw(axes: Any) -> None:
        axes.plot((0, 1), (0, 1), color=SOFT, linewidth=0.9, linestyle=(0, (2, 2)))
        for model, colour in MODELS:
            bins = found.get(model, [])
            sure = [entry["confidence"] for entry in bins]
            right = [entry["right"] for entry in bins]
            sizes = [8 + 130 * entry["share"] for entry in bins]
            axes.plot(sure, right, color=colour, linewidth=1.2, alpha=0.8)
            axes.scatter(
                sure, right, s=sizes, color=colour, linewidths=0, alpha=0.85,
                label=model.replace("_", " "),
            )  # fmt: skip
        axes.set(xlabel="confidence", ylabel="share that was right")
        axes.set(xlim=(-0.02, 1.04), ylim=(-0.02, 1.04))
        axes.legend(loc="upper left")

    what = "images" if records.study.task == "classification" else "pixels"
    return Picture(
        "reliability",
        "Reliability on the test set",
        f"Answers in 15 bins of confidence, after the temperature; the larger the dot,"
        f" the more {what}. On the dashed line confidence is what it claims; below it"
        " the model is too sure.",
        [Panel("share that was right against confidence", draw)],
        size=(4.4, 3.6),
    )


def classes_picture(rows: Sequence[Mapping[str, Any]]) -> Picture:
    """Return the test accuracy of every class, the hardest on top."""
    known = [row for row in rows if row["ensemble"] is not None]
    known.sort(key=lambda row: row["ensemble"])

    def draw(axes: Any) -> None:
        places = np.arange(len(known))
        for model, colour in MODELS[::-1]:
            values = [row[model] for row in known]
            axes.plot(
                values, places, "o", color=colour, markersize=4.2,
                label=model.replace("_", " "),
            )  # fmt: skip
        axes.set_yticks(places, [short(row["class"], 18) for row in known])
        axes.tick_params(axis="y", labelsize=7.5)
        axes.set_ylim(len(known) - 0.3, -0.7)
        axes.set_xlim(-0.02, 1.02)
        axes.set_xlabel("test accuracy")
        legend_above(axes)

    images = sorted({row["images"] for row in known})
    n = f"{images[0]}" if len(images) == 1 else f"{images[0]} to {images[-1]}"
    return Picture(
        "classes",
        "Accuracy of every class",
        f"The hardest on top; n = {n} test images a class.",
        [Panel("test accuracy of every class", draw)],
        size=(4.8, 1.1 + max(0.2, CLASS_INCHES) * len(known)),
        left=1.35,
        top=0.3,
    )


def confusion_picture(records: StudyRecords) -> Picture | None:
    """Return which classes the ensemble takes for which."""
    found = records.errors.get("confusion")
    if not found:
        return None
    names, counts = found["classes"], np.asarray(found["counts"])
    share = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))

    def draw(axes: Any) -> None:
        from matplotlib.colors import LinearSegmentedColormap

        colours = LinearSegmentedColormap.from_list(
            "blues", ["#f1f5f9", "#7db3dc", BLUE, "#00304d"]
        )
        axes.imshow(share, cmap=colours, vmin=0, vmax=1, aspect="equal")
        axes.grid(visible=False)
        step = -(-len(names) // MOST_NAMED)
        places = range(0, len(names), step)
        labels = [short(names[place], 14) for place in places]
        size = 8.5 if len(names) <= 20 else 6.5
        axes.set_xticks(places, labels, rotation=90, fontsize=size)
        axes.set_yticks(places, labels, fontsize=size)
        axes.set(xlabel="predicted", ylabel="true")

    return Picture(
        "confusion",
        "What is taken for what",
        "Share of the test images of a class (row) that the ensemble gives to each"
        f" class (column); n = {counts.sum():,} images.",
        [Panel("confusion matrix of the ensemble", draw)],
        size=(6.6, 6.4),
        left=1.25,
        bottom=1.2,
        chart=confusion_chart(found["counts"], names),
    )
