"""Looks at every file of a folder before training: sizes, copies, damage."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from search.datasets.images import read_image, read_mask, resize_image
from search.datasets.layouts import Layout
from search.datasets.mask_values import has_soft_edges, is_black_and_white
from search.datasets.pools import check_same_size, run_all
from search.datasets.sources import ImageFile, Say

THUMBNAIL = 16
# Mean difference of grey thumbnails, in grey levels, up to which two images are taken
# for one that was saved twice. JPEG at quality 60 changes them by about 1.
SAME_UP_TO = 2.0
# Thumbnails with less contrast (standard deviation in grey levels) look alike anyway.
PLAIN_BELOW = 8.0

FORMATS = {
    ".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".png": "PNG", ".gif": "GIF",
    ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WEBP",
}  # fmt: skip


@dataclass(frozen=True)
class Look:
    """What one readable image is.

    Attributes:
        digest: hash of its pixels; equal for copies, whatever the file format.
        thumbnail: (16, 16) grey, float32.
        is_misnamed: the file holds another format than its suffix says.
        mask_values: that occur in its mask; none without one.
    """

    height: int
    width: int
    digest: str
    thumbnail: NDArray[np.float32]
    is_misnamed: bool
    mask_values: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Problem:
    """Something about a folder that its owner should know.

    Attributes:
        kind: short name.
        count: files or classes concerned; `examples` names some of them.
        advice: what to do about it.
    """

    kind: str
    count: int
    examples: list[str] = field(default_factory=list)
    advice: str = ""


def look_at(
    files: Sequence[ImageFile], say: Say
) -> tuple[list[Look | None], dict[int, str]]:
    """Read every file; return what each is, and row -> reason of the unreadable."""
    looks: list[Look | None] = [None] * len(files)

    def read(row: int) -> None:
        looks[row] = look(files[row])

    errors = run_all(read, len(files), True, say)
    return looks, {row: str(error.received) for row, error in errors.items()}


def look(file: ImageFile) -> Look:
    """Read one image, and its mask.

    Raises:
        InputError: one of them cannot be read, or they differ in size.
    """
    pixels = read_image(file.path)
    values: frozenset[int] = frozenset()
    if file.mask_path is not None:
        mask = read_mask(file.mask_path)
        check_same_size(pixels, mask, file)
        values = frozenset(np.flatnonzero(np.bincount(mask.ravel())).tolist())
    grey = resize_image(pixels, THUMBNAIL, THUMBNAIL).mean(axis=2, dtype=np.float32)
    shape = str(pixels.shape).encode()
    return Look(
        height=pixels.shape[0],
        width=pixels.shape[1],
        digest=hashlib.sha256(shape + pixels.tobytes()).hexdigest(),
        thumbnail=grey,
        is_misnamed=is_misnamed(file.path),
        mask_values=values,
    )


def is_misnamed(path: Path) -> bool:
    """Return whether a file holds another format than its suffix says."""
    with Image.open(path) as image:
        return FORMATS.get(path.suffix.lower(), image.format) != image.format


def groups_of_copies(looks: Sequence[Look | None]) -> list[list[int]]:
    """Return groups of rows that show one image: equal pixels, or saved again."""
    by_digest: dict[str, list[int]] = defaultdict(list)
    for row, found in enumerate(looks):
        # Those of one colour are told as such: they are equal and no copies.
        if found is not None and found.thumbnail.std() > 0:
            by_digest[found.digest].append(row)
    groups = list(by_digest.values())
    merged = joined_groups(groups, [looks[group[0]] for group in groups])
    return [sorted(group) for group in merged if len(group) > 1]


def joined_groups(
    groups: list[list[int]], firsts: Sequence[Look | None]
) -> list[list[int]]:
    """Join groups whose thumbnails are the same but for compression.

    In the order of their mean level each is compared with those up to a few grey levels
    lighter, all at once: 20,000 photographs take seconds.
    """
    kept = [f for f in firsts if f is not None]
    thumbnails = np.array([f.thumbnail.ravel() for f in kept], np.float32)
    shapes = np.array([f.width / f.height for f in kept])
    root = list(range(len(groups)))

    def find(place: int) -> int:
        while root[place] != place:
            place = root[place]
        return place

    # Plain ones look alike without being copies.
    uneven = np.flatnonzero([f.thumbnail.std() >= PLAIN_BELOW for f in kept])
    means = np.array([kept[place].thumbnail.mean() for place in uneven])
    order = uneven[np.argsort(means, kind="stable")]
    ends = np.searchsorted(np.sort(means), np.sort(means) + SAME_UP_TO, side="right")
    for position, here in enumerate(order):
        others = order[position + 1 : ends[position]]
        differences = np.abs(thumbnails[others] - thumbnails[here]).mean(axis=1)
        ratios = shapes[others] / shapes[here]
        same = (differences <= SAME_UP_TO) & (ratios > 0.9) & (ratios < 1.1)
        for there in others[same]:
            root[find(int(there))] = find(int(here))
    result: dict[int, list[int]] = defaultdict(list)
    for place, group in enumerate(groups):
        result[find(place)].extend(group)
    return list(result.values())


def copies(layout: Layout, looks: Sequence[Look | None]) -> list[Problem]:
    """Return what is wrong with images that occur more than once."""
    across, conflicting, doubled = [], [], []
    for group in groups_of_copies(looks):
        names = " = ".join(layout.files[row].name for row in group[:3])
        if len({layout.splits[row] for row in group}) > 1:
            across.append(names)
        elif layout.labels and len({layout.labels[row] for row in group}) > 1:
            conflicting.append(names)
        else:
            doubled.append(names)
    return [
        problem("the same image in two splits", across, "Keep one: scores on a split"
                " that was trained on are worth nothing"),
        problem("the same image in two classes", conflicting, "Remove the wrong one"),
        problem("the same image twice", doubled, "Remove the copies; where splits are"
                " cut, only those with equal pixels stay on one side"),
    ]  # fmt: skip


def problem(kind: str, examples: list[str], advice: str) -> Problem:
    """Return a problem with its first examples."""
    return Problem(kind, len(examples), examples[:5], advice)


def few_and_many(layout: Layout, fewest: int, ratio: float) -> list[Problem]:
    """Return classes with few training images, and whether counts are uneven."""
    if not layout.class_names:
        return []
    pairs = zip(layout.labels, layout.splits, strict=True)
    counts = Counter(label for label, split in pairs if split == "train")
    small = [
        f"{name} ({counts[label]})"
        for label, name in enumerate(layout.class_names)
        if counts[label] < fewest
    ]
    most, least = max(counts.values()), max(1, min(counts.values()))
    uneven = [f"{most} against {least} images"] if most >= ratio * least else []
    return [
        problem(f"classes with fewer than {fewest} images", small, "Add images; scores"
                " of these classes will be mostly chance"),
        problem("uneven classes", uneven, "balance_classes draws all classes equally"
                " often"),
    ]  # fmt: skip


def only_void(rows: Sequence[tuple[str, Look]]) -> list[str]:
    """Return masks whose 255 is read as void, as others hold other values."""
    held = frozenset[int]().union(*(found.mask_values for _, found in rows))
    if is_black_and_white(held):
        return []
    return [
        n for n, f in rows if 255 in f.mask_values and is_black_and_white(f.mask_values)
    ]


def soft_masks(rows: Sequence[tuple[str, Look]]) -> list[str]:
    """Return masks with 255 and light greys: soft edges, whose inside becomes void."""
    return [name for name, found in rows if has_soft_edges(found.mask_values)]


def troubled_files(
    layout: Layout, looks: Sequence[Look | None], errors: dict[int, str], small: int
) -> list[Problem]:
    """Return files that cannot be read, are misnamed, tiny, blank or have no mask."""
    rows = [(layout.files[row].name, f) for row, f in enumerate(looks) if f is not None]
    return [
        problem("unreadable files", [errors[row] for row in sorted(errors)],
                "Replace or remove them; skip_unreadable leaves them out"),
        problem("files named for another format", [n for n, f in rows if f.is_misnamed],
                "They are read all the same; rename them for other programs"),
        problem(f"images smaller than {small} pixels",
                [n for n, f in rows if min(f.height, f.width) < small],
                "Check that they are no icons"),
        problem("images of one colour", [n for n, f in rows if f.thumbnail.std() < 0.5],
                "Check that they are no failed downloads"),
        problem("masks without foreground",
                [n for n, f in rows if f.mask_values == {0}],
                "Right where there is nothing to find; else draw them"),
        problem("masks of 0 and 255 beside masks with other values", only_void(rows),
                "255 is void there, not foreground: write foreground as 1 in these, or"
                " as 255 in all"),
        problem("masks with soft edges", soft_masks(rows), "Beside greys 255 is void,"
                " not foreground: make them 0 and 255 only"),
    ]  # fmt: skip
