"""The spaces: every knob has an effect, baselines are what they are named after."""

import json
import re
from pathlib import Path
from typing import Any

import keras
import keras_tuner as kt
import numpy as np
import pytest

import hypermodels
from benchmarks.space_draws import check_point, make_hypermodel
from docs.hypermodels import SPACES, knob_table, snapshot
from hypermodels import backbones
from hypermodels.image_hypermodel import ImageHyperModel
from hypermodels.knobs import KNOBS
from search.oracles.encoding import Encoding
from search.oracles.sampling import new_values
from search.spaces import declare_space

NAMES = list(hypermodels.HYPERMODELS)
# A draw takes a second or two, with a pretrained network three.
DRAWS = {"convnet": 5, "vgg16_transfer": 3, "unet": 5, "mobilenet_unet": 3}


def tiny_application(input_tensor: Any, **_: Any) -> keras.Model:
    """A backbone of five convolutions, each half as large as the one before."""
    x = input_tensor
    for stage in range(1, 6):
        x = keras.layers.Conv2D(8, 3, 2, "same", name=f"stage{stage}")(x)
        x = keras.layers.BatchNormalization(name=f"norm{stage}")(x)
    source = keras.utils.get_source_inputs(input_tensor)
    return keras.Model(source, x)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add a small backbone: one entry is all it takes."""
    stages = tuple(f"stage{stage}" for stage in range(1, 6))
    entry = backbones.Backbone(
        application="Tiny",
        stages=stages,
        taps=tuple(f"norm{stage}" for stage in range(1, 5)),
        bottom="norm5",
        stride=32,
        preprocess=backbones.unit_preprocess,
    )
    monkeypatch.setitem(backbones.BACKBONES, "tiny", entry)
    monkeypatch.setattr(keras.applications, "Tiny", tiny_application, raising=False)


def make(name: str, size: int = 32, classes: int = 7) -> ImageHyperModel:
    if hypermodels.task_of(name) == "segmentation":
        classes = 2
    return hypermodels.load(name)(
        (size, size, 3), classes, weights="none", train_size=1000, epochs=10
    )


def declared(name: str, values: dict[str, Any]) -> kt.HyperParameters:
    hp = kt.HyperParameters()
    small = {"backbone": "tiny", "base_filters": 16, "depth": 2, "stages": 2}
    hp.values.update(small | values)
    make(name).declare(hp)
    return hp


def fingerprint(name: str, values: dict[str, Any]) -> str:
    """What graph, data and training of a configuration come from, as text."""
    hypermodel = make(name)
    hp = declared(name, values)
    model = hypermodel.build(hp)
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, (4, 8, 8, 1))
    found = rng.uniform(0.1, 0.9, (4, 8, 8, 1)).astype("float32")
    if hypermodel.task == "classification":
        truth = rng.integers(0, 7, 4)
        found = rng.dirichlet(np.ones(7), 4).astype("float32")
    loss = keras.ops.convert_to_numpy(model.loss(truth, found)).tolist()
    augmentation = model.augmentation
    slow = getattr(model.optimizer, "slow_part", None)
    optimizer = model.optimizer.get_config()
    del optimizer["name"]  # Numbered through.
    parts = [
        model.inference_model().get_config(),
        [(layer.trainable, layer.name) for layer in model.layers],
        augmentation and vars(augmentation.recipe),
        optimizer,
        slow and (len(slow.variables), slow.rate_fraction, slow.wait_steps),
        loss,
        hypermodel.batch_size(hp.values),
    ]
    return json.dumps(parts, default=str, sort_keys=True)


def other_value(knob: Any, value: Any) -> Any:
    others = [knob.prob_to_value(place) for place in (0.0, 0.5, 0.9999)]
    others = [other for other in others if other not in (value, "tiny")]
    # EfficientNet, ResNet and VGG16 take seconds to build.
    return "mobilenet_v2" if knob.name == "backbone" else others[-1]


@pytest.mark.parametrize("name", NAMES)
def test_every_knob_has_an_effect_and_inactive_ones_have_none(
    name: str, tiny: None
) -> None:
    hp = declared(name, {})
    plain = {"{}": fingerprint(name, {})}
    inactive: dict[str, Any] = {}
    for knob in hp.space:
        if knob.name == "alpha":
            continue  # Below: it needs the real MobileNetV2.
        parents: dict[str, Any] = {
            condition.name: condition.values[0]
            for condition in knob.conditions
            if not condition.is_active(hp.values)
        }
        changed = {knob.name: other_value(knob, hp.values.get(knob.name, knob.default))}
        if not hp.is_active(knob):
            inactive |= changed
        key = json.dumps(parents)
        if key not in plain:
            plain[key] = fingerprint(name, parents)
        assert fingerprint(name, parents | changed) != plain[key], knob.name
    assert fingerprint(name, inactive) == plain["{}"]


def test_alpha_is_the_width_of_mobilenet(monkeypatch: pytest.MonkeyPatch) -> None:
    received = []

    def record(alpha: float, **options: Any) -> keras.Model:
        received.append(alpha)
        raise KeyError

    monkeypatch.setattr(keras.applications, "MobileNetV2", record)
    hp = kt.HyperParameters()
    hp.values.update({"backbone": "mobilenet_v2", "alpha": 0.5})
    with pytest.raises(KeyError):
        make("mobilenet_unet").build(hp)
    assert received == [0.5]


@pytest.mark.parametrize("name", NAMES)
def test_every_knob_is_explained(name: str) -> None:
    hp = kt.HyperParameters()
    make(name).declare(hp)
    for knob in hp.space:
        assert all(KNOBS[knob.name]), knob.name


@pytest.mark.parametrize("name", NAMES)
def test_baselines_are_points_of_the_space(name: str) -> None:
    assert hypermodels.load(name).baselines
    for baseline in hypermodels.load(name).baselines.values():
        hp = kt.HyperParameters()
        hp.values.update(baseline)
        hypermodel = make(name, size=64)
        hypermodel.train_size = 50_000
        values = hypermodel.declare(hp)
        assert {knob: values[knob] for knob in baseline} == baseline
        knobs = {knob.name: knob for knob in hp.space if hp.is_active(knob)}
        for knob, value in baseline.items():
            assert 0 <= knobs[knob].value_to_prob(value) <= 1


@pytest.mark.parametrize(
    ("baseline", "millions", "tolerance"),
    [("resnet18", 11.2, 0.01), ("wrn_16_8", 11.0, 0.02)],
)
def test_named_networks_have_the_published_size(
    baseline: str, millions: float, tolerance: float
) -> None:
    hypermodel = make("convnet", size=32, classes=100)
    hp = kt.HyperParameters()
    hp.values.update(hypermodel.baselines[baseline])
    parameters = hypermodel.build(hp).count_params()
    assert parameters / 1e6 == pytest.approx(millions, rel=tolerance)


def built(name: str, values: dict[str, Any], size: int = 64) -> keras.Model:
    hp = kt.HyperParameters()
    hp.values.update(values)
    return make(name, size).build(hp)


def test_the_classic_u_net_has_31_million_parameters() -> None:
    # Ronneberger et al. 2015 at one output channel, same padding: 31,030,593, and the
    # normalisation that is added here.
    model = built("unet", hypermodels.load("unet").baselines["classic_unet"])
    assert model.count_params() / 31_030_593 == pytest.approx(1, rel=0.001)
    skips = [layer.name for layer in model.layers if layer.name.endswith("_skip")]
    assert skips == [f"decoder{level}_skip" for level in (4, 3, 2, 1)]


def test_the_book_s_encoder_is_a_point_and_so_is_its_kernel() -> None:
    values = dict(hypermodels.load("unet").baselines["dlwp_encoder_decoder"])
    model = built("unet", values | {"transpose_kernel": 3})
    convolutions = [
        (layer.strides[0], layer.filters)
        for layer in model.layers
        if type(layer) is keras.layers.Conv2D
    ]
    # Chollet 2021, section 9.2: three halvings, each with a second convolution.
    book = [(2, 64), (1, 64), (2, 128), (1, 128), (2, 256), (1, 256)]
    assert convolutions[:6] == book
    grown = [
        layer.kernel_size
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2DTranspose)
    ]
    assert grown == [(3, 3)] * 3
    assert not [layer for layer in model.layers if "skip" in layer.name]


@pytest.mark.parametrize("name", NAMES)
def test_layers_are_named_as_in_the_papers(name: str, tiny: None) -> None:
    model = built(name, {"backbone": "tiny", "input_size": 32}, size=32)
    default_name = re.compile(
        r"(conv2d|dense|add|activation|concatenate|dropout|rescaling)(_\d+)?"
        r"|(batch|group)_normalization(_\d+)?|(up_sampling|max_pooling)2d(_\d+)?"
    )
    names = [layer.name for layer in model.layers]
    assert not [each for each in names if default_name.fullmatch(each)]
    parts = {
        "convnet": "stem_conv stage1_block1_conv2 stage2_block1_shortcut global_pool",
        "vgg16_transfer": "preprocess stage5 global_pool head_dense head_dropout",
        "unet": "encoder1_conv1 down1 bottom_conv2 up1 decoder1_skip",
        "mobilenet_unet": "stage5 decoder4_up decoder4_skip decoder1_conv",
    }
    outputs = {"classification": "probabilities", "segmentation": "logits"}
    assert {*parts[name].split(), outputs[hypermodels.task_of(name)]} <= set(names)


@pytest.mark.parametrize("name", NAMES)
def test_a_change_of_a_space_is_seen_in_review(name: str) -> None:
    recorded = json.loads((SPACES / f"{name}.json").read_text())
    assert snapshot(name) == recorded, "run `make docs` and look at what changed"
    assert hypermodels.knob_names(name) == [k["name"] for k in recorded["knobs"]]
    page = (SPACES.parents[1] / "docs" / "hypermodels.md").read_text()
    assert knob_table(recorded["knobs"]) in page
    assert f"(images/{name}.svg)" in page


@pytest.mark.parametrize("name", NAMES)
def test_random_points_build_train_save_and_load(name: str) -> None:
    # 200 of each and the corners: benchmarks/space_draws.py.
    hypermodel = make_hypermodel(name)
    space = declare_space(hypermodel, {})
    cheap = {"backbone": "mobilenet_v2", "input_size": 32, "alpha": 0.35}
    for number in range(1, DRAWS[name] + 1):
        values = new_values(Encoding(space), 0, number, lambda new: True) or {}
        values |= {knob: cheap[knob] for knob in cheap if knob in values}
        checked = check_point(hypermodel, values)
        assert checked["loss"] is not None, values
        assert checked["largest_difference"] == 0, values


def test_depth_is_bounded_by_what_can_be_halved() -> None:
    for size, most in ((64, 4), (96, 4), (128, 5), (100, 2), (16, 2)):
        hp = kt.HyperParameters()
        make("unet", size).declare(hp)
        depth = next(knob for knob in hp.space if knob.name == "depth")
        assert depth.max_value == most


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("unet", 50, "48 for one. Received: 50 x 50"),
        ("mobilenet_unet", 100, "96 for one. Received: 100 x 100"),
    ],
)
def test_sizes_that_do_not_halve_are_refused(
    name: str, size: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make(name, size)


def test_input_size_resizes_inside_and_back() -> None:
    hypermodel = hypermodels.load("unet")((50, 41, 3), 2, input_size=16)
    hp = kt.HyperParameters()
    hp.values.update({"base_filters": 8})
    model = hypermodel.build(hp)
    assert model.output_shape == (None, 50, 41, 1)
    assert model.get_layer("preprocess").output.shape[1:3] == (16, 16)


@pytest.mark.parametrize("name", NAMES)
def test_plain_random_search_works(name: str, tmp_path: Path, tiny: None) -> None:
    hypermodel = make(name)
    build = hypermodel.build

    def build_eager(hp: kt.HyperParameters) -> keras.Model:
        model = build(hp)
        model.run_eagerly = True  # Tracing costs more than the one step.
        return model

    hypermodel.build = build_eager
    hp = kt.HyperParameters()
    small = {"backbone": "tiny", "base_filters": 16, "depth": 2, "stages": 2}
    for knob, value in (small | {"decoder_filters": 32, "input_size": 32}).items():
        hp.Fixed(knob, value)
    tuner = kt.RandomSearch(
        hypermodel,
        objective=kt.Objective(hypermodel.objective, hypermodel.direction),
        hyperparameters=hp,
        max_trials=1,
        seed=1,
        directory=tmp_path,
    )
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, 32, 32, 3), "uint8")
    targets = rng.integers(0, 2, 6 if hypermodel.num_classes > 2 else (6, 32, 32))
    data = (images, targets)
    tuner.search(*data, epochs=1, validation_data=data, verbose=0)
    trial = tuner.oracle.get_best_trials()[0]
    assert trial.status == "COMPLETED"
    assert 0 <= trial.score <= 1
