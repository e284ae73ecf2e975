"""Batches that are read while the device trains: of arrays, in the order of an epoch.

Nothing is copied but the batches: images and features stay in their memory maps, which
all workers share. On TensorFlow a `tf.data` pipeline reads ahead; it is built once and
serves every epoch. Other backends get a `PyDataset` of the same batches; on JAX, arrays
that fit on an accelerator are put there once, and batches are numbers of their rows.
"""

import mmap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.datasets.rows import parts_of
from search.training.accumulation import part_slices

Inputs = NDArray[Any] | tuple[NDArray[Any], ...]
Arrays = tuple[Inputs, NDArray[Any]]
BLOCK_BYTES = 4 * 2**20
MOST_STEPS_READ = 32
# A larger file does not stay mapped: pages that were read count as held by the process.
MAPPED_BYTES = 64 * 2**20
CAN_ADVISE = hasattr(mmap, "MADV_DONTNEED")


@dataclass
class Stream:
    """Arrays as batches; what Keras' `fit` takes is `source`.

    Attributes:
        inputs: array, or several in a tuple; a row is an image.
        targets: of as many rows.
        slices: of the order, one a training step.
        rows: the order of the next epoch; None = as they lie.
        of: streams that stay on the device in turn with it, all in the room of one.
    """

    inputs: Inputs
    targets: NDArray[Any]
    slices: Sequence[slice]
    rows: NDArray[np.intp] | None = None
    of: int = 1

    def __len__(self) -> int:
        return len(self.slices)

    def arrays(self) -> list[NDArray[Any]]:
        """Return its inputs and, last, its targets."""
        return [*listed(self.inputs), self.targets]

    @cached_property
    def is_resident(self) -> bool:
        """Return whether its arrays stay on the device."""
        size = sum(array.nbytes for array in self.arrays())
        return self.of * size <= room_for_arrays()

    def batch(self, step: int) -> tuple[Any, NDArray[Any]]:
        """Return the inputs and targets of a step."""
        return self.taken(self.rows_of(self.slices[step : step + 1]))

    def rows_of(self, steps: Sequence[slice]) -> NDArray[np.intp]:
        """Return the rows of some steps; after the last one the first come again."""
        places = np.concatenate([np.arange(s.start, s.stop) for s in steps])
        places %= len(self.targets if self.rows is None else self.rows)
        return places if self.rows is None else self.rows[places]

    def taken(self, rows: NDArray[np.intp]) -> tuple[Any, NDArray[Any]]:
        """Return inputs and targets of rows, floating-point ones in float32."""
        if isinstance(self.inputs, tuple):
            inputs: Any = tuple(read(array, rows) for array in self.inputs)
        else:
            inputs = read(self.inputs, rows)
        return inputs, read(self.targets, rows)

    @cached_property
    def source(self) -> Any:
        """Return the batches as a data set of Keras; it reads `rows` as it goes."""
        import keras

        if keras.backend.backend() == "tensorflow":
            return pipeline(self)
        read = resident_batches(self) if self.is_resident else self.batch
        stream = self

        class Batches(keras.utils.PyDataset):
            """The batches of a stream."""

            def __len__(self) -> int:
                return len(stream)

            def __getitem__(self, step: int) -> tuple[Any, Any]:
                return read(step)

        return Batches()


