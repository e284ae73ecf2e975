"""What the machine has, and whether what trains can use it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import keras
import pytest

from search import ready_made, search, study_paths
from search.errors import StorageError
from search.machine.devices import backend_has_gpu, gpus
from search.records import Trial, read_records


@pytest.fixture
def one_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A GPU for which there is no driver here."""
    if backend_has_gpu(keras.config.backend()):
        pytest.skip("this machine has a GPU that can be used")
    gpus.cache_clear()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    yield
    gpus.cache_clear()


@pytest.mark.usefixtures("one_gpu")
@pytest.mark.parametrize("workers", [0, 1])
def test_a_gpu_that_the_backend_cannot_use_is_told_and_blames_no_trial(
    tmp_path: Path, workers: int
) -> None:
    """Without the CUDA libraries all would be trained on the CPU, without a word."""
    study = replace(ready_made("shapes-convnet"), trials=2, limit_train=64, epochs=1)
    paths = study_paths("toy", tmp_path, tmp_path)
    with pytest.raises(StorageError, match=r"and-cuda.*CUDA_VISIBLE_DEVICES="):
        search(study, paths, workers=workers)
    (trial,) = read_records(paths.trials, Trial)
    assert (trial.state, trial.epochs) == ("PAUSED", 0)
