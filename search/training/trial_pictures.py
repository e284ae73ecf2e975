"""What TensorBoard shows of a trial besides curves: pictures, graph and latency.

Drawn once when a trial begins and once at the end of each rung, outside the epochs
that are timed, from few images. Where operations run by themselves nothing is compiled
for that but the network for one image, once a training has had its last epoch, to
measure its latency. JAX compiles an operation that runs by itself, for each new shape:
there a batch is augmented in one compiled call, and the network for one image, compiled
at the end of a rung, too, is what answers. The images are the same in every trial.
Random state is as before afterwards: a trial that drew pictures goes on exactly as one
that did not.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from search.datasets import PreparedDataset
from search.datasets.sources import FOREGROUND, VOID
from search.files import write_with
from search.orders import Order
from search.pictures.previews import highlighted
from search.pictures.sheets import CELL, sheet
from search.studies import Study
from search.training.checkpoints import Standing
from search.training.feeds import Fit
from search.training.limits import exported_answer, latency_of
from search.training.pulse import Link
from search.training.stopping import is_finished
from search.training.streams import Stream, listed
from search.training.workbench import Built
from search.watching.event_graph import graph_bytes
from search.watching.event_hparams import LATENCY
from search.watching.event_search import GRAPH

Array = NDArray[Any]

BATCH_SHOWN = 12
IMAGES_READ = 128  # validation images among which mistakes are looked for
MISTAKES_SHOWN = 12
MASKS_SHOWN = 6
VALUES_AT_A_TIME = 32 * 224 * 224 * 3
COLUMNS = 4


@dataclass(frozen=True)
class Pictures:
    """Draws what TensorBoard shows of one order; nothing where it logs nothing."""

    order: Order
    model: Any
    data: PreparedDataset
    events: Any
    link: Link

    def show_beginning(self, epochs: int, images: Array, targets: Array) -> None:
        """Show a training batch as the network gets it, and keep the network's graph.

        Args:
            epochs: trained before; only a trial that begins is drawn.
        """

        def draw() -> None:
            content = graph_bytes(self.model)
            graph = Path(self.order.folder) / GRAPH
            write_with(graph, lambda file: file.write(content))
            names = self.data.class_names
            picture = augmented_batch(self.model, images, targets, names)
            self.events.write_image("train", 0, "augmented training batch", picture)

        if epochs == 0:
            self.without_harm(draw)

    def show_end(
        self, standing: Standing, fit: Fit | None, built: Built, closing: ExitStack
    ) -> None:
        """Show what there is to see of a training that is over, later, or of its rung.

        Not later where rungs are left: another worker may go on.

        Args:
            fit: what its last epoch was fitted on; None where none was trained.
            closing: closes the events.
        """
        is_over = is_finished(standing, self.order, Study(**self.order.study))

        def show() -> None:
            with closing:
                self.show_answers(standing.epochs, fit)
                if is_over:
                    self.show_latency(standing, built)

        if is_over:
            self.link.later(show)
        else:
            show()

    def show_answers(self, epochs: int, fit: Fit | None) -> None:
        """Show what the network says of validation images after its last epoch."""

        def draw(fit: Fit, seen: Stream) -> None:
            task = Study(**self.order.study).task
            images, targets = self.data.open("validation", task)
            if task == "segmentation":
                chosen = some_images(len(images), MASKS_SHOWN)
                answers = predicted(fit.model, seen, chosen)
                tag = "masks"
                picture = mask_rows(images[chosen], targets[chosen], answers)
            else:
                chosen = some_images(len(images), IMAGES_READ)
                answers = predicted(fit.model, seen, chosen)
                tag = "most confident mistakes"
                found = mistakes(images[chosen], targets[chosen], answers)
                picture = mistakes_sheet(*found, self.data.class_names)
            self.events.write_image("validation", epochs, tag, picture)

        if fit is not None and fit.validation is not None:
            self.without_harm(partial(draw, fit, fit.validation))

    def show_latency(self, standing: Standing, built: Built) -> None:
        """Show how long one image takes; measured, unless that was done before."""

        def measure() -> None:
            known = standing.measured.get("latency_ms")
            if known is None:
                self.model.part_averages()
                known = latency_of(built)
            self.events.write_scalar("train", standing.epochs, LATENCY, known)

        self.without_harm(measure)

    def without_harm(self, draw: Callable[[], None]) -> None:
        """Draw or measure; what goes wrong is said and does not end the trial."""
        if self.order.logs is None:
            return
        try:
            draw()
        except Exception as error:
            kind = type(error).__name__
            self.link.pulse(f"no pictures for TensorBoard: {kind}: {error}")


def some_images(count: int, most: int) -> Array:
    """Return the indices of images, the same for every trial, in order."""
    random = np.random.default_rng(0)
    return np.sort(random.permutation(count)[:most])


def augmented_batch(
    model: Any, images: Array, targets: Array, class_names: list[str]
) -> Image.Image:
    """Return training images as the training step changes them."""
    chosen = some_images(len(images), BATCH_SHOWN)
    pictures, seen = np.asarray(images[chosen]), np.asarray(targets[chosen])
    layer = model.augmentation
    if layer is not None:
        pictures, seen = augmented(layer, pictures, seen)
    if seen.ndim >= 3:
        masks = seen.reshape(len(seen), *pictures.shape[1:3])
        shown = [masked(p, m) for p, m in zip(pictures, masks, strict=True)]
        return sheet(shown, [[] for _ in shown], COLUMNS)
    words = [label_words(target, class_names) for target in seen]
    return sheet(list(pictures), words, COLUMNS)


def augmented(layer: Any, images: Array, targets: Array) -> tuple[Array, Array]:
    """Return what an augmentation makes of a batch; its random state stays."""
    if runs_compiled():
        from hypermodels.resident import made_by

        made = made_by(layer, images, targets)
    else:
        before = [np.asarray(v.value).copy() for v in layer.variables]
        made = layer(images, targets)
        for variable, value in zip(layer.variables, before, strict=True):
            variable.assign(value)
    images, targets = (np.asarray(part) for part in made)
    return images, targets


def runs_compiled() -> bool:
    """Return whether an operation that runs by itself is compiled, too."""
    import keras

    return bool(keras.backend.backend() == "jax")


def label_words(target: Any, class_names: list[str]) -> list[str]:
    """Return a label as words; of a mixed one the two largest parts."""
    if np.ndim(target) == 0:
        return [class_names[int(target)], ""]
    first, second = np.argsort(target)[::-1][:2]
    parts = [f"{class_names[k]} {target[k]:.2f}" for k in (first, second)]
    return parts if target[second] > 0 else [class_names[first], ""]


def predicted(model: Any, seen: Stream, chosen: Array) -> Array:
    """Return probabilities of chosen rows.

    Args:
        seen: what the model takes: images, or features of them.
    """
    if runs_compiled():
        model.part_averages()
        rows = (seen.taken(chosen[i : i + 1])[0] for i in range(len(chosen)))
        return np.concatenate([exported_answer(model, listed(row)) for row in rows])
    one, _ = seen.taken(chosen[:1])
    batch = max(1, VALUES_AT_A_TIME // sum(part.size for part in listed(one)))
    parts = []
    for start in range(0, len(chosen), batch):
        inputs, _ = seen.taken(chosen[start : start + batch])
        parts.append(np.asarray(model(inputs, training=False)))
    return np.concatenate(parts)


def mistakes(
    images: Array, labels: Array, probabilities: Array
) -> tuple[Array, Array, Array, Array]:
    """Return images, labels, answers and confidences, the surest mistake first."""
    answers, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(answers != labels)
    order = wrong[np.argsort(-sure[wrong], kind="stable")][:MISTAKES_SHOWN]
    return images[order], labels[order], answers[order], sure[order]


def mistakes_sheet(
    images: Array,
    labels: Array,
    answers: Array,
    sure: Array,
    class_names: list[str],
) -> Image.Image:
    """Return mistakes with what the network said and what is true."""
    words = [
        [f"{class_names[answer]} {share:.2f}", f"is {class_names[label]}"]
        for label, answer, share in zip(labels, answers, sure, strict=True)
    ]
    if not words:
        return sheet([np.full((CELL, CELL, 3), 246)], [["no mistake"]], COLUMNS)
    return sheet(list(images), words, COLUMNS)


def mask_rows(images: Array, masks: Array, probabilities: Array) -> Image.Image:
    """Return images, their true masks, and the masks and Dice of the network."""
    found = probabilities.reshape(masks.shape) >= 0.5
    shown: list[Array] = []
    words: list[list[str]] = []
    for image, mask, answer in zip(images, masks, found, strict=True):
        image = np.asarray(image).clip(0, 255).astype(np.uint8)
        shown += [image, masked(image, mask), highlighted(image, answer)]
        words += [["image"], ["truth"], [f"network, Dice {dice(mask, answer):.2f}"]]
    return sheet(shown, words, 6)


def masked(image: Array, mask: Array) -> Array:
    """Return an image with its foreground marked and void in grey."""
    picture = np.asarray(image).clip(0, 255).astype(np.uint8)
    marked = highlighted(picture, mask == FOREGROUND).copy()
    marked[mask == VOID] = 128
    return marked


def dice(mask: Array, answer: Array) -> float:
    """Return Dice of one image, void left out; 1 where nothing is and is found."""
    truth, valid = mask == FOREGROUND, mask != VOID
    both = 2 * (truth & answer & valid).sum()
    whole = (truth & valid).sum() + (answer & valid).sum()
    return float(both / whole) if whole else 1.0
