"""Networks a worker keeps give what networks built anew give."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from test_training import arrays, ignore, never
from test_training import order as ordered

from hypermodels.dials import dropout_dials
from search.datasets import PreparedDataset, prepare
from search.orders import Order
from search.training import loop
from search.training.stepping import MOST_STEPS, steps_at_a_time
from search.training.workbench import KEPT, WORKBENCH, Built, Workbench, key_of
from search.workers.worker import run_order


@pytest.fixture(scope="module")
def data() -> PreparedDataset:
    return prepare("shapes", task="classification", image_size=32)


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Return the ids of the orders whose network was built."""
    build, seen = loop.build_model, []

    def watched(order: Order, *arguments: Any) -> Any:
        seen.append(order.order_id)
        return build(order, *arguments)

    monkeypatch.setattr(loop, "build_model", watched)
    WORKBENCH.clear()
    yield seen
    WORKBENCH.clear()


OTHER = {
    "learning_rate": 5e-4,
    "weight_decay": 0.1,
    "label_smoothing": 0.1,
    "dropout_rate": 0.5,
    "stochastic_depth_rate": 0.3,
}
OWN = """
import keras
from hypermodels.convnet import Convnet
from hypermodels.image_hypermodel import Network

class Own(Convnet):
    def network(self, values, images):
        x = super().network(values, images).outputs
        return Network(keras.layers.Dropout(values["dropout_rate"])(x))
"""


def train_in_turn(
    data: PreparedDataset, folder: Path, other: dict[str, Any], **study: Any
) -> None:
    """Train a trial, another one, and the first a little further.

    Each comes to what it comes to in a network of its own.
    """

    def ordered_as(name: str, epochs: int, values: dict[str, Any]) -> Order:
        order = ordered(data, folder / name, epochs, **values)
        return replace(order, order_id=name, study={**order.study, **study})

    seen = {}
    first = ordered_as("first", 1, {})
    second = ordered_as("second", 2, other)
    for one in (first, second, replace(first, epochs=2)):
        outcome = run_order(one, ignore, never)
        assert outcome.state == "COMPLETED", outcome.traceback
        seen[one.order_id] = outcome.history
    for name, values in (("first", {}), ("second", other)):
        WORKBENCH.clear()
        anew = run_order(ordered_as(f"{name}-anew", 2, values), ignore, never)
        assert anew.history == seen[name]
        for ours, theirs in zip(
            arrays(folder / name), arrays(folder / f"{name}-anew"), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)


def test_trials_that_differ_in_what_can_be_set_share_a_network_and_nothing_else(
    data: PreparedDataset, tmp_path: Path, built: list[str]
) -> None:
    train_in_turn(data, tmp_path, OTHER)
    assert built == ["first", "first-anew", "second-anew"]


def test_what_cannot_be_set_is_built_anew(
    data: PreparedDataset,
    tmp_path: Path,
    built: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A network of one's own may use a knob in a way of its own."""
    (tmp_path / "own_dropout.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    other = {"dropout_rate": 0.5}
    train_in_turn(data, tmp_path, other, hypermodel="own_dropout:Own")
    assert built[:3] == ["first", "second", "first"]


def test_dropping_at_a_variable_rate_is_what_keras_does() -> None:
    layer = keras.layers.Dropout(0.25, noise_shape=(None, 1, 1, 1), seed=1)
    layer.rate_knob, layer.rate_share = "stochastic_depth_rate", 0.5
    inputs = keras.Input((2, 2, 3))
    model = keras.Model(inputs, layer(inputs))
    images = np.ones((4000, 2, 2, 3), "float32")
    (dial,) = dropout_dials(model, []).values()
    for rate in (0.25, 0.4):
        dial(2 * rate)
        assert layer.get_config()["rate"] == rate
        kept = np.asarray(model(images, training=True))
        assert np.isclose((kept == 0).mean(), rate, atol=0.03)
        assert np.allclose(kept[kept > 0], 1 / (1 - rate))
        assert (np.ptp(kept, axis=(1, 2, 3)) == 0).all()
    assert np.array_equal(model(images), images)


def test_orders_share_a_network_only_where_the_graph_is_the_same(
    data: PreparedDataset, tmp_path: Path
) -> None:
    first = ordered(data, tmp_path, 1)

    def shares(other: Order, parts: int = 1) -> bool:
        return key_of(first, 1) == key_of(other, parts)

    assert shares(replace(first, epochs=3, order_id="0007", folder="elsewhere"))
    assert shares(ordered(data, tmp_path, 1, **OTHER))
    assert not shares(first, parts=2)
    for change in ({"seed": 1}, {"length": 9}, {"use_validation": True}):
        assert not shares(replace(first, **change))
    assert not shares(ordered(data, tmp_path, 1, dropout_rate=0.0))
    assert not shares(ordered(data, tmp_path, 1, normalization="group"))


def test_a_bench_keeps_the_last_few() -> None:
    bench = Workbench()
    for number in range(KEPT + 1):
        bench.put(str(number), Built(number, None, 1, []))
    assert bench.take("0") is None
    kept = bench.take("1")
    assert kept is not None
    assert kept.model == 1
    assert bench.take("1") is None


def test_steps_at_a_time_last_half_a_second_and_are_at_least_one() -> None:
    assert steps_at_a_time(1e6, 100, 1.2e10) == 20
    assert steps_at_a_time(1e3, 8, 1.2e10) == MOST_STEPS
    assert steps_at_a_time(1e10, 64, 1.2e10) == 1
