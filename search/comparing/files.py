"""Where comparisons and paths are written, so that none replaces an unlike one."""

from collections.abc import Callable, Sequence
from pathlib import Path

from search.comparing.comparisons import folder_of, read_comparison, read_path
from search.paths import StudyPaths
from search.records import Values


def file_of(
    paths: StudyPaths, knob: str, base: str, labels: Values, seeds: Sequence[int]
) -> Path:
    """Return the file of a comparison; another one of the same knob stays."""

    def is_same(file: Path) -> bool:
        before = read_comparison(file)
        return (list(before.values), before.seeds) == (list(labels), list(seeds))

    file = paths.comparisons / f"{knob}-from-{base}.json"
    order: Values = {"values": " ".join(labels)}  # the reference is the first
    return own_file(file, f"{folder_of(order, 0)[:8]}-{len(seeds)}", seeds, is_same)


def path_file_of(
    paths: StudyPaths, base: str, first: Values, target: str, seeds: Sequence[int]
) -> Path:
    """Return the file of a path; one of other seeds stays.

    Args:
        base, first: name and values of its start.
    """

    def is_same(file: Path) -> bool:
        return read_path(file).seeds == list(seeds)

    origin = "" if base == "default" else f"-starting-{folder_of(first, 0)[:8]}"
    file = paths.comparisons / f"path-to-{target}{origin}.json"
    return own_file(file, f"{len(seeds)}", seeds, is_same)


def own_file(
    file: Path, mark: str, seeds: Sequence[int], is_same: Callable[[Path], bool]
) -> Path:
    """Return the first name that is free, or whose file holds the same comparison.

    Args:
        mark: after the name where that is taken; then the first seed as well.
    """
    marked = [f"{file.stem}-{mark}", f"{file.stem}-{mark}-seed{seeds[0]}"]
    names = [file, *(file.with_stem(stem) for stem in marked)]
    return next((f for f in names if not f.exists() or is_same(f)), names[-1])
