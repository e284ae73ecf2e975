"""A package that is installed in a folder, as far as its entry points tell."""

from pathlib import Path

import pytest


def install(
    folder: Path, monkeypatch: pytest.MonkeyPatch, group: str, entry: str
) -> None:
    """Let `folder` hold an installed package with one entry point.

    Args:
        entry: `name = module:Class`.
    """
    information = folder / "own-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Name: own\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(f"[{group}]\n{entry}\n")
    monkeypatch.syspath_prepend(str(folder))
