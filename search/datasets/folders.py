"""The user's own folders.

Classification: `DIR/<class>/*.jpg`. Segmentation: `DIR/images/*` and `DIR/masks/*.png`
with equal stems. Either may lie below `train/`, `validation/` and `test/` (`val` and
`valid` are understood); splits that are missing are cut by seed, classes in their
shares: 15 % each for validation and test. Copies of an image are not cut apart.

Masks are grey, palette or 1-bit: 0 is background. Where all masks of the folder
together hold only 0 and 255, 255 is foreground; otherwise 255 is void and any other
value is foreground. Soft edges beside 255, which would make it void, are refused.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from search.datasets.copies import first_of_copies
from search.datasets.layouts import Layout, find_layout
from search.datasets.mask_values import (
    has_soft_edges,
    is_black_and_white,
    meaning_of,
    table_of,
)
from search.datasets.originals import Originals
from search.datasets.sources import (
    FOREGROUND,
    MASK_CLASSES,
    SPLITS,
    Contents,
    ImageFile,
    Request,
    Say,
    Source,
)
from search.datasets.splits import cut_with_copies
from search.errors import InputError
from search.wording import counted

if TYPE_CHECKING:
    from search.datasets.pools import Pool  # imports Pillow: only to prepare

DEFAULT_EDGES = {"classification": 64, "segmentation": 128}
CUT_FRACTION = 0.15
# Raised where the same files are cut or read in another way: they are prepared again.
RULES = 2


def find_folder(request: Request) -> Source:
    """Return the images of the folder `request.dataset`.

    Raises:
        InputError: its layout is not understood, or there are too few images.
    """
    root = Path(request.dataset).expanduser()
    layout = find_layout(root)
    edge = request.edge(DEFAULT_EDGES[layout.task], 8, 1024)
    # Cut now, so that too few images are told before any is read.
    splits_of(layout, request.seed)

    def load(scratch: Path) -> Contents:
        return load_folder(layout, edge, scratch, request)

    return Source(
        label=root.resolve().name,
        tasks=[layout.task],
        identity={
            "task": layout.task,
            "class_names": layout.class_names,
            "files": [file.stamp() for file in layout.files],
            "splits": layout.splits,
            "edge": edge,
            "seed": request.seed if len(set(layout.splits)) < len(SPLITS) else None,
            "skip_unreadable": request.skip_unreadable,
            "rules": RULES,
        },
        load=load,
    )


def splits_of(
    layout: Layout, seed: int, pool: "Pool | None" = None
) -> dict[str, NDArray[np.intp]]:
    """Return split -> rows: those of the folder, missing ones cut from `train`.

    Args:
        pool: what was read: copies of an image are not cut apart.
    """
    names = np.array(layout.splits)
    rows = {name: np.flatnonzero(names == name) for name in SPLITS if name in names}
    missing = [name for name in SPLITS if name not in rows]
    train = rows["train"]
    labels = np.array(layout.labels or [0] * len(layout.files), np.int32)
    first = np.arange(len(train))
    if pool is not None and missing:
        first = first_of_read_copies(pool, train)
    fractions = dict.fromkeys(missing, CUT_FRACTION)
    parts = cut_with_copies(labels[train], first, fractions, seed, layout.class_names)
    return rows | {name: train[part] for name, part in parts.items()}


def first_of_read_copies(pool: "Pool", rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return (n,) `first_of_copies`; what could not be read is no copy."""
    where = np.arange(len(rows))
    read = np.flatnonzero(pool.is_read[rows])
    where[read] = read[first_of_copies(pool.images, rows[read])]
    return where


