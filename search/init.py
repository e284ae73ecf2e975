"""The verb `init`: looks at a folder of images, and writes a study file for it."""

import shlex
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from search.beginning.study_files import SUFFIX, study_file_text
from search.datasets.inspection import (
    Look,
    Problem,
    copies,
    few_and_many,
    look_at,
    troubled_files,
)
from search.datasets.layouts import Layout, find_layout
from search.datasets.mask_values import meaning_of
from search.datasets.sources import SPLITS, Say, ignore
from search.errors import InputError
from search.files import write_text
from search.machine.devices import gpus
from search.paths import name_from
from search.records import Value
from search.wording import counted

FEWEST_A_CLASS = 10
UNEVEN_FROM = 3.0
SMALLEST_EDGE = 16
# Below, a network from scratch sees all there is; above, features learned on ImageNet
# are the better start unless there are many images.
SMALL_EDGE = 48
MANY_IMAGES = 20_000
EDGES = {
    "classification": (32, 64, 96, 128, 160, 192, 224),
    "segmentation": (64, 128, 192, 256),
}
CLASSES_SHOWN = 12


def init(
    folder: Path, file: Path, *, overwrite: bool = False, say: Say = ignore
) -> dict[str, Any]:
    """Look at a folder, write `file`, and return what was found as JSON.

    Raises:
        InputError: the folder's layout is not understood, or the file exists.
    """
    if not folder.is_dir():
        raise InputError("a folder of images", f"{folder}", "Check the path")
    if file.suffix != SUFFIX:
        raise InputError(f"a --file that ends in {SUFFIX}", f"{file}", "Rename it")
    if file.exists() and not overwrite:
        raise InputError(
            f"no file {file} yet", "one that is there", "Pass --overwrite or --file"
        )
    layout = find_layout(folder)
    looks, errors = look_at(layout.files, say)
    problems = [
        *troubled_files(layout, looks, errors, SMALLEST_EDGE),
        *copies(layout, looks),
        *few_and_many(layout, FEWEST_A_CLASS, UNEVEN_FROM),
    ]
    problems = [problem for problem in problems if problem.count]
    known = [found for found in looks if found is not None]
    if not known:
        first = errors[min(errors)]
        raise InputError(
            f"images in {folder} that can be used",
            f"none; the first: {first}",
            "Replace or mend the files",
        )
    settings = suggested(folder, file, layout, known, problems)
    fixed = suggested_knobs(str(settings["hypermodel"]), bool(gpus()))
    write_text(file, text_of(folder, file, settings, fixed))
    return {
        "task": layout.task,
        "images": len(layout.files),
        "other_files": layout.others,
        "classes": class_counts(layout),
        "splits": dict(Counter(layout.splits)),
        "edges": edges_of(known),
        "mask_values": sorted(frozenset[int]().union(*(f.mask_values for f in known))),
        "problems": [asdict(problem) for problem in problems],
        "settings": settings,
        "fixed": fixed,
        "file": str(file),
    }


def class_counts(layout: Layout) -> dict[str, dict[str, int]]:
    """Return class -> split -> images."""
    counts = Counter(zip(layout.labels, layout.splits, strict=False))
    return {
        name: {s: counts[label, s] for s in SPLITS if s in layout.splits}
        for label, name in enumerate(layout.class_names)
    }


