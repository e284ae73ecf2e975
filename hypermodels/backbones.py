"""Pretrained backbones: where their stages begin, what they expect, which file fits.

Every backbone has five stages, from the image to its coarsest features, so that
`unfrozen_blocks` means the same everywhere: 0 none, 1 the upper one, 5 all. To add one:
one entry in `BACKBONES`.
"""

import contextlib
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import keras

from hypermodels.blocks import MOMENTUM
from hypermodels.errors import WeightsError

Shape = tuple[int, ...]
STAGES = 5


@dataclass(frozen=True)
class Backbone:
    """One network of `keras.applications`.

    Attributes:
        application: its name there.
        stages: first layer of each of the five stages.
        taps: layers whose features a U-Net takes over, fine to coarse.
        bottom: the coarsest features of a U-Net.
        stride: pixels of the image per pixel of `bottom`.
        preprocess: from RGB 0-255 to what the network was trained on.
        signatures: shape of a kernel no other entry has -> arguments of the network.
    """

    application: str
    stages: tuple[str, str, str, str, str]
    taps: tuple[str, ...]
    bottom: str
    stride: int
    preprocess: Callable[[Any], Any]
    signatures: dict[Shape, dict[str, Any]] = field(default_factory=dict)


def caffe_preprocess(x: Any) -> Any:
    """BGR minus the mean of ImageNet (Simonyan & Zisserman 2015, section 2.1)."""
    x = keras.ops.flip(x, axis=-1)
    mean = [-103.939, -116.779, -123.68]
    return keras.layers.Rescaling(1.0, offset=mean, name="preprocess")(x)


def unit_preprocess(x: Any) -> Any:
    """Scale to -1..1."""
    return keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="preprocess")(x)


def no_preprocess(x: Any) -> Any:
    """Leave 0-255: the network scales by itself."""
    return x


# Filters of the last expansion and of the last projection, by the width multiplier
# (Sandler et al. 2018, table 2; rounded to 8 as in Keras).
MOBILENET_ALPHAS: dict[float, Shape] = {
    0.35: (1, 1, 336, 112),
    0.5: (1, 1, 480, 160),
    0.75: (1, 1, 720, 240),
    1.0: (1, 1, 960, 320),
    1.3: (1, 1, 1248, 416),
    1.4: (1, 1, 1344, 448),
}

BACKBONES: dict[str, Backbone] = {
    "vgg16": Backbone(
        application="VGG16",
        stages=tuple(f"block{stage}_conv1" for stage in range(1, 6)),  # type: ignore[arg-type]
        taps=("block1_conv2", "block2_conv2", "block3_conv3", "block4_conv3"),
        bottom="block5_conv3",
        stride=16,
        preprocess=caffe_preprocess,
        signatures={(3, 3, 256, 512): {}},
    ),
    "mobilenet_v2": Backbone(
        application="MobileNetV2",
        stages=(
            "Conv1",
            "block_1_expand",
            "block_3_expand",
            "block_6_expand",
            "block_13_expand",
        ),
        # Those of the TensorFlow segmentation tutorial.
        taps=(
            "block_1_expand_relu",
            "block_3_expand_relu",
            "block_6_expand_relu",
            "block_13_expand_relu",
        ),
        bottom="block_16_project",
        stride=32,
        preprocess=unit_preprocess,
        signatures={
            shape: {"alpha": alpha} for alpha, shape in MOBILENET_ALPHAS.items()
        },
    ),
    "resnet50v2": Backbone(
        application="ResNet50V2",
        stages=(
            "conv1_conv",
            "conv2_block1_preact_bn",
            "conv3_block1_preact_bn",
            "conv4_block1_preact_bn",
            "conv5_block1_preact_bn",
        ),
        taps=(
            "conv1_conv",
            "conv2_block3_1_relu",
            "conv3_block4_1_relu",
            "conv4_block6_1_relu",
        ),
        bottom="post_relu",
        stride=32,
        preprocess=unit_preprocess,
        signatures={(1, 1, 1024, 2048): {}},
    ),
    "efficientnetv2b0": Backbone(
        application="EfficientNetV2B0",
        stages=(
            "stem_conv",
            "block2a_expand_conv",
            "block3a_expand_conv",
            "block4a_expand_conv",
            "block6a_expand_conv",
        ),
        taps=(
            "block1a_project_activation",
            "block2b_add",
            "block3b_add",
            "block5e_add",
        ),
        bottom="block6h_add",
        stride=32,
        preprocess=no_preprocess,
        signatures={(1, 1, 192, 1280): {}},
    ),
}


