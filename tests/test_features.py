"""What is frozen is computed once, and comes to what computing it always does."""

import shutil
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest

from hypermodels.frozen_part import frontier
from search.datasets import PreparedDataset, open_prepared, prepare
from search.orders import Order, Outcome
from search.studies import Study
from search.training import features, feeds
from search.training.checkpoints import LAST
from search.training.feature_store import LIMIT, features_dir
from search.training.features import Images, Pass
from search.training.feeds import Batching, make_feed, make_reuse, split
from search.training.loop import network_of
from search.training.predictions import load_best
from search.training.pulse import Link
from search.training.workbench import Built
from search.workers.worker import run_order

TRANSFER: dict[str, Any] = {
    "backbone": "mobilenet_v2",
    "alpha": 0.35,
    "unfrozen_blocks": 0,
    "pooling": "global",
    "dense_units": 128,
    "dropout_rate": 0.3,
    "augmentation": "none",
    "mixing": "none",
    "erasing_probability": 0.0,
    "batch_size": 32,
    "label_smoothing": 0.1,
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "schedule": "cosine",
    "warmup_fraction": 0.05,
}
UNET: dict[str, Any] = {
    "backbone": "mobilenet_v2",
    "alpha": 0.35,
    "unfrozen_blocks": 0,
    "decoder_filters": 32,
    "upsampling": "nearest",
    "dropout_rate": 0.1,
    "augmentation": "flip_scale",
    "loss": "cross_entropy",
    "batch_size": 16,
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "schedule": "constant",
    "warmup_fraction": 0.0,
}
STUDY = Study(
    "frozen",
    "classification",
    "shapes",
    "vgg16_transfer",
    epochs=4,
    limit_train=96,
    image_size=32,
    weights="none",
)
MASKS = replace(
    STUDY, task="segmentation", hypermodel="mobilenet_unet", objective="val_dice"
)


def trained(folder: Path, study: Study, values: Any, epochs: int) -> Outcome:
    outcome = run_order(
        order(folder, study, values, epochs), lambda progress: None, lambda: False
    )
    assert outcome.state == "COMPLETED", outcome
    return outcome


def order(folder: Path, study: Study, values: Any, epochs: int) -> Order:
    data = prepare("shapes", task=study.task, image_size=32)
    return Order(
        order_id="0000",
        job="train",
        study=asdict(study),
        data_folder=str(data.folder),
        folder=str(folder),
        logs=None,
        values=values,
        seed=0,
        epochs=epochs,
        length=4,
    )


def arrays(folder: Path) -> list[np.ndarray[Any, Any]]:
    with np.load(folder / LAST) as file:
        return [file[name] for name in sorted(file.files) if name != "state"]


def sets() -> list[Path]:
    return [path for path in features_dir().iterdir() if path.is_dir()]


@pytest.fixture(autouse=True)
def no_features(cache: Path) -> None:
    shutil.rmtree(features_dir(), ignore_errors=True)


