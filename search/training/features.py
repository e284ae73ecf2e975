"""What the frozen part of a network says of a data set: computed once, for all trials.

The key of a set is a hash of the frozen layers with their weights and of the images, so
trials, workers, finalists and other studies meet in the same one. Features are kept in
float32: the head then learns what the whole network would, to the last bits of float
rounding (float16 was not taken: it differs in the fourth digit).

Augmented images come in passes: fixed versions of the training set, each a function of
the recipe, the seed of the study and the pass.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.machine.devices import gpus
from search.training.feature_store import Arrays, Wanted

VERSION = 1
BATCH = 128  # images of a chunk; fewer are filled up, so that one graph serves
CPU_PIECE = 32  # of them, a CPU computes at a time: as fast, in a quarter of the memory


@dataclass(frozen=True)
class Images:
    """A set of images and their targets, and what names it.

    Attributes:
        name: parts of the key: hashes, limit, seed.
    """

    images: NDArray[Any]
    targets: NDArray[Any]
    name: tuple[Any, ...]

    @property
    def arrays(self) -> tuple[NDArray[Any], NDArray[Any]]:
        return self.images, self.targets


@dataclass(frozen=True)
class Pass:
    """One augmented version of the training set.

    Attributes:
        augmentation: a layer of its own, (images, targets) -> (images, targets).
        seed: of the study.
        number: from 0.
    """

    augmentation: Any
    seed: int
    number: int

    def key(self) -> tuple[Any, ...]:
        recipe = repr(self.augmentation.recipe)
        return recipe, self.augmentation.num_classes, self.seed, self.number

    def order(self, count: int) -> NDArray[np.intp]:
        """Return the rows in the order in which they are augmented (and mixed)."""
        return np.random.default_rng([self.seed, self.number, 1]).permutation(count)

    def augmented(
        self, images: NDArray[Any], targets: NDArray[Any], chunk: int
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return one batch augmented; the same numbers are drawn again for a chunk."""
        drawn = np.random.SeedSequence([self.seed, self.number, chunk])
        state = drawn.generate_state(1, np.uint32)[0]
        self.augmentation.seed_generator.state.assign(np.array([state, 0], np.uint32))
        changed = self.augmentation(images, targets)
        return np.asarray(changed[0]), np.asarray(changed[1])

    def whole(self, source: Images) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return all images and targets of the pass, in memory."""
        images, targets = None, None
        for chunk in range(chunks_of(len(source.images))):
            rows = chunk_rows(self.order(len(source.images)), chunk)
            some, theirs = self.augmented(*filled(source, rows), chunk)
            if images is None or targets is None:
                count = len(source.images)
                images = np.empty((count, *some.shape[1:]), some.dtype)
                targets = np.empty((count, *theirs.shape[1:]), theirs.dtype)
            images[rows], targets[rows] = some[: len(rows)], theirs[: len(rows)]
        assert images is not None and targets is not None
        return images, targets


def chunks_of(count: int) -> int:
    return -(-count // BATCH)


def chunk_rows(order: NDArray[np.intp], chunk: int) -> NDArray[np.intp]:
    return order[chunk * BATCH : (chunk + 1) * BATCH]


def filled(source: Images, rows: NDArray[np.intp]) -> tuple[Any, Any]:
    """Return a whole batch that begins with `rows`, so that shapes stay the same."""
    rows = np.resize(rows, BATCH)
    return source.images[rows], source.targets[rows]


def wanted_features(
    frozen: Any, identity: str, source: Images, version: Pass | None
) -> Wanted:
    """Say what features are wanted and how they are computed.

    Args:
        frozen: network from images to a list of features.
        identity: hash of all that decides what it computes.
        version: augmented pass, or None for the images as they are.

    Returns:
        arrays `f0`, `f1` … of features and, of a pass, `targets`.
    """
    count = len(source.images)
    specs = {
        name: ((count, *map(int, tensor.shape[1:])), "float32")
        for name, tensor in zip(names_of(frozen), frozen.outputs, strict=True)
    }
    order = order_of(version, count)
    if version is not None:
        _, targets = version.augmented(*filled(source, order), 0)
        specs["targets"] = (count, *targets.shape[1:]), str(targets.dtype)

    def compute(chunk: int) -> tuple[NDArray[np.intp], Arrays]:
        rows = chunk_rows(order, chunk)
        images, targets = filled(source, rows)
        if version is not None:
            images, targets = version.augmented(images, targets, chunk)
        values = predicted(frozen, images)
        found = dict(zip(names_of(frozen), values, strict=True))
        if version is not None:
            found["targets"] = targets
        return rows, {name: array[: len(rows)] for name, array in found.items()}

    parts = [VERSION, identity, *source.name, version and version.key()]
    key = hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:32]
    return Wanted(key, specs, chunks_of(count), compute)


def pooled(
    wanted: Wanted, unpooled: Arrays, parts: Any, version: Pass | None
) -> Wanted:
    """Return wanted features that are computed from what they are pooled of.

    Args:
        unpooled: arrays of `wanted_features` for `parts.unpooled`.
        parts: a network in parts, see `hypermodels.frozen_part`.
    """
    names = names_of(parts.unpooled)
    order = order_of(version, len(unpooled[names[0]]))

    def compute(chunk: int) -> tuple[NDArray[np.intp], Arrays]:
        rows = chunk_rows(order, chunk)
        before = [unpooled[name][np.resize(rows, BATCH)] for name in names]
        values = predicted(parts.pooling, before)
        found = dict(zip(names_of(parts.frozen), values, strict=True))
        if version is not None:
            found["targets"] = unpooled["targets"][rows]
        return rows, {name: array[: len(rows)] for name, array in found.items()}

    return replace(wanted, compute=compute)


def predicted(part: Any, inputs: Any) -> list[NDArray[Any]]:
    """Return what a part of a network says of a chunk, computed piece by piece.

    Args:
        inputs: array, or several in a list.
    """
    size = BATCH if gpus() else CPU_PIECE
    pieces = []
    for start in range(0, BATCH, size):
        rows = slice(start, start + size)
        is_several = isinstance(inputs, list)
        some = [array[rows] for array in inputs] if is_several else inputs[rows]
        pieces.append(listed(part.predict_on_batch(some)))
    return [np.concatenate(values) for values in zip(*pieces, strict=True)]


def order_of(version: Pass | None, count: int) -> NDArray[np.intp]:
    """Return the rows in the order in which their chunks are computed."""
    return np.arange(count) if version is None else version.order(count)


def names_of(frozen: Any) -> list[str]:
    return [f"f{place}" for place in range(len(frozen.outputs))]


def listed(arrays: Any) -> list[NDArray[np.float32]]:
    several = arrays if isinstance(arrays, (list, tuple)) else [arrays]
    return [np.asarray(array, np.float32) for array in several]


def hash_of_targets(targets: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(targets).tobytes()).hexdigest()
