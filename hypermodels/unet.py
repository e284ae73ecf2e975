"""A U-Net from scratch, foreground against background.

Source: Ronneberger et al. 2015 (skip connections, pooling; with normalisation and same
padding); without `skip`, with strides down and transposed convolutions up, the
encoder-decoder of Chollet, Deep Learning with Python, section 9.2. Both are
`baselines`. The book's transposed kernel of 3 paints checkerboards (Odena et al. 2016):
it is there on request.
Cost: 39 epochs of a search at 96 pixels took 6 minutes of training on two CPU cores
(results/voc2012-unet-96).
Expected result: VOC 2012 test Dice 0.610 [0.580, 0.639] of an ensemble at 96 pixels
(the same search); everything as foreground is 0.45.
"""

from typing import Any, ClassVar

import keras
import keras_tuner as kt

from hypermodels import augmentation, blocks, losses, optimizers
from hypermodels.errors import ImageSizeError
from hypermodels.image_hypermodel import ImageHyperModel, Network
from hypermodels.optimizers import Values

MOST_FILTERS = 1024


class UNet(ImageHyperModel):
    """`depth` halvings down, as many doublings up, convolutions at each level."""

    task = "segmentation"
    objective = "val_dice"
    baselines: ClassVar[dict[str, Values]] = {
        "dlwp_encoder_decoder": {
            "stem_stride": 2,
            "depth": 3,
            "base_filters": 64,
            "convolutions_per_level": 1,
            "skip": False,
            "residual": False,
            "convolution": "standard",
            "normalization": "none",
            "downsampling": "stride",
            "upsampling": "transpose",
            "transpose_kernel": 4,
            "dropout_rate": 0.0,
            "augmentation": "none",
            "loss": "cross_entropy",
            "optimizer": "rmsprop",
            "schedule": "constant",
            "warmup_fraction": 0.0,
            "learning_rate": 1e-3,
        },
        "classic_unet": {
            "stem_stride": 1,
            "depth": 4,
            "base_filters": 64,
            "convolutions_per_level": 2,
            "skip": True,
            "residual": False,
            "convolution": "standard",
            "normalization": "batch",
            "downsampling": "max_pool",
            "upsampling": "transpose",
            "transpose_kernel": 2,
            "dropout_rate": 0.5,
        },
    }
    on_request: ClassVar[dict[str, tuple[Any, ...]]] = {"transpose_kernel": (3,)}

    def __init__(self, image_shape: tuple[int, int, int], *args: Any, **kwargs: Any):
        super().__init__(image_shape, *args, **kwargs)
        self.most_depth = self.checked_depth()

    def checked_depth(self) -> int:
        """Return how often, at most 5 times, the image can be halved down to 4 pixels.

        Raises:
            ValueError: not even twice.
        """
        depth = 0
        while depth < 5 and all(
            edge % 2 ** (depth + 1) == 0 and edge >> (depth + 1) >= 4
            for edge in self.working_shape
        ):
            depth += 1
        if depth < 2:
            edge = max(16, 16 * round(max(self.working_shape) / 16))
            shape_text = " x ".join(map(str, self.working_shape))
            raise ImageSizeError(
                "Expected images whose edges can be halved twice, to 4 pixels or more, "
                f"{edge} for one. Received: {shape_text}."
            )
        return depth

    def draw(self, hp: kt.HyperParameters) -> None:
        # === Network ===
        hp.Choice("stem_stride", [1, 2])
        hp.Int("depth", 2, self.most_depth, default=min(4, self.most_depth))
        hp.Choice("base_filters", [8, 16, 32, 64], default=16)
        hp.Int("convolutions_per_level", 1, 3, default=2)
        hp.Choice("convolution", list(blocks.CONVOLUTIONS))
        hp.Boolean("residual", default=False)
        hp.Choice("normalization", list(blocks.NORMALIZATIONS))
        hp.Choice("downsampling", ["max_pool", "stride"])
        hp.Boolean("skip", default=True)
        draw_upsampling(hp)
        hp.Float("dropout_rate", 0.0, 0.5, step=0.1, default=0.1)
        # === Data ===
        hp.Choice("augmentation", list(augmentation.SEGMENTATION), default="flip_scale")
        # === Training ===
        hp.Choice("loss", list(losses.SEGMENTATION_LOSSES))
        self.draw_batch_size(hp, 8, 16, 32)
        optimizers.draw_optimizer(
            hp, ["adamw", "rmsprop", "sgd"], learning_rate=1e-3, sgd_learning_rate=5e-2
        )

    def network(self, values: Values, images: Any) -> Network:
        # === Encoder ===
        x = blocks.resize_to(images, *self.working_shape, name="resize")
        x = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="preprocess")(x)
        levels = values["depth"]
        if values["stem_stride"] == 2:
            levels -= 1
            x = stem(x, self.filters(values, 0), values)
        taps = []
        for level in range(levels):
            filters = self.filters(values, level)
            x = level_block(x, filters, values, f"encoder{level + 1}")
            taps.append(x)
            x = halve(x, self.filters(values, level + 1), values, f"down{level + 1}")
        # === Bottom ===
        x = level_block(x, self.filters(values, levels), values, "bottom")
        x = blocks.drop(x, values["dropout_rate"], "bottom_dropout")
        # === Decoder ===
        for level in reversed(range(levels)):
            filters = self.filters(values, level)
            x = double(x, filters, values, f"up{level + 1}")
            name = f"decoder{level + 1}"
            if values["skip"]:
                x = keras.layers.Concatenate(name=f"{name}_skip")([taps[level], x])
            x = level_block(x, filters, values, name)
        if values["stem_stride"] == 2:
            x = double(x, self.filters(values, 0), values, "up0")
            x = blocks.activate(x, "relu", "up0_relu")
        return Network(blocks.foreground_probability(x, *self.image_shape[:2]))

    def filters(self, values: Values, level: int) -> int:
        """Return the width of a level: doubled each time, at most 1,024."""
        return int(min(MOST_FILTERS, values["base_filters"] * 2**level))