def stream_of(
    arrays: Arrays,
    batch_size: int,
    parts: int = 1,
    count: int | None = None,
    fills: bool = False,
) -> Stream:
    """Return arrays as batches.

    Args:
        parts: training steps to a batch.
        count: rows of an epoch; None = all.
        fills: the last batch is as large as the others, with the epoch's first rows.
    """
    inputs, targets = arrays
    length = len(targets) if count is None else count
    if fills and length > batch_size:
        length = batch_size * -(-length // batch_size)
    return Stream(inputs, targets, part_slices(length, batch_size, parts))


def even_size(count: int, most: int) -> int:
    """Return the largest batch size up to `most` that leaves no smaller last batch.

    `most` where that would be less than half of it.
    """
    sizes = range(min(most, count), most // 2, -1)
    return next((size for size in sizes if count % size == 0), most)


def compiles_by_shape(model: Any) -> bool:
    """Return whether a batch of another size costs another compilation, by XLA."""
    import keras

    return keras.backend.backend() == "jax" or bool(model.jit_compile)


def read(array: NDArray[Any], rows: NDArray[np.intp]) -> NDArray[Any]:
    """Return a copy of rows, floating-point numbers as float32."""
    taken = np.asarray(array[rows])
    for part in parts_of(array):
        if part.nbytes > MAPPED_BYTES:
            let_go(part)
    return single(taken)


def single(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array, floating-point numbers as float32."""
    if np.issubdtype(array.dtype, np.floating):
        return array.astype(np.float32, copy=False)
    return array


def let_go(array: NDArray[Any]) -> None:
    """Unmap what was read of a file; it stays in the page cache, to be read again.

    Only where nothing can have been written: that would be lost.
    """
    mapping = getattr(array, "_mmap", None)
    is_read_only = getattr(array, "mode", None) == "r"
    if CAN_ADVISE and is_read_only and isinstance(mapping, mmap.mmap):
        mapping.madvise(mmap.MADV_DONTNEED)


def pipeline(stream: Stream) -> Any:
    """Return a `tf.data.Dataset` of a stream's batches; the last may be smaller.

    Python is entered once for many steps: for each it would cost as much as a small
    network takes to train on a batch.
    """
    import tensorflow as tf

    inputs, targets = stream.batch(0)
    examples = [*listed(inputs), targets]
    types = [tf.as_dtype(example.dtype) for example in examples]
    blocks = blocks_of(stream.slices, sum(example.nbytes for example in examples))

    def read_block(number: NDArray[Any]) -> list[NDArray[Any]]:
        steps = blocks[int(number)]
        inputs, targets = stream.taken(stream.rows_of(steps))
        shape = len(steps), -1
        arrays = [*listed(inputs), targets]
        return [array.reshape(*shape, *array.shape[1:]) for array in arrays]

    def load(number: Any) -> tuple[Any, ...]:
        tensors = tf.numpy_function(read_block, [number], types)
        for tensor, example in zip(tensors, examples, strict=True):
            tensor.set_shape((None, None, *example.shape[1:]))
        return tuple(tensors)

    def nested(*tensors: Any) -> tuple[Any, Any]:
        *some, answers = tensors
        return (tuple(some) if isinstance(inputs, tuple) else some[0]), answers

    numbers = tf.data.Dataset.range(len(blocks))
    read_ahead = numbers.map(load).prefetch(1)
    batches = read_ahead.flat_map(
        lambda *tensors: tf.data.Dataset.from_tensor_slices(tensors)
    )
    known = tf.data.experimental.assert_cardinality(len(stream))
    # Nothing is left to tune, and the end of an epoch would wait, for seconds, for the
    # thread that tunes to wake.
    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.map(nested).apply(known).with_options(options)


def blocks_of(slices: Sequence[slice], batch_bytes: int) -> list[list[slice]]:
    """Return the steps in runs that are read at once: alike, and not too large."""
    most = max(1, min(MOST_STEPS_READ, BLOCK_BYTES // max(1, batch_bytes)))
    blocks: list[list[slice]] = []
    for _, alike in groupby(slices, lambda part: part.stop - part.start):
        steps = list(alike)
        blocks += [steps[first : first + most] for first in range(0, len(steps), most)]
    return blocks


def listed(inputs: Any) -> list[NDArray[Any]]:
    return list(inputs) if isinstance(inputs, tuple) else [inputs]


def room_for_arrays() -> int:
    """Return the bytes one stream may put on the device; 0 where data stay outside.

    Training and validation split take up to a quarter each of what JAX may use of an
    accelerator. On a CPU they would be a copy in every worker.
    """
    import keras

    if keras.backend.backend() != "jax":
        return 0
    import jax

    told = jax.local_devices()[0].memory_stats()  # None of CPUs
    return int(told["bytes_limit"]) // 4 if told else 0


def resident_batches(stream: Stream) -> Callable[[int], Any]:
    """Put a stream's arrays on the device; return step -> the rows of its batch."""
    import jax

    from hypermodels.resident import Rows

    def whole(array: Any) -> NDArray[Any]:
        return single(np.asarray(array))

    arrays = jax.device_put(jax.tree.map(whole, (stream.inputs, stream.targets)))
    for array in stream.arrays():
        for part in parts_of(array):
            let_go(part)

    def batch(step: int) -> Rows:
        rows = stream.rows_of(stream.slices[step : step + 1])
        return Rows(arrays, rows.astype(np.int32))

    return batch
