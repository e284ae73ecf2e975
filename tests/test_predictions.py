"""Predictions of a whole split: a batch at a time, with a sign of life after each."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_training import never
from test_training import order as ordered

from search.datasets import PreparedDataset, prepare
from search.training import predictions
from search.training.predictions import load_best, prediction_path
from search.workers.worker import run_order


@pytest.fixture(scope="module")
def data() -> PreparedDataset:
    return prepare("shapes", task="classification", image_size=32)


@pytest.mark.parametrize("tta", [[], ["flip"]])
def test_a_split_is_predicted_batch_by_batch(
    tta: list[str],
    data: PreparedDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order = ordered(data, tmp_path)
    assert run_order(order, lambda progress: None, never).state == "COMPLETED"
    asked = replace(order, job="predict", split="validation", tta=tta)
    images, _ = data.open("validation", "classification")
    monkeypatch.setattr(predictions, "BATCH_SIZE", 96)
    stages: list[str] = []
    outcome = run_order(asked, lambda progress: None, never, stages.append)
    assert outcome.state == "COMPLETED", outcome.traceback
    assert stages == ["predicting"] * -(-len(images) // 96)

    model = load_best(order)
    expected = np.asarray(model.predict(images, verbose=0))
    if tta:
        mirrored = np.asarray(model.predict(images[:, :, ::-1], verbose=0))
        expected = (expected + mirrored) / 2
    found = np.load(prediction_path(asked))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)
