"""Training in mixed precision: exact in itself, and float32 in what it leaves."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from test_training import STUDY, arrays, ignore, never
from test_training import order as ordered

from search.beginning import preparation
from search.beginning.study_checks import check_study
from search.beginning.study_record import fingerprint, record_study
from search.datasets import PreparedDataset, prepare
from search.errors import InputError
from search.orders import Order
from search.paths import StudyPaths
from search.records import History
from search.training.loop import build_model, make_hypermodel
from search.training.predictions import load_best
from search.workers.worker import run_order

MIXED = replace(STUDY, precision="mixed_bfloat16")


@pytest.fixture(scope="module")
def data() -> PreparedDataset:
    return prepare("shapes", task="classification", image_size=32)


def mixed(data: PreparedDataset, folder: Path, epochs: int) -> Order:
    return replace(ordered(data, folder, epochs), study=asdict(MIXED))


def trained(order: Order) -> History:
    outcome = run_order(order, ignore, never)
    assert outcome.state == "COMPLETED", outcome.message
    return outcome.history


def test_mixed_training_is_continued_exactly_and_predicts_in_float32(
    data: PreparedDataset, tmp_path: Path
) -> None:
    import keras

    straight = trained(mixed(data, tmp_path / "straight", 2))
    trained(mixed(data, tmp_path / "cut", 1))
    assert trained(mixed(data, tmp_path / "cut", 2)) == straight
    for ours, theirs in zip(
        arrays(tmp_path / "cut"), arrays(tmp_path / "straight"), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    assert trained(ordered(data, tmp_path / "float32", 2)) != straight

    assert keras.config.dtype_policy().name == "float32"
    order = mixed(data, tmp_path / "straight", 2)
    model = load_best(order)
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    half = build_model(order, make_hypermodel(MIXED, data, 4))
    computed = {
        layer.name: layer.compute_dtype for layer in half.layers if layer.weights
    }
    assert computed.pop("logits") == half.outputs[0].dtype == "float32"
    assert set(computed.values()) == {"bfloat16"}
    half.set_weights(model.get_weights())
    images = data.open("validation", "classification")[0][:64]
    np.testing.assert_allclose(
        half.predict(images, verbose=0), model.predict(images, verbose=0), atol=0.05
    )


def test_auto_is_decided_by_the_gpus_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = StudyPaths(tmp_path, tmp_path, "tiny")
    auto = replace(STUDY, precision="auto")
    monkeypatch.setattr(preparation, "have_bfloat16", lambda: True)
    assert preparation.precision_of(auto, paths) == "mixed_bfloat16"
    record_study(paths, STUDY, {}, fingerprint(STUDY, "data", None), "")
    assert preparation.precision_of(auto, paths) == "float32"
    monkeypatch.setattr(preparation, "have_bfloat16", lambda: False)
    elsewhere = StudyPaths(tmp_path / "other", tmp_path, "tiny")
    assert preparation.precision_of(auto, elsewhere) == "float32"
    with pytest.raises(InputError, match="precision = 'float32' as recorded"):
        record_study(paths, MIXED, {}, fingerprint(MIXED, "data", None), "")


def test_another_precision_is_refused() -> None:
    with pytest.raises(InputError, match="--precision float32, mixed_bfloat16 or auto"):
        check_study(replace(STUDY, precision="float16"))