def load_folder(layout: Layout, edge: int, scratch: Path, request: Request) -> Contents:
    from search.datasets.pools import read_pool

    if layout.others:
        request.say(f"Left out {counted(layout.others, 'file')}: no image")
    pool = read_pool(layout.files, edge, scratch, request)
    splits = splits_of(layout, request.seed, pool)
    splits = {split: rows[pool.is_read[rows]] for split, rows in splits.items()}
    labels = np.array(layout.labels, np.int32)
    originals = None
    if pool.masks is None:
        check_training(labels[splits["train"]], layout)
    else:
        table = translate_masks(pool, layout.files, request.say)
        originals = Originals(pool.originals, table)
    return Contents(
        images=pool.images,
        targets={"labels": labels} if pool.masks is None else {"masks": pool.masks},
        names=[file.name for file in layout.files],
        class_names=layout.class_names or MASK_CLASSES,
        splits=splits,
        skipped=pool.skipped,
        originals=originals,
    )


def check_training(labels: NDArray[np.int32], layout: Layout) -> None:
    """Raise InputError where skipped files leave a class without training images."""
    counts = np.bincount(labels, minlength=len(layout.class_names))
    for name, count in zip(layout.class_names, counts, strict=True):
        if not count:
            raise InputError(
                f"readable training images of the class {name}",
                "none",
                "Replace the damaged files, or remove the folder of that class",
            )


def translate_masks(
    pool: "Pool", files: Sequence[ImageFile], say: Say
) -> NDArray[np.uint8]:
    """Turn the stored values into background, foreground and void, in place.

    Args:
        files: of the rows of the pool.

    Returns:
        (256,) stored value -> mask value.

    Raises:
        InputError: there is no foreground in any mask, or greys or other masks would
            make it void.
    """
    from search.datasets.pools import translate

    assert pool.masks is not None
    found = {int(value) for value in np.flatnonzero(pool.values.any(axis=0))}
    say(meaning_of(found))
    refuse_soft_edges(pool.values, files)
    refuse_two_meanings(pool.values, files)
    table = table_of(found)
    if not any(table[value] == FOREGROUND for value in found):
        raise InputError(
            "masks with foreground (not 0)",
            f"only the values {sorted(found)}",
            "Check that the masks are not empty",
        )
    translate(pool.masks, table)
    return table


def refuse_soft_edges(values: NDArray[np.bool_], files: Sequence[ImageFile]) -> None:
    """Raise InputError where the greys of some masks make 255 void in the others.

    Args:
        values: (n, 256) which values each mask holds.
    """
    held = [np.flatnonzero(row).tolist() for row in values]
    soft = [
        file.mask_path
        for file, of_mask in zip(files, held, strict=True)
        if has_soft_edges(of_mask)
    ]
    # Beside masks of nothing but 0 and 255: else the numbers may well be classes.
    if soft and any(255 in m and is_black_and_white(m) for m in held):
        more = f" and {counted(len(soft) - 1, 'other')}" if len(soft) > 1 else ""
        raise InputError(
            "masks with hard edges where 255 is void",
            f"255 beside shades of grey in {soft[0]}{more}, which would make 255 void"
            " in every mask",
            "Threshold the masks to 0 and 255, or save class indices: 0 background,"
            " small numbers foreground",
        )


def refuse_two_meanings(values: NDArray[np.bool_], files: Sequence[ImageFile]) -> None:
    """Raise InputError where 255 is foreground in most masks, by the look of them.

    It is void in all as soon as one holds another number; but void is seen beside
    others, and not alone in more masks than hold others.

    Args:
        values: (n, 256) which values each mask holds.
    """
    others = values[:, 1:255].any(axis=1)
    beside, alone = values[:, 255] & others, values[:, 255] & ~others
    if others.any() and alone.sum() > max(beside.sum(), others.sum()):
        first, odd = files[int(np.argmax(alone))], files[int(np.argmax(others))]
        raise InputError(
            "masks that agree on what 255 means",
            f"0 and 255 in {counted(int(alone.sum()), 'mask')} ({first.mask_path}),"
            f" other numbers in {counted(int(others.sum()), 'mask')} ({odd.mask_path}),"
            " which make 255 void in all",
            "Write foreground as 255 in all of them, or as 1 in all",
        )
