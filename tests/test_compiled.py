"""The folder of what JAX compiled stays within its limit."""

import os
from pathlib import Path

import pytest

from search.machine import compiled
from search.machine.compiled import Kept, prune_compiled, too_much
from search.workers.worker_processes import WorkerProcesses


def kept(name: str, size: int, used: float) -> Kept:
    return Kept(Path(name), size, used)


def test_what_was_used_longest_ago_goes_and_no_more_than_must() -> None:
    files = [kept("b", 30, 2.0), kept("a", 20, 1.0), kept("c", 50, 3.0)]
    assert too_much(files, 100) == []
    assert [one.path.name for one in too_much(files, 99)] == ["a"]
    assert [one.path.name for one in too_much(files, 80)] == ["a"]
    assert [one.path.name for one in too_much(files, 79)] == ["a", "b"]
    assert len(too_much(files, 0)) == 3
    assert too_much([], 0) == []


def test_a_driver_prunes_the_folder_when_it_makes_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISION_TUNER_CACHE", str(tmp_path / "cache"))
    prune_compiled()  # there is no folder yet
    folder = tmp_path / "cache" / "jax"
    for number, name in enumerate(("new", "old", "below/oldest")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(10))
        os.utime(path, (3e9 - 1e6 * number,) * 2)
    monkeypatch.setattr(compiled, "LARGEST_BYTES", 20)
    workers = WorkerProcesses(
        1, tmp_path / "logs", memory_limit=None, per_gpu=1, say=print
    )
    workers.close()
    assert {path.name for path in folder.rglob("*")} == {"new", "old", "below"}
