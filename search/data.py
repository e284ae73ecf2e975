"""The verb `data`: fetches, verifies and prepares a data set, and describes it."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from search.datasets import prepare
from search.datasets.sources import SPLITS, Say, ignore
from search.records import Task

CLASSES_SHOWN = 20


def data(
    dataset: str,
    *,
    task: Task | None = None,
    data_dir: Path | None = None,
    image_size: int | None = None,
    seed: int = 0,
    skip_unreadable: bool = False,
    say: Say = ignore,
) -> dict[str, Any]:
    """Prepare a data set and describe it as JSON; `prepare` describes the arguments.

    Raises:
        InputError: it is not there, cannot be fetched or cannot be read.
    """
    prepared = prepare(
        dataset,
        task=task,
        data_dir=data_dir,
        image_size=image_size,
        seed=seed,
        skip_unreadable=skip_unreadable,
        say=say,
    )
    return {
        "name": prepared.name,
        "task": prepared.task,
        "tasks": prepared.tasks,
        "fingerprint": prepared.fingerprint,
        "folder": str(prepared.folder),
        "image_shape": list(prepared.image_shape),
        "class_names": prepared.class_names,
        "sizes": prepared.sizes,
        "class_counts": prepared.class_counts,
        "hashes": prepared.hashes,
        "skipped": prepared.skipped,
    }


def print_data(description: dict[str, Any], console: Console) -> None:
    """Print the splits, the classes and what was left out."""
    height, width, _ = description["image_shape"]
    console.print(
        f"{description['name']}: {description['task']}, {width}×{height} pixels,"
        f" {len(description['class_names'])} classes",
        markup=False,
    )
    console.print(splits_table(description))
    for item in description["skipped"]:
        console.print(f"left out: {item['reason']}", markup=False)
    console.print(f"in {description['folder']}", markup=False)


def splits_table(description: dict[str, Any]) -> Table:
    """Return a row a split: images, and how they (or pixels) spread over classes."""
    table = Table(
        "split",
        "images",
        *count_titles(description),
        "sha256",
        box=None,
        pad_edge=False,
    )
    for split in SPLITS:
        counts = description["class_counts"][split]
        table.add_row(
            split,
            f"{description['sizes'][split]:,}",
            *count_cells(counts, description),
            description["hashes"][split][:12],
        )
    return table


def count_titles(description: dict[str, Any]) -> list[str]:
    if description["task"] == "segmentation":
        return ["background", "foreground", "void"]
    if len(description["class_names"]) <= CLASSES_SHOWN:
        return [escape(name) for name in description["class_names"]]
    return ["images a class"]


def count_cells(counts: list[int], description: dict[str, Any]) -> list[str]:
    if description["task"] == "segmentation":
        return [f"{count / sum(counts):.1%}" for count in counts]
    if len(counts) <= CLASSES_SHOWN:
        return [str(count) for count in counts]
    least, most = min(counts), max(counts)
    return [str(least) if least == most else f"{least} to {most}"]