def test_a_head_on_features_becomes_what_the_whole_network_becomes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """keras-tuner: computes the frozen part again in every epoch of every trial."""
    whole = trained(tmp_path / "head", STUDY, TRANSFER, 1)
    assert {path.name: len(list(path.glob("f*.npy"))) for path in sets()} == {
        path.name: 1 for path in sets()
    }
    assert len(sets()) == 4  # training and validation images, pooled and not
    shutil.rmtree(features_dir())
    whole = trained(tmp_path / "head", STUDY, TRANSFER, 2)  # resumed, computed again
    monkeypatch.setenv(LIMIT, "0")
    shutil.rmtree(features_dir())
    plain = trained(tmp_path / "all", STUDY, TRANSFER, 2)
    assert sets() == []
    for name, values in plain.history.items():
        np.testing.assert_allclose(whole.history[name], values, atol=1e-5)
    for ours, theirs in zip(
        arrays(tmp_path / "head"), arrays(tmp_path / "all"), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    # The file it began with is not needed any more, so it may be gone.
    done = order(tmp_path / "head", replace(STUDY, weights="gone.h5"), TRANSFER, 2)
    best = load_best(done)
    data = prepare("shapes", task="classification", image_size=32)
    scores = best.evaluate(
        *data.open("validation", "classification"), verbose=0, return_dict=True
    )
    assert scores["accuracy"] == pytest.approx(max(plain.history["val_accuracy"]))


@pytest.mark.parametrize("first", ["global", "flatten"])
def test_heads_that_pool_and_that_do_not_share_what_is_computed_of_images(
    first: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = {"global": "flatten", "flatten": "global"}[first]
    trained(tmp_path / "first", STUDY, TRANSFER | {"pooling": first}, 1)
    before = {path.name for path in sets()}

    def images_again(*arguments: Any) -> Any:
        raise AssertionError("computed of images a second time")

    monkeypatch.setattr(features, "filled", images_again)
    shared = trained(tmp_path / "shared", STUDY, TRANSFER | {"pooling": second}, 1)
    monkeypatch.undo()
    assert before <= {path.name for path in sets()}
    shutil.rmtree(features_dir())
    monkeypatch.setattr(feeds, "SHARED_BYTES", 0)
    alone = trained(tmp_path / "alone", STUDY, TRANSFER | {"pooling": second}, 1)
    assert len(sets()) == 2
    assert shared.history["loss"] == pytest.approx(alone.history["loss"], abs=1e-5)


def built_for(study: Study, values: Any) -> tuple[Order, PreparedDataset, Built]:
    one = order(Path("unused"), study, values, 3)
    data = open_prepared(Path(one.data_folder))
    _, built = network_of(one, study, data, 1, is_new=True)
    return one, data, built


def test_a_network_with_blocks_that_learn_is_split_where_they_begin() -> None:
    values = {"unfrozen_blocks": 1, "backbone_rate_fraction": 0.1}
    values["head_first_fraction"] = 0.0
    _, data, built = built_for(STUDY, TRANSFER | values)
    images = data.open("validation", "classification")[0][:4]
    expected = built.model.predict_on_batch(images)
    split(built)
    frozen, head = built.parts.frozen, built.parts.head
    features = frozen.predict_on_batch(images)
    np.testing.assert_allclose(head.predict_on_batch(features), expected, atol=1e-6)
    assert {layer.name for layer in head.layers} >= {"block_13_expand", "logits"}
    assert "block_12_project" not in {layer.name for layer in head.layers}


def test_augmented_passes_come_again_with_the_masks_that_belong_to_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = replace(MASKS, augmented_passes=2)
    one, data, built = built_for(study, UNET)
    link = Link(print, lambda: False)
    source, feed = make_feed(one, study, data, built, 1, link)
    fits = [feed(epoch) for epoch in range(3)]
    assert len(sets()) == 3  # two passes and the validation images
    inputs = [fit.training.inputs for fit in fits]
    assert len(inputs[0]) == 5  # four skips and the bottom
    for first, second, third in zip(*inputs, strict=True):
        np.testing.assert_array_equal(first, third)
        assert np.abs(first - second).max() > 0
    shutil.rmtree(features_dir())
    monkeypatch.setenv(LIMIT, "0")
    _, feed = make_feed(one, study, data, built, 1, link)
    stream = feed(1).training  # no room: the whole network, on the same pass
    images, masks = stream.inputs, stream.targets
    np.testing.assert_array_equal(masks, fits[1].training.targets)
    assert (masks != source.targets).any()
    seen = built.parts.frozen.predict_on_batch(images)
    for ours, theirs in zip(inputs[1], seen, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_new_images_in_every_epoch_are_the_rule_where_there_is_augmentation() -> None:
    built = Built(SimpleNamespace(augmentation=object()), None, 32, [])
    assert make_reuse(built, STUDY, Batching(32, 1), Link(print, lambda: False)) is None


def test_a_pass_is_a_function_of_recipe_seed_and_number() -> None:
    from hypermodels.augmentation import make_augmentation

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (130, 8, 8, 3), np.uint8)
    source = Images(images, rng.integers(0, 10, 130), ())

    def drawn(seed: int, number: int) -> Any:
        layer = make_augmentation(
            "classification", "flip_crop", mixing="mixup", num_classes=10
        )
        return Pass(layer, seed, number).whole(source)

    first, again = drawn(3, 0), drawn(3, 0)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert first[1].shape == (130, 10)
    np.testing.assert_allclose(first[1].sum(axis=1), 1.0, atol=1e-6)
    for other in (drawn(3, 1), drawn(4, 0)):
        assert np.abs(first[0] - other[0]).max() > 1


def test_a_norm_without_weights_that_learns_its_statistics_is_not_frozen() -> None:
    inputs = keras.Input((8, 8, 3))
    convolved = keras.layers.Conv2D(4, 3, trainable=False)(inputs)
    norm = keras.layers.BatchNormalization(center=False, scale=False)
    model = keras.Model(inputs, keras.layers.Dense(2)(norm(convolved)))
    assert frontier(model) == [convolved]
    norm.trainable = False
    assert frontier(model) == [norm.output]
