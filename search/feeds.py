"""What a training is fed with: images, or features where part of the network is frozen.

The head of a network with a frozen part is fitted on features that are computed once
(`search.features`). It shares layers and optimizer with the whole network, so that
checkpoints hold all of it either way. Whether features are used follows from the study
and the knobs alone, but where the disk has no room for them: then the whole network is
fitted, which comes to the same but for float rounding.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.datasets import PreparedDataset
from search.feature_store import stored
from search.features import Images, Pass, hash_of_targets, names_of, wanted_features
from search.orders import Order
from search.pulse import Link
from search.stepping import set_steps
from search.studies import Study
from search.workbench import Built

Inputs = NDArray[Any] | tuple[NDArray[Any], ...]
Arrays = tuple[Inputs, NDArray[Any]]


class StoppedError(Exception):
    """The user asked for the end while features were computed."""


@dataclass(frozen=True)
class Fit:
    """What is fitted in one epoch, and on what.

    Attributes:
        training: inputs and targets, in the order in which the data set has them.
        validation: the same of the validation split, or None.
    """

    model: Any
    training: Arrays
    validation: Arrays | None


Feed = Callable[[int], Fit]
# Features above this are gathered batch by batch instead of an epoch at a time.
LARGE_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Rows:
    """Rows of a memory-mapped array in an order of their own, read when sliced."""

    array: NDArray[Any]
    rows: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: slice) -> NDArray[Any]:
        chosen: NDArray[Any] = self.array[self.rows[part]]
        return chosen


def taken(arrays: Arrays, rows: NDArray[np.intp]) -> tuple[Any, NDArray[Any]]:
    """Return the rows of inputs and targets; large features as `Rows`."""
    inputs, targets = arrays
    if not isinstance(inputs, tuple):
        return inputs[rows], targets[rows]
    if sum(array.nbytes for array in inputs) > LARGE_BYTES:
        return tuple(Rows(array, rows) for array in inputs), targets[rows]
    return tuple(array[rows] for array in inputs), targets[rows]


def make_feed(
    order: Order,
    study: Study,
    data: PreparedDataset,
    built: Built,
    link: Link,
) -> tuple[Images, Feed]:
    """Return the training images of an order, and what is fitted in an epoch from 0.

    Args:
        built: its network, with its variables as they are to be.
    """
    source = training_images(order, study, data)
    validation = None
    if not order.use_validation:
        images, targets = data.open("validation", study.task)
        validation = Images(images, targets, (data.hashes["validation"],))
    whole = Fit(built.model, source.arrays, arrays_of(validation))
    reuse = make_reuse(built, study, link)
    if reuse is None:
        return source, lambda epoch: whole
    return source, lambda epoch: reuse.fit(epoch, source, validation)


def training_images(order: Order, study: Study, data: PreparedDataset) -> Images:
    """Return the images and targets an order trains on."""
    images, targets = data.open_train(study.task, study.limit_train, study.seed)
    name: tuple[Any, ...] = (data.hashes["train"], len(images), study.seed)
    if order.soft_targets is not None:
        targets = np.load(order.soft_targets, mmap_mode="r", allow_pickle=False)
        name = (*name, hash_of_targets(targets))
    if order.use_validation:
        more = data.open("validation", study.task)
        images = np.concatenate([images, more[0]])
        targets = np.concatenate([targets, more[1]])
        name = (*name, data.hashes["validation"])
    return Images(images, targets, name)


def arrays_of(images: Images | None) -> Arrays | None:
    return None if images is None else images.arrays


def make_reuse(built: Built, study: Study, link: Link) -> "Reuse | None":
    """Return how the frozen part of a network is computed once, or None.

    It is not where nothing is frozen, or where every epoch sees new augmented images.
    """
    augmentation = getattr(built.model, "augmentation", None)
    if augmentation is not None and not study.augmented_passes:
        return None
    if not built.is_split:
        split(built)
    if built.parts is None:
        return None
    own = augmentation and augmentation.twin()
    return Reuse(built.model, built.parts, built.identity, own, study, link)


def split(built: Built) -> None:
    """Split a network into frozen part and head, where it has both."""
    from hypermodels.frozen_part import identity_of, split_frozen

    model = built.model
    built.is_split, built.parts = True, split_frozen(model)
    if built.parts is None:
        return
    built.identity = identity_of(built.parts.frozen)
    built.parts.frozen.compile(jit_compile=model.jit_compile)
    built.parts.head.compile(
        optimizer=model.optimizer,
        loss=model.loss,
        metrics=built.hypermodel.make_metrics(),
        jit_compile=model.jit_compile,
    )
    set_steps(built.parts.head, built.batch_size)
    model.is_augmenting = False


@dataclass(frozen=True)
class Reuse:
    """A network whose frozen part is computed once.

    Attributes:
        parts: frozen part and head.
        identity: hash of what the frozen part computes.
        augmentation: of training images, or None.
    """

    model: Any
    parts: Any
    identity: str
    augmentation: Any
    study: Study
    link: Link

    def fit(self, epoch: int, source: Images, validation: Images | None) -> Fit:
        """Return what is fitted in an epoch: the head, or all where there is no room.

        Raises:
            StoppedError: the user asked for the end; what was computed is kept.
        """
        version = self.version_of(epoch)
        training = self.features(source, version)
        checked = None if validation is None else self.features(validation, None)
        if training is not None and (validation is None or checked is not None):
            return Fit(self.parts.head, training, checked)
        arrays = version.whole(source) if version else source.arrays
        return Fit(self.model, arrays, arrays_of(validation))

    def version_of(self, epoch: int) -> Pass | None:
        """Return the augmented pass of an epoch."""
        if self.augmentation is None:
            return None
        passes = self.study.augmented_passes or 1
        return Pass(self.augmentation, self.study.seed, epoch % passes)

    def features(self, source: Images, version: Pass | None) -> Arrays | None:
        """Return features and targets, or None where the disk has no room."""
        frozen = self.parts.frozen
        wanted = wanted_features(frozen, self.identity, source, version)
        found = stored(wanted, self.alive)
        if found is None:
            return None
        inputs = tuple(found[name] for name in names_of(frozen))
        return inputs, found.get("targets", source.targets)

    def alive(self) -> None:
        self.link.pulse("predicting")
        if self.link.is_stopped():
            raise StoppedError
