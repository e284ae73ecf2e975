"""What tests share: the real data, a quiet TensorFlow, a cache of their own."""

import gc
import os
import signal
import sys
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Two processes of one thread each do more than two that share two.
for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ.setdefault(name, "1")

# All that a shell starts in the background ignores it, and so would what tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The files that take longest, first: of two processes one would else end with them
# alone.
LONGEST = (
    *("test_jax", "test_cli", "test_ray", "test_hypermodels_knobs", "test_restoring"),
    *("test_accumulation", "test_documents", "test_own_tuner", "test_workbench"),
    *("test_compare", "test_training", "test_finalize_in_time", "test_journal"),
    *("test_notebook", "test_precision"),
)
REAL_DATA = Path(__file__).parents[2] / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, and leave the order within each."""
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(LONGEST)))


@pytest.fixture(scope="session", autouse=True)
def young_garbage() -> None:
    """Keep the garbage collector from what is imported, as workers do.

    A training is followed by a collection, which would go through all of it.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keep prepared arrays out of the user's cache; prepare once a session."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["VISION_TUNER_CACHE"] = str(folder)
    return folder


@pytest.fixture(autouse=True)
def import_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take back the folders a test let modules be imported from.

    A module of the same name in another test's folder would be found first.
    """
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real data, or skip."""
    if not REAL_DATA.is_dir():
        pytest.skip("needs the real data beside the project")
    return REAL_DATA
