"""Finds out how the user's folder of images is laid out."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from glob import escape
from pathlib import Path

from search.datasets.sources import ImageFile
from search.errors import InputError
from search.records import Task
from search.wording import counted

IMAGE_SUFFIXES = frozenset(
    [
        ".bmp",
        ".gif",
        ".jpe",
        ".jpeg",
        ".jpg",
        ".pgm",
        ".png",
        ".ppm",
        ".tif",
        ".tiff",
        ".webp",
    ]
)
# JPEG would blur the values of a mask.
MASK_SUFFIXES = frozenset([".bmp", ".gif", ".pgm", ".png", ".tif", ".tiff"])
SPLIT_FOLDERS = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid"),
    "test": ("test", "testing"),
}
# What commands write where they run, with no image right in it.
OUTPUTS = ("results", "tensorboard_logs", "predictions")
# Pairs of folders that are no classes but images and their masks, misnamed.
IMAGES_NAMED = frozenset(["image", "images", "img", "imgs", "jpegimages"])
MASKS_NAMED = frozenset(
    ["annotations", "label", "labels", "mask", "masks", "segmentationclass"]
)
BOTH_LAYOUTS = (
    "Lay it out as DIR/<class>/*.jpg, or as DIR/images/* and DIR/masks/*.png; train/,"
    " validation/ and test/ may lie between"
)


@dataclass(frozen=True)
class Layout:
    """What lies in a folder, in a fixed order.

    Attributes:
        files: all images.
        labels: class number of each; empty for segmentation.
        splits: split that each lies in; all `train` where the folder has no splits.
        others: files that are no images, which are left out.
    """

    task: Task
    class_names: list[str]
    files: list[ImageFile]
    labels: list[int]
    splits: list[str]
    others: int


def find_layout(root: Path) -> Layout:
    """Return what lies in `root`.

    Raises:
        InputError: there are no images, fewer than two classes, an image without its
            mask or the other way round.
    """
    bases = split_folders(root) or {"train": root}
    if "train" not in bases:
        raise InputError(
            f"a folder {root / 'train'} beside {', '.join(bases)}", "none", BOTH_LAYOUTS
        )
    first = bases["train"]
    if (first / "images").is_dir() and (first / "masks").is_dir():
        return segmentation_layout(root, bases)
    refuse_misnamed(first)
    return classification_layout(root, bases)


def refuse_misnamed(base: Path) -> None:
    """Raise InputError where two folders are images and masks under other names."""
    names = sorted(folder.name for folder in subfolders(base))
    lower = {name.lower() for name in names}
    if len(names) == 2 and lower & IMAGES_NAMED and lower & MASKS_NAMED:
        raise InputError(
            f"the folders images and masks in {base}",
            " and ".join(names),
            "Rename them; two classes need other names",
        )


def split_folders(root: Path) -> dict[str, Path]:
    """Return split -> folder; a folder with images right in it is a class instead."""
    found: dict[str, Path] = {}
    for folder in subfolders(root):
        for split, names in SPLIT_FOLDERS.items():
            if folder.name.lower() in names and subfolders(folder):
                if split in found:
                    raise InputError(
                        f"one folder for the {split} split",
                        f"{found[split]} and {folder}",
                        "Keep one of them",
                    )
                found[split] = folder
    return {split: found[split] for split in SPLIT_FOLDERS if split in found}


def subfolders(folder: Path) -> list[Path]:
    """Return the folders in `folder` by name, without hidden ones and our own."""
    found = sorted(
        path
        for path in folder.iterdir()
        if path.is_dir() and not path.name.startswith((".", "__")) and not is_ours(path)
    )
    check_names(found)
    return found


def is_ours(folder: Path) -> bool:
    """Return whether a command that ran beside the images has made a folder."""
    return folder.name in OUTPUTS and not files_in(folder, IMAGE_SUFFIXES)[0]


def files_in(folder: Path, suffixes: frozenset[str]) -> tuple[list[Path], int]:
    """Return the images right in `folder` by name, and the number of other files."""
    paths = [path for path in folder.iterdir() if not path.name.startswith(".")]
    files = [path for path in paths if path.is_file() or path.is_symlink()]
    images = [path for path in files if path.suffix.lower() in suffixes]
    broken = [path for path in images if not path.exists()]
    if broken:
        raise InputError(
            "a link to a file", f"{broken[0]}, which leads nowhere", "Remove it"
        )
    check_names(images)
    return sorted(images), len(files) - len(images)


def check_names(paths: Iterable[Path]) -> None:
    """Raise InputError where a path is no text, and could not be written down.

    Archives of other systems leave such names: Python has marks in place of the bytes.
    """
    for path in paths:
        try:
            str(path).encode()
        except UnicodeEncodeError:
            raise InputError(
                "file names in UTF-8",
                ascii(str(path)),
                "Rename it; convmv does so for whole folders",
            ) from None


def classification_layout(root: Path, bases: dict[str, Path]) -> Layout:
    folders = {split: subfolders(base) for split, base in bases.items()}
    class_names = [folder.name for folder in folders["train"]]
    files, labels, splits, others = [], [], [], 0
    for split, classes in folders.items():
        for folder in classes:
            if folder.name not in class_names:
                raise InputError(
                    f"the classes of {bases['train']}: {', '.join(class_names)}",
                    str(folder),
                    "Add its training images, or remove it",
                )
            images, rest = files_in(folder, IMAGE_SUFFIXES)
            others += rest
            files += [ImageFile(name_of(path, root), path) for path in images]
            labels += [class_names.index(folder.name)] * len(images)
            splits += [split] * len(images)
    check_classes(root, bases, class_names, labels, splits)
    return Layout("classification", class_names, files, labels, splits, others)


def check_classes(
    root: Path,
    bases: dict[str, Path],
    class_names: list[str],
    labels: list[int],
    splits: list[str],
) -> None:
    """Raise InputError where there are too few classes, or images of a class."""
    if not labels:
        elsewhere = sum(
            path.suffix.lower() in IMAGE_SUFFIXES for path in root.rglob("*")
        )
        received = f"{elsewhere} elsewhere" if elsewhere else "none"
        raise InputError(
            f"images in the folders of classes in {root}", received, BOTH_LAYOUTS
        )
    if len(class_names) < 2:
        raise InputError(
            f"a folder for each of at least 2 classes in {bases['train']}",
            ", ".join(class_names) or "none",
            BOTH_LAYOUTS,
        )
    pairs = zip(labels, splits, strict=True)
    counts = Counter(label for label, split in pairs if split == "train")
    # One for training and one for each split that has to be cut from it.
    needed = 1 + len(SPLIT_FOLDERS) - len(bases)
    for label, name in enumerate(class_names):
        if counts[label] < needed:
            raise InputError(
                f"at least {needed} images in {bases['train'] / name}",
                counts[label],
                "Add images, or remove the folder of that class",
            )


def segmentation_layout(root: Path, bases: dict[str, Path]) -> Layout:
    files: list[ImageFile] = []
    splits, others = [], 0
    for split, base in bases.items():
        for folder in (base / "images", base / "masks"):
            if not folder.is_dir():
                raise InputError(f"a folder {folder}", "none", BOTH_LAYOUTS)
        images, rest = files_in(base / "images", IMAGE_SUFFIXES)
        masks, rest_of_masks = files_in(base / "masks", MASK_SUFFIXES)
        pairs = pairs_of(by_stem(images), by_stem(masks), base)
        files += [ImageFile(name_of(path, root), path, mask) for path, mask in pairs]
        splits += [split] * len(pairs)
        others += rest + rest_of_masks
    needed = 1 + len(SPLIT_FOLDERS) - len(bases)
    if splits.count("train") < needed:
        raise InputError(
            f"at least {needed} images in {bases['train'] / 'images'}",
            splits.count("train"),
            "Add images and their masks",
        )
    return Layout("segmentation", [], files, [], splits, others)


def by_stem(paths: list[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in paths:
        if path.stem in found:
            raise InputError(
                "one file of each name",
                f"{found[path.stem]} and {path}",
                "Rename one of them, and its mask",
            )
        found[path.stem] = path
    return found


def pairs_of(
    images: dict[str, Path], masks: dict[str, Path], base: Path
) -> list[tuple[Path, Path]]:
    """Return each image with its mask.

    Raises:
        InputError: an image or a mask is alone; how many are is said.
    """
    alone = [stem for stem in images if stem not in masks]
    unused = [path for stem, path in masks.items() if stem not in images]
    if alone:
        first = alone[0]
        blurred = sorted((base / "masks").glob(f"{escape(first)}.jp*g"))
        received = f"no {base / 'masks' / first}.png"
        remedy = "Add it, or remove the image"
        if blurred:
            received = f"{blurred[0]}, whose values JPEG has blurred"
            remedy = "Save it as PNG"
        elif unused:
            received += f", but {unused[0].name} without an image"
            remedy = "Give an image and its mask one name"
        raise InputError(
            f"the mask of {images[first]}{and_more(alone, 'image')}", received, remedy
        )
    if unused:
        raise InputError(
            f"the image of the mask {unused[0]}{and_more(unused, 'mask')}",
            f"no {unused[0].stem} in {base / 'images'}",
            "Add it, or remove the mask",
        )
    return [(path, masks[stem]) for stem, path in images.items()]


def and_more(found: Sequence[object], noun: str) -> str:
    """Return words for all but the first of what was found, if there are more."""
    more = len(found) - 1
    return f" (and of {counted(more, f'more {noun}')})" if more else ""


def name_of(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