def build_backbone(
    name: str,
    x: Any,
    *,
    weights: str,
    unfrozen_blocks: int,
    alpha: float | None = None,
) -> tuple[keras.Model, tuple[keras.layers.Layer, ...]]:
    """Continue a graph by a backbone without its top.

    Args:
        x: images, (batch, height, width, 3), 0-255.
        weights: `imagenet`, `none` or a path.

    Returns:
        the model from the inputs of `x` on, and its unfrozen layers.

    Raises:
        WeightsError: the file does not fit.
    """
    backbone = BACKBONES[name]
    # Only the network with a width multiplier takes one, whatever was fixed by hand.
    options = {"alpha": alpha} if name == "mobilenet_v2" and alpha else {}
    try:
        # Keras tells of a download on the output, where a document of JSON may go.
        with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
            # Without a top the weights are the same for every size.
            warnings.filterwarnings("ignore", ".*is undefined or non-square")
            model = getattr(keras.applications, backbone.application)(
                include_top=False,
                weights=None if weights == "none" else weights,
                input_tensor=backbone.preprocess(x),
                **options,
            )
    except Exception as error:
        if "URL fetch failure" in str(error):
            raise ConnectionError(
                f"Expected the ImageNet weights of {backbone.application}, which Keras"
                f" fetches once. Received: {error}."
            ) from error
        if not isinstance(error, ValueError):
            raise
        if weights == "none":
            raise
        raise WeightsError(
            f"Expected weights of {backbone.application} without its top. "
            f"Received: {weights} ({error})."
        ) from error
    return model, unfreeze(model.layers, backbone.stages, unfrozen_blocks)


def unfreeze(
    layers: list[keras.layers.Layer], stages: tuple[str, ...], unfrozen_blocks: int
) -> tuple[keras.layers.Layer, ...]:
    """Freeze all layers but those of the upper stages, and return these.

    Batch normalisation of a frozen stage stays in inference mode (Keras does so for
    layers that are not trainable); that of an unfrozen one adapts within few steps.
    """
    names = [layer.name for layer in layers]
    first = len(names)
    if unfrozen_blocks:
        first = names.index(stages[STAGES - unfrozen_blocks])
    for layer in layers[:first]:
        layer.trainable = False
    for layer in layers[first:]:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = MOMENTUM
    return tuple(layers[first:])


def fitting(weights: str) -> dict[str, dict[str, Any]]:
    """Return which backbones `weights` fits, with the arguments it asks for.

    `imagenet` and `none` fit all; a file is recognised by the shapes of its kernels.

    Raises:
        WeightsError: a file that fits none.
    """
    if weights in ("imagenet", "none"):
        return {name: {} for name in BACKBONES}
    shapes = shapes_in(Path(weights))
    found = {
        name: options
        for name, backbone in BACKBONES.items()
        for shape, options in backbone.signatures.items()
        if shape in shapes
    }
    if not found:
        raise WeightsError(
            f"Expected a weights file of one of {sorted(BACKBONES)}, without its top. "
            f"Received: {weights}, with {len(shapes)} other shapes."
        )
    return found


def shapes_in(path: Path) -> set[Shape]:
    """Return the shapes of all arrays in an HDF5 file.

    Raises:
        WeightsError: the file is not HDF5.
    """
    shapes: set[Shape] = set()

    def collect(_: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            shapes.add(tuple(item.shape))

    try:
        with h5py.File(path) as file:
            file.visititems(collect)
    except OSError as error:
        raise WeightsError(
            f"Expected weights in an HDF5 file (.h5). Received: {path} ({error})."
        ) from error
    return shapes
