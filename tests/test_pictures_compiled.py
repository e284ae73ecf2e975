"""On JAX, what TensorBoard shows of a trial costs few compilations."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from test_training import order

from hypermodels.augmentation import make_augmentation
from hypermodels.resident import made_by
from search.datasets import PreparedDataset, prepare
from search.studies import Study
from search.training.limits import latency_of
from search.training.loop import network_of
from search.training.streams import stream_of
from search.training.trial_pictures import predicted

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="only on JAX; tests/test_jax.py runs it"
)
IMAGES = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), np.uint8)
LABELS = np.arange(12, dtype=np.int32)


@pytest.fixture
def compilations() -> Iterator[list[str]]:
    """Collect the programs that are compiled meanwhile."""
    import jax

    names: list[str] = []

    def note(name: str, seconds: float, **rest: Any) -> None:
        if name.endswith("backend_compile_duration"):
            names.append(name)

    jax.monitoring.register_event_duration_secs_listener(note)
    yield names
    jax.monitoring.unregister_event_duration_listener(note)


def test_a_batch_is_augmented_in_one_program_as_in_training(
    compilations: list[str],
) -> None:
    layer = make_augmentation(
        "classification", "flip_crop", mixing="cutmix", erasing=0.5, num_classes=12
    )
    assert layer is not None
    before = [np.asarray(variable) for variable in layer.variables]
    np.asarray(made_by(layer, IMAGES, LABELS)[0])  # what is compiled once a process
    compilations.clear()
    made = [np.asarray(part) for part in made_by(layer, IMAGES, LABELS)]
    assert len(compilations) == 1
    for variable, value in zip(layer.variables, before, strict=True):
        np.testing.assert_array_equal(np.asarray(variable), value)
    for ours, theirs in zip(made, layer(IMAGES, LABELS), strict=True):
        np.testing.assert_allclose(ours, np.asarray(theirs), rtol=1e-3, atol=1e-2)


@pytest.fixture(scope="module")
def data() -> PreparedDataset:
    return prepare("shapes", task="classification", image_size=32)


def test_the_network_answers_by_the_program_whose_latency_is_measured(
    data: PreparedDataset, tmp_path: Path, compilations: list[str]
) -> None:
    one = order(data, tmp_path, convolution="separable")
    _, built = network_of(one, Study(**one.study), data, 1, is_new=True)
    expected = np.asarray(built.model(IMAGES, training=False))
    built.model.part_averages()
    assert latency_of(built) > 0
    compilations.clear()
    rows = np.arange(12)
    answers = predicted(built.model, stream_of((IMAGES, LABELS), 4), rows)
    assert compilations == []
    np.testing.assert_allclose(answers, expected, rtol=1e-3, atol=1e-5)
