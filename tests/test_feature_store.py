"""Arrays shared by processes: computed once, whole or absent, within bounds."""

import errno
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search.training import feature_store
from search.training.feature_store import (
    LIMIT,
    Wanted,
    features_dir,
    limit_bytes,
    stored,
)

ROWS, CHUNK = 40, 8


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISION_TUNER_CACHE", str(tmp_path))


def alive() -> None:
    pass


def wanted(key: str = "squares", compute: Any = None) -> Wanted:
    def squares(chunk: int) -> Any:
        rows = np.arange(ROWS)[chunk * CHUNK : (chunk + 1) * CHUNK]
        return rows, {"f0": np.square(rows, dtype=np.float32)}

    return Wanted(key, {"f0": ((ROWS,), "float32")}, ROWS // CHUNK, compute or squares)


def begin_and_die() -> None:
    """Compute two chunks of a set."""

    def dies(chunk: int) -> Any:
        if chunk == 2:
            raise KeyboardInterrupt
        return wanted().compute(chunk)

    with pytest.raises(KeyboardInterrupt):
        stored(wanted(compute=dies), alive)


def test_workers_that_begin_together_divide_the_work_and_read_the_same() -> None:
    computed: list[int] = []
    both_are_in, this_worker = threading.Barrier(2), threading.local()

    def compute(chunk: int) -> Any:
        if not hasattr(this_worker, "is_in"):
            this_worker.is_in = True
            both_are_in.wait(timeout=30)
        computed.append(chunk)
        return wanted().compute(chunk)

    found: list[Any] = []
    workers = [
        threading.Thread(
            target=lambda: found.append(stored(wanted(compute=compute), alive))
        )
        for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(computed) == list(range(ROWS // CHUNK))
    for arrays in found:
        np.testing.assert_array_equal(arrays["f0"], np.arange(ROWS) ** 2)
    assert not [p for p in features_dir().iterdir() if p.name.endswith(".tmp")]


def test_a_set_appears_whole_and_what_a_killed_process_did_is_kept() -> None:
    begin_and_die()
    assert not wanted().folder.exists()
    computed = []

    def rest(chunk: int) -> Any:
        computed.append(chunk)
        return wanted().compute(chunk)

    arrays = stored(wanted(compute=rest), alive)
    assert arrays is not None
    assert computed == [2, 3, 4]
    np.testing.assert_array_equal(arrays["f0"], np.arange(ROWS) ** 2)


def test_a_set_that_was_cut_while_it_was_made_begins_again() -> None:
    begin_and_die()
    (path,) = wanted().unfinished.glob("*.npy")
    os.truncate(path, path.stat().st_size // 2)
    arrays = stored(wanted(), alive)
    assert arrays is not None
    np.testing.assert_array_equal(arrays["f0"], np.arange(ROWS) ** 2)


def test_nothing_is_stored_where_it_may_not_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(LIMIT, "0")
    assert stored(wanted(), alive) is None
    assert not [path for path in features_dir().iterdir() if path.is_dir()]


def test_a_disk_that_fills_up_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(feature_store, "reserve", full)
    assert stored(wanted(), alive) is None
    assert not [path for path in features_dir().iterdir() if path.is_dir()]


def test_the_sets_used_longest_ago_go_and_those_in_use_stay_readable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = {key: stored(wanted(key), alive) for key in ("old", "older", "new")}
    for key, seconds in (("older", 1000), ("old", 2000), ("new", 3000)):
        os.utime(wanted(key).folder, (seconds, seconds))
    three = sum(feature_store.size_of(wanted(key).folder) for key in held)
    monkeypatch.setenv(LIMIT, str(three / 2**30))
    assert stored(wanted("next"), alive) is not None
    assert not wanted("older").folder.exists()
    assert wanted("old").folder.exists()
    arrays = held["older"]
    assert arrays is not None
    np.testing.assert_array_equal(arrays["f0"], np.arange(ROWS) ** 2)


def test_features_take_a_quarter_of_the_free_disk_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(LIMIT, raising=False)
    assert limit_bytes(free=2**30, held=2**20) == 2**28 + 2**20
    assert limit_bytes(free=2**40, held=0) == 20 * 2**30


def test_a_disk_that_fills_up_while_it_is_computed_is_no_failure() -> None:
    def fills_up(chunk: int) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    assert stored(wanted(compute=fills_up), alive) is None
