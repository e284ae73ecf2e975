"""Checkpoints are written while the next epoch trains, and nothing is lost by it."""

import errno
import threading
from pathlib import Path
from typing import Any

import pytest
from test_training import never
from test_training import order as ordered

from search.datasets import PreparedDataset, prepare
from search.errors import NotFiniteError
from search.orders import Progress
from search.training import loop
from search.training.aside import Aside
from search.training.checkpoints import LAST, read_standing
from search.workers.worker import run_order


@pytest.fixture(scope="module")
def data() -> PreparedDataset:
    return prepare("shapes", task="classification", image_size=32)


def test_the_next_epoch_trains_while_the_disk_is_slow(
    data: PreparedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, goes_on = loop.save_epoch, threading.Event()
    stages: list[str] = []

    def slow(*arguments: Any) -> None:
        goes_on.wait(60)
        save(*arguments)

    def pulse(stage: str) -> None:
        stages.append(stage)
        if stages.count("first step") == 2:
            goes_on.set()

    monkeypatch.setattr(loop, "save_epoch", slow)
    seen: list[int] = []

    def report(progress: Progress) -> None:
        assert goes_on.is_set()  # so it is on disk
        seen.append(progress.epoch)

    outcome = run_order(ordered(data, tmp_path, 3), report, never, pulse)
    assert outcome.state == "COMPLETED", outcome.traceback
    assert seen == [1, 2, 3]
    standing = read_standing(tmp_path / LAST)
    assert standing is not None and standing.epochs == 3


def test_a_disk_that_fails_ends_the_order(
    data: PreparedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(loop, "save_epoch", refuse)
    seen: list[Progress] = []
    outcome = run_order(ordered(data, tmp_path), seen.append, never)
    assert outcome.state == "PAUSED" and "Cannot write" in str(outcome.message)
    assert seen == []


def test_an_epoch_is_kept_where_the_next_one_fails(
    data: PreparedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, fit, failed = loop.save_epoch, loop.fit_epoch, threading.Event()

    def slow(*arguments: Any) -> None:
        assert failed.wait(60)
        save(*arguments)

    def fail_later(fit_on: Any, epoch: int, pulse: Any) -> Any:
        if epoch == 1:
            failed.set()
            raise NotFiniteError("loss = nan in epoch 2")
        return fit(fit_on, epoch, pulse)

    monkeypatch.setattr(loop, "save_epoch", slow)
    monkeypatch.setattr(loop, "fit_epoch", fail_later)
    seen: list[Progress] = []
    outcome = run_order(ordered(data, tmp_path), seen.append, never)
    assert "loss = nan" in str(outcome.message)
    assert [progress.epoch for progress in seen] == [1]
    standing = read_standing(tmp_path / LAST)
    assert standing is not None and standing.epochs == 1


def test_work_is_done_in_turn_and_reported_by_who_looks() -> None:
    done: list[str] = []
    waits = threading.Event()

    def first() -> None:
        waits.wait(60)
        done.append("first")

    def fail() -> None:
        raise OSError("full")

    with pytest.raises(OSError, match="full"), Aside() as aside:
        aside.begin(first, lambda: done.append("told"))
        aside.look()
        assert done == []
        waits.set()
        aside.begin(fail, lambda: done.append("never told"))
        assert done == ["first", "told"]
    assert done == ["first", "told"]
    with pytest.raises(KeyError), Aside() as aside:
        aside.begin(fail, ignored)
        raise KeyError


def ignored() -> None:
    pass
