"""A U-Net on a pretrained encoder, by default MobileNetV2.

Source: TensorFlow's image segmentation tutorial (modified U-Net: MobileNetV2 with skips
at block_1, 3, 6 and 13, bottom block_16_project; transposed convolutions up, whose
kernel of 3 paints checkerboards and is there on request).
Cost: not measured alone; results/README.md has times of searches.
Expected result: test Dice 0.766 [0.739, 0.790] of an ensemble, 192 pixels, 27 epochs:
part `voc` of benchmarks/real_results.sh. Best validation Dice 0.746 of 8 random trials
x 10 epochs at 128 pixels on 264 images of VOC 2012 (one run, seed 0, the default point;
the next best 0.744):
`search voc2012-mobilenet --weights mobilenet_v2_0.35_224_notop.h5 --tuner random
--trials 8 --epochs 10`. With all else at its default, one run each: `--fix
upsampling=bilinear` 0.746, `--fix upsampling=transpose` 0.739.
"""

from typing import Any, ClassVar

import keras
import keras_tuner as kt

from hypermodels import augmentation, backbones, blocks, losses, optimizers
from hypermodels.errors import ImageSizeError
from hypermodels.image_hypermodel import ImageHyperModel, Network
from hypermodels.optimizers import Values
from hypermodels.unet import draw_upsampling
from hypermodels.vgg16_transfer import draw_backbone

# TensorFlow's tutorial: the encoder frozen, as it is there, or learning as well.
TUTORIAL: Values = {
    "decoder_filters": 512,
    "upsampling": "transpose",
    "transpose_kernel": 4,
    "dropout_rate": 0.0,
    "augmentation": "flip",
    "loss": "cross_entropy",
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "schedule": "constant",
    "warmup_fraction": 0.0,
}


class MobileNetUNet(ImageHyperModel):
    """A backbone down, a new decoder up."""

    task = "segmentation"
    objective = "val_dice"
    baselines: ClassVar[dict[str, Values]] = {
        "tutorial": {**TUTORIAL, "unfrozen_blocks": 0},
        "whole_encoder": {
            **TUTORIAL,
            "unfrozen_blocks": 5,
            "deep_backbone_rate_fraction": 0.03,
            "head_first_fraction": 0.1,
        },
    }
    on_request: ClassVar[dict[str, tuple[Any, ...]]] = {"transpose_kernel": (3,)}

    def __init__(self, image_shape: tuple[int, int, int], *args: Any, **kwargs: Any):
        super().__init__(image_shape, *args, **kwargs)
        self.encoders = self.fitting_encoders()

    def fitting_encoders(self) -> list[str]:
        """Return the backbones whose stride divides the image and that have weights.

        Raises:
            ImageSizeError: there is none.
        """
        strides = {
            name: backbones.BACKBONES[name].stride
            for name in backbones.fitting(self.weights)
        }
        encoders = [
            name
            for name, stride in strides.items()
            if all(edge % stride == 0 and edge >= 32 for edge in self.working_shape)
        ]
        if not encoders:
            edge = max(32, 32 * round(max(self.working_shape) / 32))
            shape_text = " x ".join(map(str, self.working_shape))
            raise ImageSizeError(
                f"Expected images whose edges {min(strides.values())} divides, from 32 "
                f"pixels on, {edge} for one. Received: {shape_text}."
            )
        return encoders

    def draw(self, hp: kt.HyperParameters) -> None:
        # === Network ===
        draw_backbone(self, hp, self.encoders, default="mobilenet_v2")
        hp.Choice("decoder_filters", [32, 64, 128, 256, 512], default=128)
        draw_upsampling(hp)
        hp.Float("dropout_rate", 0.0, 0.5, step=0.1, default=0.1)
        # === Data ===
        hp.Choice("augmentation", list(augmentation.SEGMENTATION), default="flip_scale")
        # === Training ===
        hp.Choice("loss", list(losses.SEGMENTATION_LOSSES))
        self.draw_batch_size(hp, 8, 16, 32)
        optimizers.draw_optimizer(
            hp, ["adam", "rmsprop", "sgd"], learning_rate=2e-3, sgd_learning_rate=5e-2
        )

    def network(self, values: Values, images: Any) -> Network:
        # === Encoder ===
        x = blocks.resize_to(images, *self.working_shape, name="resize")
        entry = backbones.BACKBONES[values["backbone"]]
        backbone, unfrozen = backbones.build_backbone(
            values["backbone"],
            x,
            weights=self.weights,
            unfrozen_blocks=values["unfrozen_blocks"],
            alpha=values.get("alpha"),
        )
        taps = [backbone.get_layer(name).output for name in entry.taps]
        x = backbone.get_layer(entry.bottom).output
        x = blocks.drop(x, values["dropout_rate"], "bottom_dropout")
        # === Decoder ===
        filters = values["decoder_filters"]
        for level in reversed(range(len(taps))):
            x = self.grow(x, values, filters, f"decoder{level + 1}")
            x = keras.layers.Concatenate(name=f"decoder{level + 1}_skip")(
                [taps[level], x]
            )
            x = blocks.convolution_unit(x, filters, name=f"decoder{level + 1}_conv")
            filters = max(8, filters // 2)
        if x.shape[1] != self.working_shape[0]:
            x = self.grow(x, values, filters, "decoder0")
        outputs = blocks.foreground_probability(x, *self.image_shape[:2])
        return Network(outputs, unfrozen)

    def grow(self, x: Any, values: Values, filters: int, name: str) -> Any:
        """Double height and width, normalise, activate."""
        x = blocks.upsample(
            x,
            values["upsampling"],
            filters,
            kernel_size=values.get("transpose_kernel"),
            name=f"{name}_up",
        )
        x = blocks.normalize(x, "batch", f"{name}_up_norm")
        return blocks.activate(x, "relu", f"{name}_up_relu")
