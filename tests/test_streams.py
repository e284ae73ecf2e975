"""Batches of an epoch: which rows they hold, in which order, and what Keras gets."""

from typing import Any

import numpy as np
import pytest

from search import streams
from search.streams import Stream, blocks_of, stream_of

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


def test_what_is_read_at_once_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "BLOCK_BYTES", 1000)
    steps = stream_of((IMAGES, LABELS), 2).slices
    assert [len(block) for block in blocks_of(steps, 400)] == [2, 2, 1, 1]
    assert [len(block) for block in blocks_of(steps, 5000)] == [1] * 6
    assert [step for block in blocks_of(steps, 400) for step in block] == list(steps)


def test_a_pipeline_ends_with_the_error_of_what_it_reads() -> None:
    stream = stream_of((IMAGES, LABELS), 4)
    stream.rows = np.full(11, 99)
    with pytest.raises(Exception, match="99 is out of bounds"):
        batches(stream)
