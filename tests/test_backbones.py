"""The pretrained networks: stages, taps and preprocessing, from one entry each."""

from typing import Any

import keras
import numpy as np
import pytest

from hypermodels import backbones
from hypermodels.backbones import BACKBONES, STAGES, build_backbone

MODULES = {
    "vgg16": keras.applications.vgg16,
    "mobilenet_v2": keras.applications.mobilenet_v2,
    "resnet50v2": keras.applications.resnet_v2,
    "efficientnetv2b0": keras.applications.efficientnet_v2,
}
EDGE = 64


@pytest.mark.parametrize("name", list(BACKBONES))
def test_preprocessing_is_what_the_network_was_trained_with(name: str) -> None:
    images = np.random.default_rng(0).uniform(0, 255, (2, 4, 4, 3)).astype("float32")
    inputs = keras.Input((4, 4, 3))
    layers = keras.Model(inputs, BACKBONES[name].preprocess(inputs))
    expected: Any = MODULES[name].preprocess_input(images.copy())
    received = layers(images)
    np.testing.assert_allclose(received, expected, atol=1e-3)


@pytest.mark.parametrize("name", list(BACKBONES))
def test_five_stages_and_the_taps_of_a_u_net(name: str) -> None:
    inputs = keras.Input((EDGE, EDGE, 3))
    alpha = 0.35 if name == "mobilenet_v2" else None
    model, unfrozen = build_backbone(
        name, inputs, weights="none", unfrozen_blocks=1, alpha=alpha
    )
    entry = BACKBONES[name]
    names = [layer.name for layer in model.layers]
    starts = [names.index(stage) for stage in entry.stages]
    assert starts == sorted(starts)
    # Only the upper stage learns; frozen batch normalisation stays in inference mode.
    assert [layer.name for layer in unfrozen] == names[starts[-1] :]
    assert {layer.trainable for layer in model.layers[: starts[-1]]} == {False}
    sizes = [model.get_layer(tap).output.shape[1] for tap in entry.taps]
    bottom = model.get_layer(entry.bottom).output.shape[1]
    assert bottom == EDGE // entry.stride
    assert [*sizes, bottom] == [bottom * 2**level for level in (4, 3, 2, 1, 0)]
    for blocks in (0, STAGES):
        learning = backbones.unfreeze(model.layers, entry.stages, blocks)
        count = len(names) - starts[0] if blocks else 0
        assert len(learning) == count
