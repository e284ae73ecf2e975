"""Some rows of arrays that stay where they are: in files, shared by all workers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Rows:
    """Rows of one array, or of several that follow each other, read where asked for.

    Stands where a NumPy array of these rows would, of which a copy is made only by
    `numpy.asarray`: it has a shape and a type, and an index of rows returns an array.

    Args:
        parts: arrays whose rows have one shape.
        places: numbers of rows, counted through all parts.
    """

    def __init__(self, parts: tuple[NDArray[Any], ...], places: NDArray[np.intp]):
        self.parts, self.places = parts, places
        self.dtype = np.result_type(*parts)
        self.shape = (len(places), *parts[0].shape[1:])
        self.ndim = len(self.shape)
        self.nbytes = int(np.prod(self.shape)) * self.dtype.itemsize

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, rows: Any) -> Any:
        places = np.asarray(self.places[rows])
        if len(self.parts) == 1:
            return self.parts[0][places]
        taken = np.empty((*places.shape, *self.shape[1:]), self.dtype)
        start = 0
        for part in self.parts:
            inside = (places >= start) & (places < start + len(part))
            taken[inside] = part[places[inside] - start]
            start += len(part)
        return taken

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype)


def joined(first: Any, second: Any) -> Rows:
    """Return the rows of one array, then those of another."""
    before = parts_of(first)
    start = sum(map(len, before))
    places = [places_of(first), start + places_of(second)]
    return Rows((*before, *parts_of(second)), np.concatenate(places))


def parts_of(array: Any) -> tuple[NDArray[Any], ...]:
    """Return the arrays that lie behind one."""
    return array.parts if isinstance(array, Rows) else (array,)


def places_of(array: Any) -> NDArray[np.intp]:
    """Return the numbers of an array's rows in what lies behind it."""
    return array.places if isinstance(array, Rows) else np.arange(len(array))
