"""Masks at the size of their image, packed: what the prepared arrays have resized away.

Labels of few values compress to a hundredth, so that all masks of VOC 2012 take some
10 MB beside the arrays.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.files import write_array

Mask = NDArray[np.uint8]


@dataclass(frozen=True)
class PackedMask:
    """One mask, compressed."""

    height: int
    width: int
    data: bytes

    @classmethod
    def of(cls, mask: Mask) -> "PackedMask":
        """Pack a (height, width) uint8 mask."""
        height, width = mask.shape
        packed = zlib.compress(np.ascontiguousarray(mask).tobytes(), 6)
        return cls(height, width, packed)

    def unpack(self) -> Mask:
        """Return the mask as (height, width) uint8."""
        pixels = np.frombuffer(zlib.decompress(self.data), np.uint8)
        return pixels.reshape(self.height, self.width)


@dataclass(frozen=True)
class Originals:
    """Packed masks of all images, with the values stored in their files.

    Attributes:
        masks: one an image; None where it could not be read.
        table: (256,) stored value -> 0 background, 1 foreground, 255 void.
    """

    masks: Sequence[PackedMask | None]
    table: NDArray[np.uint8]

    def translated(self, row: int) -> PackedMask:
        """Return one mask as background, foreground and void."""
        mask = self.masks[row]
        assert mask is not None, "rows of a split are rows that were read"
        return PackedMask.of(self.table[mask.unpack()])


def write_originals(path: Path, masks: Sequence[PackedMask]) -> None:
    """Write packed masks as one array of bytes and one of places and sizes."""
    data = b"".join(mask.data for mask in masks)
    ends = np.cumsum([len(mask.data) for mask in masks])
    index = [
        (end, mask.height, mask.width) for end, mask in zip(ends, masks, strict=True)
    ]
    write_array(path, np.frombuffer(data, np.uint8))
    write_array(index_of(path), np.array(index, np.int64))


def index_of(path: Path) -> Path:
    return path.with_name(f"{path.stem}_index.npy")


class StoredMasks:
    """The masks of one split, read from disk one by one."""

    def __init__(self, path: Path) -> None:
        self._data: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        self._index: NDArray[Any] = np.load(index_of(path), allow_pickle=False)

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, row: int) -> Mask:
        end, height, width = (int(value) for value in self._index[row])
        start = int(self._index[row - 1][0]) if row else 0
        data = self._data[start:end].tobytes()
        return PackedMask(height, width, data).unpack()

    def __iter__(self) -> Iterator[Mask]:
        return (self[row] for row in range(len(self)))
