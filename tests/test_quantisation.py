"""8-bit models decide as the float32 ones, or keep layers in float32 until they do."""

import keras
import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("ai_edge_litert")
pytest.importorskip("ai_edge_quantizer")

from search.exporting.formats import export_with_keras
from search.exporting.inference_models import inference_model
from search.exporting.quantisation import (
    Calibration,
    keras_name,
    outputs,
    quantise,
    weighted_layers,
)

IMAGES = np.random.default_rng(0).integers(0, 256, (60, 16, 16, 3)).astype(np.uint8)


def same_labels(reference, answers):
    return float((reference.argmax(1) == answers.argmax(1)).mean())


@pytest.fixture(scope="module")
def flat_network(tmp_path_factory):
    """A network of 100 classes, none of which it gives more than 2 %."""
    keras.utils.set_random_seed(3)
    layers = keras.layers
    inputs = keras.Input((16, 16, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    x = layers.Conv2D(8, 3, strides=2, activation="relu", name="stem")(x)
    x = layers.Conv2D(8, 3, activation="relu", name="middle")(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(16, activation="relu", name="hidden")(x)
    x = layers.Dense(100, name="logits")(x)
    model = inference_model(
        keras.Model(inputs, layers.Softmax()(0.3 * x), name="flat"), temperature=1.3
    )
    path = tmp_path_factory.mktemp("flat") / "flat.tflite"
    export_with_keras(model, path, "litert")
    return path.read_bytes()


def test_flat_probabilities_keep_their_order(flat_network):
    reference = outputs(flat_network, IMAGES)
    assert reference.max() < 0.02
    rounded = quantise(flat_network, Calibration(IMAGES, same_labels, 0.9), 8)
    assert rounded.float_layers == []
    answers = outputs(rounded.content, IMAGES)
    # An 8-bit softmax would give steps of 1/256, so a handful of values.
    assert len(np.unique(answers)) > 1000
    assert np.abs(answers - reference).max() < 5e-4


def test_layers_go_back_to_float32_until_the_goal_is_reached(flat_network):
    layers = weighted_layers(flat_network)
    assert [keras_name(name).split("/")[-1] for name in layers] == [
        *("stem", "middle", "hidden", "logits")
    ]
    reference = outputs(flat_network, IMAGES)
    seen = []

    def nearness(one, other):
        seen.append(float(np.abs(one - other).mean()))
        return 1.0 if seen[-1] < 0.7 * seen[0] else 0.0

    rounded = quantise(flat_network, Calibration(IMAGES, nearness, 1.0), 8)
    assert 0 < len(rounded.float_layers) < len(layers)
    assert set(rounded.float_layers) < set(layers)
    answers = outputs(rounded.content, IMAGES)
    assert 0 < np.abs(answers - reference).mean() < 0.7 * seen[0]
    recorded = rounded.recorded(8, len(IMAGES))
    assert recorded["layers"] == 4
    assert len(recorded["float_layers"]) == len(rounded.float_layers)


def test_the_most_damaging_layer_goes_first(flat_network):
    reference = outputs(flat_network, IMAGES)
    calls = []

    def second_time(one, other):
        calls.append(float(np.abs(one - other).mean()))
        return float(len(calls) == 2)

    rounded = quantise(flat_network, Calibration(IMAGES, second_time, 1.0), 8)
    (left,) = rounded.float_layers
    assert calls[1] < calls[0]
    assert np.abs(outputs(rounded.content, IMAGES) - reference).mean() == calls[1]
    assert left in weighted_layers(flat_network)


def test_a_goal_that_no_layer_meets_is_an_error(flat_network):
    never = Calibration(IMAGES, lambda one, other: 0.0, 0.985)
    with pytest.raises(ValueError, match=r"no layer in 8 bits agrees on 98\.50%"):
        quantise(flat_network, never, 8)


def test_sixteen_bit_activations_are_nearer(flat_network):
    reference = outputs(flat_network, IMAGES)
    always = Calibration(IMAGES, lambda one, other: 1.0, 1.0)
    errors = []
    for bits in (8, 16):
        answers = outputs(quantise(flat_network, always, bits).content, IMAGES)
        errors.append(np.abs(answers - reference).mean())
    assert errors[1] < errors[0]


def test_layers_are_named_as_in_keras():
    fused = "net_1/a_relu2_1/Relu;net_1/a_norm2_1/add_1;net_1/a_conv1_1/convolution;b"
    assert keras_name(fused) == "a_conv1"
    assert keras_name("all_1/member_2_1/stem_1/convolution1") == "member_2/stem"
    assert keras_name("serving_default") == "serving_default"
