"""Batches of an epoch: which rows they hold, in which order, and what Keras gets."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search.training import streams
from search.training.streams import Stream, blocks_of, even_size, stream_of

IMAGES = np.random.default_rng(0).integers(0, 256, (11, 4, 4, 3), np.uint8)
LABELS = np.arange(11, dtype=np.int32)


def batches(stream: Stream) -> list[tuple[Any, Any]]:
    """Return what Keras reads, on this backend."""
    source = stream.source
    if hasattr(source, "as_numpy_iterator"):
        return list(source.as_numpy_iterator())
    return [source[step] for step in range(len(source))]


def test_batches_follow_the_order_that_is_set_before_each_epoch() -> None:
    stream = stream_of((IMAGES, LABELS), 4)
    for seed in range(2):
        stream.rows = np.random.default_rng(seed).permutation(11)
        found = batches(stream)
        assert [len(labels) for _, labels in found] == [4, 4, 3]
        rows = np.concatenate([labels for _, labels in found])
        np.testing.assert_array_equal(rows, stream.rows)
        images = np.concatenate([images for images, _ in found])
        np.testing.assert_array_equal(images, IMAGES[stream.rows])
        assert images.dtype == np.uint8
        assert len(stream.source) == 3


def test_without_an_order_rows_come_as_they_lie() -> None:
    found = batches(stream_of((IMAGES, LABELS), 5))
    np.testing.assert_array_equal(np.concatenate([y for _, y in found]), LABELS)


def test_batches_in_parts_hold_the_same_rows() -> None:
    found = batches(stream_of((IMAGES, LABELS), 4, parts=2))
    assert [list(labels) for _, labels in found] == [
        *([0, 1], [2, 3], [4, 5], [6, 7]),
        *([8], [9, 10]),
    ]


def test_several_inputs_stay_together_and_doubles_become_single() -> None:
    skips = IMAGES.astype(np.float64) / 3
    stream = stream_of(((IMAGES, skips), LABELS), 4)
    stream.rows = np.arange(11)[::-1]
    for (images, halves), labels in batches(stream):
        np.testing.assert_array_equal(images, IMAGES[labels])
        np.testing.assert_array_equal(halves, skips[labels].astype(np.float32))
        assert halves.dtype == np.float32


def test_an_epoch_may_be_a_part_of_the_rows() -> None:
    stream = stream_of((IMAGES, LABELS), 4, count=6)
    stream.rows = np.array([9, 1, 5, 0, 2, 7])
    assert [list(labels) for _, labels in batches(stream)] == [[9, 1, 5, 0], [2, 7]]


def test_a_last_batch_is_filled_with_the_first_rows_of_its_epoch() -> None:
    stream = stream_of((IMAGES, LABELS), 4, fills=True)
    assert [list(y) for _, y in batches(stream)][-1] == [8, 9, 10, 0]
    stream.rows = np.random.default_rng(0).permutation(11)
    found = np.concatenate([y for _, y in batches(stream)])
    np.testing.assert_array_equal(found, [*stream.rows, stream.rows[0]])
    few = stream_of((IMAGES, LABELS), 16, fills=True)
    assert [len(y) for _, y in batches(few)] == [11]


@pytest.mark.parametrize(
    ("count", "most", "size"), [(5000, 256, 250), (10, 16, 10), (11, 4, 4), (8, 4, 4)]
)
def test_batches_of_one_size_where_the_rows_allow(
    count: int, most: int, size: int
) -> None:
    assert even_size(count, most) == size


def test_what_is_read_at_once_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "BLOCK_BYTES", 1000)
    steps = stream_of((IMAGES, LABELS), 2).slices
    assert [len(block) for block in blocks_of(steps, 400)] == [2, 2, 1, 1]
    assert [len(block) for block in blocks_of(steps, 5000)] == [1] * 6
    assert [step for block in blocks_of(steps, 400) for step in block] == list(steps)


def test_the_end_of_an_epoch_waits_for_no_tuning() -> None:
    """What tunes a `tf.data` pipeline sleeps for seconds, and is waited for."""
    assert stream_of((IMAGES, LABELS), 4).source.options().autotune.enabled is False


def test_a_pipeline_ends_with_the_error_of_what_it_reads() -> None:
    stream = stream_of((IMAGES, LABELS), 4)
    stream.rows = np.full(11, 99)
    with pytest.raises(Exception, match="99 is out of bounds"):
        batches(stream)


def mapped_bytes(path: Path) -> int:
    """Return how much of a file this process holds in memory."""
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    next(line for line in lines if line.endswith(str(path)))
    return 1024 * int(next(x for x in lines if x.startswith("Rss:")).split()[1])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_large_file_that_was_read_is_not_held(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    features = np.random.default_rng(0).random((512, 1024), np.float32)
    path = tmp_path / "features.npy"
    np.save(path, features)
    found = np.load(path, mmap_mode="r")
    stream = stream_of((found, np.arange(512)), 32)
    np.testing.assert_array_equal(stream.batch(3)[0], features[96:128])
    assert mapped_bytes(path) > 0  # a small one stays
    monkeypatch.setattr(streams, "MAPPED_BYTES", 2**20)
    for _ in range(2):
        read = np.concatenate([images for images, _ in batches(stream)])
        np.testing.assert_array_equal(read, features)
    assert mapped_bytes(path) == 0


def test_what_was_written_to_a_private_mapping_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    np.save(tmp_path / "images.npy", IMAGES)
    images = np.load(tmp_path / "images.npy", mmap_mode="c")
    images[0] = 7
    monkeypatch.setattr(streams, "MAPPED_BYTES", 0)
    found = batches(stream_of((images, LABELS), 11)) + batches(
        stream_of((images, LABELS), 11)
    )
    assert all((batch[0] == 7).all() for batch, _ in found)