def edges_of(looks: list[Look]) -> dict[str, int]:
    """Return the least, the middle and the greatest shorter edge in pixels."""
    edges = sorted(min(found.height, found.width) for found in looks)
    return {"least": edges[0], "median": edges[len(edges) // 2], "greatest": edges[-1]}


def suggested(
    folder: Path, file: Path, layout: Layout, looks: list[Look], problems: list[Problem]
) -> dict[str, Value]:
    """Return what a study on this folder should be set to."""
    edge = edges_of(looks)["median"]
    kinds = {problem.kind for problem in problems}
    sizes = EDGES[layout.task]
    settings: dict[str, Value] = {
        "name": name_from(folder.resolve().name) or "own",
        "dataset": relative(folder, file),
        "hypermodel": suggested_hypermodel(layout, edge),
        "image_size": max([size for size in sizes if size <= edge], default=sizes[0]),
        "epochs": 27,
        "seed": 0,
    }
    if "uneven classes" in kinds:
        settings["balance_classes"] = True
    if "unreadable files" in kinds:
        settings["skip_unreadable"] = True
    return settings


def suggested_hypermodel(layout: Layout, edge: int) -> str:
    """Return the hypermodel that suits the task, the size and the number of images."""
    if layout.task == "segmentation":
        return "mobilenet_unet"
    is_plain = edge <= SMALL_EDGE or len(layout.files) >= MANY_IMAGES
    return "convnet" if is_plain else "vgg16_transfer"


def suggested_knobs(hypermodel: str, have_gpus: bool) -> dict[str, Value]:
    """Return the knobs to fix: on a CPU an epoch of a large backbone takes hours."""
    is_slow = hypermodel == "vgg16_transfer" and not have_gpus
    return {"backbone": "mobilenet_v2"} if is_slow else {}


def relative(folder: Path, file: Path) -> str:
    """Return the folder as seen from the study file, where it lies below it."""
    start = file.resolve().parent
    whole = folder.resolve()
    return str(whole.relative_to(start) if whole.is_relative_to(start) else whole)


def text_of(
    folder: Path, file: Path, settings: dict[str, Value], fixed: dict[str, Value]
) -> str:
    """Return the study file."""
    comments = {
        "backbone": "no GPU here; without this line VGG16 and larger ones are tried",
        "hypermodel": "vision-tuner space STUDY describes its knobs",
        "image_size": "pixels an edge",
        "epochs": "most a trial",
        "balance_classes": "every class is drawn equally often",
        "skip_unreadable": "damaged files are left out and counted",
    }
    heading = [
        f"Written by `vision-tuner init {shlex.quote(str(folder))}`.",
        f"Run it: vision-tuner search {shlex.quote(str(file))}",
    ]
    if settings["hypermodel"] in ("vgg16_transfer", "mobilenet_unet"):
        comments["weights"] = "downloaded once; or none, or the path of a file"
        settings |= {"weights": "imagenet"}
    return study_file_text(settings, fixed, comments, heading)


def print_init(found: dict[str, Any], console: Console) -> None:
    """Say what lies in the folder, what is wrong with it and what was written."""
    edges, splits = found["edges"], found["splits"]
    per_split = ", ".join(f"{splits[s]:,} {s}" for s in SPLITS if s in splits)
    console.print(
        f"[bold]{found['task']}[/bold]: {found['images']:,} images ({per_split}),"
        f" shorter edge {edges['least']}–{edges['greatest']} pixels, median"
        f" {edges['median']}",
        highlight=False,
    )
    if found["classes"]:
        console.print(classes_table(found["classes"]))
    if found["mask_values"]:
        console.print(meaning_of(set(found["mask_values"])), highlight=False)
    if found["other_files"]:
        left_out = counted(found["other_files"], "file")
        console.print(f"Left out {left_out}: no image", highlight=False)
    for item in found["problems"]:
        console.print(f"[yellow]![/yellow] {item['kind']}: {item['count']}", end="")
        console.print(f". {item['advice']}.", markup=False, highlight=False)
        for example in item["examples"]:
            console.print(f"    {example}", style="dim", markup=False, highlight=False)
    if not found["problems"]:
        console.print("No problems found")
    console.print(f"written: {found['file']}", highlight=False)


def classes_table(classes: dict[str, dict[str, int]]) -> Table:
    """Return a row a class, the largest first; the middle is left out of many."""
    splits = list(next(iter(classes.values())))
    table = Table("class", *splits, box=None, pad_edge=False)
    ordered = sorted(classes, key=lambda name: -sum(classes[name].values()))
    half = CLASSES_SHOWN // 2
    is_long = len(ordered) > CLASSES_SHOWN
    shown = [*ordered[:half], *ordered[-half:]] if is_long else ordered
    for number, name in enumerate(shown):
        if is_long and number == half:
            left = len(ordered) - CLASSES_SHOWN
            table.add_row(f"… {left} more", *[""] * len(splits), style="dim")
        table.add_row(name, *[f"{classes[name][split]:,}" for split in splits])
    return table
