"""One contract for every hypermodel: space, graph, training, saving.

Tiny shapes, no pretrained weights; the one step is eager, because tracing costs more
(on JAX, compiling each operation alone does).
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import keras_tuner as kt
import numpy as np
import pytest

import hypermodels
from hypermodels import blocks
from hypermodels.image_hypermodel import ImageHyperModel

NAMES = list(hypermodels.HYPERMODELS)
COUNT, EDGE, CLASSES = 6, 32, 7
SMALL: dict[str, dict[str, Any]] = {
    "convnet": {"stages": 2, "base_filters": 16, "dropout_rate": 0.3},
    "vgg16_transfer": {"backbone": "vgg16", "input_size": 32, "dense_units": 128},
    "unet": {"depth": 2, "base_filters": 8, "upsampling": "pixel_shuffle"},
    "mobilenet_unet": {"unfrozen_blocks": 1, "decoder_filters": 32},
}
KNOBS = {
    "convnet": "stages blocks_per_stage base_filters convolution residual "
    "normalization activation downsampling squeeze_excitation stochastic_depth_rate "
    "width_growth weight_averaging dropout_rate augmentation mixing "
    "erasing_probability label_smoothing optimizer "
    "learning_rate sgd_learning_rate weight_decay schedule warmup_fraction batch_size",
    "vgg16_transfer": "backbone unfrozen_blocks backbone_rate_fraction input_size "
    "deep_backbone_rate_fraction head_first_fraction pooling dense_units dropout_rate "
    "augmentation mixing erasing_probability optimizer schedule",
    "unet": "stem_stride depth base_filters convolutions_per_level convolution "
    "residual normalization downsampling skip upsampling transpose_kernel "
    "dropout_rate loss augmentation batch_size optimizer learning_rate",
    "mobilenet_unet": "backbone alpha unfrozen_blocks decoder_filters upsampling loss "
    "augmentation batch_size optimizer learning_rate",
}


def make(name: str, **options: Any) -> ImageHyperModel:
    classes = CLASSES if hypermodels.task_of(name) == "classification" else 2
    given = {"weights": "none", "train_size": COUNT, "epochs": 4} | options
    return hypermodels.load(name)((EDGE, EDGE, 3), classes, **given)


def with_values(values: dict[str, Any]) -> kt.HyperParameters:
    hp = kt.HyperParameters()
    hp.values.update(values)
    return hp


def make_data(task: str) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (COUNT, EDGE, EDGE, 3), "uint8")
    if task == "classification":
        return images, rng.integers(0, CLASSES, COUNT)
    return images, rng.choice([0, 1, 255], (COUNT, EDGE, EDGE)).astype("uint8")


@pytest.fixture(scope="module", params=NAMES)
def trained(request: pytest.FixtureRequest) -> Any:
    """A hypermodel, its model after one step, and the logs of that step."""
    keras.utils.set_random_seed(0)
    hypermodel = make(request.param)
    hp = with_values(SMALL[request.param])
    model = hypermodel.build(hp)
    model.run_eagerly = keras.backend.backend() != "jax"
    images, targets = make_data(hypermodel.task)
    history = hypermodel.fit(
        hp, model, images, targets, validation_data=(images, targets), verbose=0
    )
    return hypermodel, model, history.history


def test_one_step_has_a_finite_loss_and_the_metrics_of_the_task(trained: Any) -> None:
    hypermodel, _, history = trained
    expected = {"loss", "accuracy", "top5_accuracy"}
    if hypermodel.task == "segmentation":
        expected = {"loss", "dice", "foreground_iou", "pixel_accuracy"}
    assert set(history) == expected | {f"val_{name}" for name in expected}
    assert hypermodel.objective in history
    assert np.isfinite(list(history.values())).all()


def test_outputs_are_float32_probabilities_of_uint8_images(trained: Any) -> None:
    hypermodel, model, _ = trained
    images, _ = make_data(hypermodel.task)
    outputs = keras.ops.convert_to_numpy(model(images))
    assert outputs.dtype == np.float32
    if hypermodel.task == "classification":
        assert outputs.shape == (COUNT, CLASSES)
        np.testing.assert_allclose(outputs.sum(axis=1), 1, atol=1e-5)
        assert model.layers[-1].name == "probabilities"
    else:
        assert outputs.shape == (COUNT, EDGE, EDGE, 1)
        assert 0 <= outputs.min() < outputs.max() <= 1
        assert model.layers[-1].name == "foreground_probability"


def test_inference_model_saves_and_loads_equal(trained: Any, tmp_path: Path) -> None:
    hypermodel, model, _ = trained
    images, _ = make_data(hypermodel.task)
    model.inference_model().save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert {type(layer).__module__.split(".")[0] for layer in loaded.layers} == {
        "keras"
    }
    images = images.astype("float32")
    np.testing.assert_array_equal(loaded(images), model(images))


def test_saved_model_needs_no_package_of_ours(tmp_path: Path) -> None:
    hypermodel = make("unet")
    model = hypermodel.build(with_values(SMALL["unet"]))
    images, _ = make_data("segmentation")
    model.inference_model().save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", images.astype("float32"))
    program = (
        "import sys; sys.modules['hypermodels'] = None; import keras, numpy as np; "
        "outputs = keras.models.load_model('model.keras')(np.load('images.npy')); "
        "np.save('outputs.npy', np.asarray(outputs))"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    expected = model(images)
    np.testing.assert_array_equal(np.load(tmp_path / "outputs.npy"), expected)


@pytest.mark.parametrize("name", NAMES)
def test_space_has_the_promised_knobs_and_builds_nothing(name: str) -> None:
    hp = kt.HyperParameters()
    values = make(name).declare(hp)
    declared = {knob.name for knob in hp.space}
    assert set(KNOBS[name].split()) <= declared
    assert set(values) <= declared
    assert "sgd_learning_rate" not in values
    assert not [value for value in values.values() if value is None]
    assert make(name).batch_size(values) == values["batch_size"]


def corner(name: str, place: int) -> dict[str, Any]:
    """The first or last value of every knob; the cheapest backbone and input."""
    hp = with_values({"backbone": "mobilenet_v2", "alpha": 0.35, "input_size": 32})
    for _ in range(3):  # Knobs that an outer value brings in get theirs too.
        make(name).draw(hp)
        for knob in hp.space:
            if knob.name not in ("backbone", "alpha", "input_size"):
                hp.values[knob.name] = knob.prob_to_value([0.0, 0.9999][place])
    return dict(hp.values)


@pytest.mark.parametrize("place", [0, 1], ids=["lowest", "highest"])
@pytest.mark.parametrize("name", NAMES)
def test_corners_of_the_space_build(name: str, place: int) -> None:
    options = {"epochs": 100, "train_size": 50_000}
    model = make(name, **options).build(with_values(corner(name, place)))
    assert model.count_params() > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_shape": (32, 32, 1)}, r"image_shape .*Received: \(32, 32, 1\)"),
        ({"num_classes": 1}, "num_classes >= 2. Received: 1"),
        ({"weights": "/nowhere.h5"}, "Received: '/nowhere.h5'"),
        ({"train_size": 0}, "train_size >= 1. Received: 0"),
        ({"input_size": 4}, "input_size >= 8. Received: 4"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    given = {"image_shape": (32, 32, 3), "num_classes": 3, "weights": "none"}
    with pytest.raises(ValueError, match=message):
        hypermodels.load("convnet")(**(given | arguments))


def test_unknown_hypermodel_is_named() -> None:
    for look_up in (hypermodels.load, hypermodels.task_of):
        with pytest.raises(ValueError, match="Received: 'resnet'"):
            look_up("resnet")


def test_registry_names_the_tasks_without_importing_keras() -> None:
    program = "import hypermodels, sys; sys.exit('keras' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
    for name in NAMES:
        assert hypermodels.load(name).task == hypermodels.task_of(name)
        assert hypermodels.knob_names(name)
    assert hypermodels.knob_names("one_added_since") == []


@pytest.mark.parametrize("channels", [4, 64])
def test_separable_convolutions_keep_the_scale_of_what_they_are_given(
    channels: int,
) -> None:
    """Keras' `he_normal` takes all channels for inputs of a depthwise kernel."""
    keras.utils.set_random_seed(0)
    images = keras.random.normal((4, 16, 16, channels))
    inputs = keras.Input(images.shape[1:])
    outputs = blocks.convolve(inputs, 256, name="conv", convolution="separable")
    result = keras.ops.std(keras.Model(inputs, outputs)(images)[:, 2:-2, 2:-2])
    assert 1.0 < float(result) < 2.0  # He et al. 2015: sqrt(2) before a ReLU


def test_a_plain_convnet_is_of_convolutions_each_normalised_and_activated_once() -> (
    None
):
    hypermodel = make("convnet")
    hp = with_values(corner("convnet", 0) | {"residual": False, "stages": 2})
    names = [layer.name for layer in hypermodel.build(hp).layers]
    convolutions = [name for name in names if name.endswith(("conv", "conv1", "conv2"))]
    assert "final_activation" not in names
    for place, name in enumerate(convolutions):
        later = convolutions[place + 1] if place + 1 < len(convolutions) else None
        between = names[names.index(name) : later and names.index(later)]
        assert sum("norm" in word for word in between) <= 1
        assert sum(word.startswith(f"{name}_") for word in between) >= 1