def draw_upsampling(hp: kt.HyperParameters) -> None:
    """Declare how a decoder grows, with the kernel of a transposed convolution.

    Only kernels that the stride divides: others leave checkerboards.
    """
    hp.Choice("upsampling", list(blocks.UPSAMPLINGS))
    with hp.conditional_scope("upsampling", ["transpose"]):
        hp.Choice("transpose_kernel", [2, 4])


def stem(x: Any, filters: int, values: Values) -> Any:
    """Halve by the first convolution, where the full size is left to the output."""
    return blocks.convolution_unit(
        x, filters, strides=2, normalization=values["normalization"], name="stem_conv"
    )


def double(x: Any, filters: int, values: Values, name: str) -> Any:
    """Double height and width, as the knobs say."""
    return blocks.upsample(
        x,
        values["upsampling"],
        filters,
        kernel_size=values.get("transpose_kernel"),
        name=name,
    )


def halve(x: Any, filters: int, values: Values, name: str) -> Any:
    """Halve height and width, by pooling or by a strided convolution."""
    if values["downsampling"] == "max_pool":
        return keras.layers.MaxPooling2D(2, name=name)(x)
    return blocks.convolution_unit(
        x, filters, strides=2, normalization=values["normalization"], name=name
    )


def level_block(x: Any, filters: int, values: Values, name: str) -> Any:
    """Apply the convolutions of a level, or (`residual`) add them to their input."""
    shortcut = x
    for number in range(1, values["convolutions_per_level"] + 1):
        x = blocks.convolution_unit(
            x,
            filters,
            normalization=values["normalization"],
            convolution=values["convolution"],
            name=f"{name}_conv{number}",
        )
    if not values["residual"]:
        return x
    if shortcut.shape[-1] != filters:
        shortcut = blocks.convolve(
            shortcut, filters, kernel_size=1, name=f"{name}_shortcut"
        )
    return keras.layers.Add(name=f"{name}_add")([shortcut, x])
