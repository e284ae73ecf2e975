"""What a training is fed with: images, or features where part of the network is frozen.

The head of a network with a frozen part is fitted on features that are computed once
(`search.training.features`). It shares layers and optimizer with the whole network, so
that checkpoints hold all of it either way. Whether features are used follows from the
study and the knobs alone, but where the disk has no room for them: then the whole
network is fitted, which comes to the same but for float rounding.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from search.datasets import PreparedDataset
from search.datasets.rows import joined
from search.orders import Order
from search.studies import Study
from search.training.feature_store import Arrays as FoundArrays
from search.training.feature_store import is_stored, stored
from search.training.features import (
    Images,
    Pass,
    hash_of_targets,
    names_of,
    pooled,
    wanted_features,
)
from search.training.pulse import Link
from search.training.stepping import set_steps
from search.training.streams import (
    Arrays,
    Stream,
    compiles_by_shape,
    even_size,
    stream_of,
)
from search.training.workbench import Built

# Features before pooling are many times as large: above this only what is asked for is
# computed.
SHARED_BYTES = 2**30


class StoppedError(Exception):
    """The user asked for the end while features were computed."""


@dataclass(frozen=True)
class Fit:
    """What is fitted in one epoch, and on what.

    Attributes:
        training: batches of the data set, whose order each epoch sets.
        validation: batches of the validation split, in its order, or None.
    """

    model: Any
    training: Stream
    validation: Stream | None


Feed = Callable[[int], Fit]


def make_feed(
    order: Order,
    study: Study,
    data: PreparedDataset,
    built: Built,
    parts: int,
    link: Link,
) -> tuple[Images, Feed]:
    """Return the training images of an order, and what is fitted in an epoch from 0.

    Args:
        built: its network, with its variables as they are to be.
        parts: training steps to a batch.
    """
    source = training_images(order, study, data)
    validation = None
    if not order.use_validation:
        images, targets = data.open("validation", study.task)
        validation = Images(images, targets, (data.hashes["validation"],))
    batching = Batching(built.batch_size, parts, compiles_by_shape(built.model))
    reuse = make_reuse(built, study, batching, link)
    if reuse is not None:
        return source, lambda epoch: reuse.fit(epoch, source, validation)
    checked = None if validation is None else batching.validation(validation.arrays)
    whole = Fit(built.model, batching.training(source.arrays), checked)
    return source, lambda epoch: whole


@dataclass(frozen=True)
class Batching:
    """How arrays become batches.

    Attributes:
        size: images of a batch.
        parts: training steps to a batch.
        is_even: all batches of a stream have one size.
    """

    size: int
    parts: int
    is_even: bool = False

    def training(self, arrays: Arrays) -> Stream:
        return stream_of(arrays, self.size, self.parts, fills=self.is_even)

    def validation(self, arrays: Arrays) -> Stream:
        """Return batches about as large as a training step's."""
        size = -(-self.size // self.parts)
        return stream_of(
            arrays, even_size(len(arrays[1]), size) if self.is_even else size
        )


def training_images(order: Order, study: Study, data: PreparedDataset) -> Images:
    """Return the images and targets an order trains on."""
    images, targets = data.train_rows(study.task, study.limit_train, study.seed)
    name: tuple[Any, ...] = (data.hashes["train"], len(images), study.seed)
    if order.soft_targets is not None:
        targets = np.load(order.soft_targets, mmap_mode="r", allow_pickle=False)
        name = (*name, hash_of_targets(targets))
    if order.use_validation:
        more = data.open("validation", study.task)
        images = joined(images, more[0])
        targets = joined(targets, more[1])
        if targets.ndim == 1:  # labels, which are looked at as a whole
            targets = np.asarray(targets)
        name = (*name, data.hashes["validation"])
    return Images(images, targets, name)


def make_reuse(
    built: Built, study: Study, batching: Batching, link: Link
) -> "Reuse | None":
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
    return Reuse(built.model, built.parts, built.identity, own, study, batching, link)


def split(built: Built) -> None:
    """Split a network into frozen part and head, where it has both."""
    from hypermodels.frozen_part import identity_of, split_frozen

    model = built.model
    built.is_split, built.parts = True, split_frozen(model)
    if built.parts is None:
        return
    built.identity = identity_of(built.parts.frozen)
    for part in built.parts.predicting():
        part.compile(jit_compile=model.jit_compile)
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
    batching: Batching
    link: Link
    streams: dict[object, Stream] = field(default_factory=dict)

    def fit(self, epoch: int, source: Images, validation: Images | None) -> Fit:
        """Return what is fitted in an epoch: the head, or all where there is no room.

        Raises:
            StoppedError: the user asked for the end; what was computed is kept.
        """
        version = self.version_of(epoch)
        cut = self.batching
        training = self.stream(source, version, cut.training)
        checked = None
        if validation is not None:
            checked = self.stream(validation, None, cut.validation)
        if training is not None and (validation is None or checked is not None):
            return Fit(self.parts.head, training, checked)
        arrays = version.whole(source) if version else source.arrays
        if validation is not None:
            checked = cut.validation(validation.arrays)
        return Fit(self.model, cut.training(arrays), checked)

    def stream(
        self, source: Images, version: Pass | None, cut: Callable[[Arrays], Stream]
    ) -> Stream | None:
        """Return features as batches, the same in every epoch that asks for them."""
        key = source.name, version and version.number
        if key not in self.streams:
            arrays = self.features(source, version)
            if arrays is None:
                return None
            self.streams[key] = replace(cut(arrays), of=self.passes if version else 1)
        return self.streams[key]

    @property
    def passes(self) -> int:
        """Return how many augmented versions of the images there are."""
        return self.study.augmented_passes or 1

    def version_of(self, epoch: int) -> Pass | None:
        """Return the augmented pass of an epoch."""
        if self.augmentation is None:
            return None
        return Pass(self.augmentation, self.study.seed, epoch % self.passes)

    def features(self, source: Images, version: Pass | None) -> Arrays | None:
        """Return features and targets, or None where the disk has no room."""
        frozen = self.parts.frozen
        wanted = wanted_features(frozen, self.identity, source, version)
        if self.parts.unpooled is not None and not is_stored(wanted):
            before = self.unpooled(source, version)
            if before is not None:
                wanted = pooled(wanted, before, self.parts, version)
        found = stored(wanted, self.alive)
        if found is None:
            return None
        inputs = tuple(found[name] for name in names_of(frozen))
        return inputs, found.get("targets", source.targets)

    def unpooled(self, source: Images, version: Pass | None) -> FoundArrays | None:
        """Return the features before they are pooled, which other heads take.

        Computed where they are missing, unless they are large.
        """
        from hypermodels.frozen_part import identity_of

        part = self.parts.unpooled
        wanted = wanted_features(part, identity_of(part), source, version)
        if wanted.bytes() <= SHARED_BYTES or is_stored(wanted):
            return stored(wanted, self.alive)
        return None

    def alive(self) -> None:
        self.link.pulse("predicting")
        if self.link.is_stopped():
            raise StoppedError
