"""Which files a user means by paths and patterns, and how outputs are named."""

import glob
import sys
from collections.abc import Sequence
from pathlib import Path

from search.datasets.layouts import IMAGE_SUFFIXES, check_names
from search.errors import InputError


def find_images(
    inputs: Sequence[Path], output_dir: Path, made: Sequence[str]
) -> list[Path]:
    """Return the image files of paths, folders (searched whole) and glob patterns.

    Args:
        inputs: `-` stands for a list of inputs on standard input, one a line.
        made: endings of what an earlier run wrote into `output_dir`; passed over in
            folders and patterns, so that the same command can be run again.

    Raises:
        InputError: a path does not exist or is not in UTF-8, or nothing was found.
    """
    found: dict[Path, Path] = {}
    for source in listed(inputs):
        files = [source] if source.is_file() else images_below(source)
        outputs = output_dir.resolve()
        for path in files:
            is_made = path.parent.resolve() == outputs and path.name.endswith(
                tuple(made)
            )
            if path == source or not is_made:
                found.setdefault(path.resolve(), path)
    if not found:
        raise InputError(
            "image files, folders or patterns",
            ", ".join(map(str, inputs)) or "none",
            "Name at least one image",
        )
    check_names(found.values())
    return list(found.values())


def listed(inputs: Sequence[Path]) -> list[Path]:
    """Return the inputs, `-` replaced by the lines of standard input."""
    sources: list[Path] = []
    for source in inputs:
        if str(source) == "-":
            sources += [Path(line) for line in sys.stdin.read().splitlines() if line]
        else:
            sources.append(source)
    return sources


def images_below(source: Path) -> list[Path]:
    """Return the image files in a folder or of a glob pattern, sorted."""
    if source.is_dir():
        files = [path for path in source.rglob("*") if path.is_file()]
    else:
        # Path.glob takes no absolute patterns.
        names = glob.glob(str(source), recursive=True)  # noqa: PTH207
        files = [Path(name) for name in names if Path(name).is_file()]
    images = sorted(
        path
        for path in files
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    )
    if not images:
        exists = source.exists() or files
        raise InputError(
            f"images ({', '.join(sorted(IMAGE_SUFFIXES))}) in {source}",
            "none" if exists else "no such file or folder",
            "Check the path",
        )
    return images


def output_stems(
    files: Sequence[Path], output_dir: Path, endings: Sequence[str]
) -> dict[Path, str]:
    """Return path -> stem of its outputs; equal stems get their folder or a number.

    No output takes the name of another, nor of an image that was read.
    """
    taken = {path.resolve() for path in files}
    counts: dict[str, int] = {}
    for path in files:
        counts[path.stem.casefold()] = counts.get(path.stem.casefold(), 0) + 1
    used: set[str] = set()
    stems = {}
    for path in files:
        is_alone = counts[path.stem.casefold()] == 1
        parent = path.resolve().parent.name
        stem = path.stem if is_alone or not parent else f"{parent}_{path.stem}"
        number, candidate = 1, stem
        while candidate.casefold() in used or any(
            (output_dir / f"{candidate}{ending}").resolve() in taken
            for ending in endings
        ):
            number += 1
            candidate = f"{stem}_{number}"
        used.add(candidate.casefold())
        stems[path] = candidate
    return stems
