"""Prepared data sets: the cache, the splits, what is recorded; on the shapes."""

import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from search.data import data
from search.datasets import PreparedDataset, open_prepared, prepare, shapes
from search.datasets import find_source as find_source_of
from search.datasets.rows import joined
from search.datasets.sources import Request
from search.datasets.splits import cut, limited
from search.datasets.store import new_array
from search.errors import InputError


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def use_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISION_TUNER_CACHE", str(cache))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache of its own, and few shapes: for tests that prepare more than once."""
    monkeypatch.setenv("VISION_TUNER_CACHE", str(tmp_path))
    sizes = {"train": 250, "validation": 250, "test": 250}
    monkeypatch.setattr(shapes, "SIZES", sizes)
    return tmp_path


def classification() -> PreparedDataset:
    return prepare("shapes", task="classification")


def test_shapes_offer_both_tasks_with_equal_classes() -> None:
    prepared = classification()
    assert prepared.tasks == ["classification", "segmentation"]
    assert prepared.sizes == {"train": 4000, "validation": 1000, "test": 1000}
    assert prepared.class_counts["train"] == [400] * 10
    assert prepared.class_counts["test"] == [100] * 10
    images, labels = prepared.open("train", "classification")
    assert (images.shape, images.dtype) == ((4000, 32, 32, 3), np.uint8)
    assert (labels.shape, labels.dtype) == ((4000,), np.int32)
    _, masks = prepared.open("train", "segmentation")
    assert (masks.shape, masks.dtype) == ((4000, 32, 32), np.uint8)
    assert set(np.unique(masks)) == {0, 1, 255}


def test_masks_lie_where_the_shape_is() -> None:
    images, masks = classification().open("validation", "segmentation")
    is_foreground = masks == 1
    assert is_foreground.any(axis=(1, 2)).all()
    # A shape is lighter than its ground.
    assert images[is_foreground].mean() > images[masks == 0].mean() + 25


def test_segmentation_counts_pixels_and_names_two_classes() -> None:
    prepared = prepare("shapes", task="segmentation")
    assert prepared.class_names == ["background", "foreground"]
    assert sum(prepared.class_counts["train"]) == 4000 * 32 * 32
    assert prepared.hashes != classification().hashes
    assert open_prepared(prepared.folder) == prepared


def test_splits_hold_different_images() -> None:
    prepared = classification()
    seen = [
        {image.tobytes() for image in prepared.open(split, "classification")[0]}
        for split in prepared.sizes
    ]
    assert len(set.union(*seen)) == 6000


def test_the_seed_decides_every_pixel(small: Path) -> None:
    first = prepare("shapes", task="classification", seed=3)
    other = prepare("shapes", task="classification", seed=4)
    assert first.hashes["test"] != other.hashes["test"]
    (small / "prepared").rename(small / "elsewhere")
    again = prepare("shapes", task="classification", seed=3)
    assert (again.hashes, again.fingerprint) == (first.hashes, first.fingerprint)


def test_the_recorded_hash_is_of_images_and_targets() -> None:
    import hashlib

    prepared = classification()
    images, labels = prepared.open("test", "classification")
    digest = hashlib.sha256(images.tobytes() + labels.tobytes())
    assert prepared.hashes["test"] == digest.hexdigest()


def test_opening_again_imports_only_numpy() -> None:
    folder = classification().folder
    code = (
        "import sys; from pathlib import Path;"
        "from search.datasets import prepare, open_prepared;"
        "prepared = prepare('shapes', task='classification');"
        "prepared.open('train', 'classification');"
        f"assert prepared == open_prepared(Path({str(folder)!r}));"
        "heavy = {'tensorflow', 'tensorflow_datasets', 'keras', 'PIL'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_opened_arrays_cannot_be_written() -> None:
    images, _ = classification().open("train", "classification")
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 0


def test_limited_training_sets_are_fixed_balanced_and_nested() -> None:
    prepared = classification()
    images, labels = prepared.open_train("classification", 100, seed=1)
    assert np.bincount(labels).tolist() == [10] * 10
    again, _ = prepared.open_train("classification", 100, seed=1)
    other, _ = prepared.open_train("classification", 100, seed=2)
    larger, _ = prepared.open_train("classification", 250, seed=1)
    assert np.array_equal(again, images)
    assert not np.array_equal(other, images)
    inside = {image.tobytes() for image in larger}
    assert all(image.tobytes() in inside for image in images)


def test_limited_and_joined_sets_stay_in_their_files() -> None:
    prepared = classification()
    stored, masks = prepared.open("train", "segmentation")
    images, limited_masks = prepared.train_rows("segmentation", 50, seed=1)
    assert images.parts[0].filename == stored.filename
    rows = images.places
    assert (images.shape, images.nbytes) == (
        (50, *stored.shape[1:]),
        stored[:50].nbytes,
    )
    assert np.array_equal(images[7], stored[rows[7]])
    assert np.array_equal(images[3:9], stored[rows[3:9]])
    assert np.array_equal(limited_masks[[4, 4, 1]], masks[rows[[4, 4, 1]]])

    in_memory, _ = prepared.open_train("segmentation", 50, seed=1)
    assert isinstance(in_memory, np.ndarray) and np.array_equal(in_memory, images)
    both = joined(images, prepared.open("validation", "segmentation")[0])
    expected = np.concatenate(
        [stored[rows], prepared.open("validation", "segmentation")[0]]
    )
    assert np.array_equal(both, expected)
    assert np.array_equal(both[51], expected[51])  # of the second part
    mixed = np.random.default_rng(0).permutation(len(expected))[:60]
    assert np.array_equal(both[mixed], expected[mixed])


def test_a_limit_above_the_set_takes_all_and_below_the_classes_is_refused() -> None:
    prepared = classification()
    assert len(prepared.open_train("classification", 10**6, 0)[0]) == 4000
    assert len(prepared.open_train("classification", None, 0)[0]) == 4000
    assert len(prepared.open_train("segmentation", 7, 0)[0]) == 7
    with pytest.raises(InputError, match="at least 10"):
        prepared.open_train("classification", 9, 0)
    with pytest.raises(InputError, match="Raise --limit-train"):
        prepared.open_train("segmentation", 0, 0)


def test_limits_follow_the_shares_of_unequal_classes() -> None:
    labels = np.repeat(np.arange(3, dtype=np.int32), [80, 15, 5])
    assert np.bincount(labels[limited(labels, 20, seed=0)]).tolist() == [16, 3, 1]
    assert np.bincount(labels[limited(labels, 3, seed=0)]).tolist() == [1, 1, 1]


def test_cuts_are_disjoint_stratified_and_leave_no_class_out() -> None:
    labels = np.repeat(np.arange(3, dtype=np.int32), [100, 20, 3])
    parts = cut(labels, {"validation": 0.1, "test": 0.15}, seed=0)
    assert sorted(np.concatenate(list(parts.values()))) == list(range(123))
    assert np.bincount(labels[parts["validation"]]).tolist() == [10, 2, 1]
    assert np.bincount(labels[parts["test"]]).tolist() == [15, 3, 1]


def test_a_preparation_that_fails_leaves_nothing(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: Path, value: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("search.datasets.store.write_json", fail)
        prepare("shapes", task="classification")
    assert [p.suffix for p in (small / "prepared").iterdir()] == [".lock"]
    assert prepare("shapes", task="classification").sizes["test"] == 250


def test_what_a_killed_preparation_left_is_removed(small: Path) -> None:
    stale = small / "prepared" / ".other-0123.tmp" / "arrays"
    stale.mkdir(parents=True)
    prepare("shapes", task="classification")
    assert not stale.parent.exists()


def test_what_another_process_is_preparing_is_left_alone(small: Path) -> None:
    import filelock

    busy = small / "prepared" / ".other-0123.tmp"
    busy.mkdir(parents=True)
    with filelock.FileLock(busy.with_suffix(".lock")):
        prepare("shapes", task="classification")
        assert busy.exists()


def test_a_damaged_preparation_is_made_again(small: Path) -> None:
    prepared = prepare("shapes", task="classification")
    path = prepared.folder / "train_images.npy"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="not whole"):
        open_prepared(prepared.folder)
    again = prepare("shapes", task="classification")
    assert again.hashes == prepared.hashes
    assert open_prepared(again.folder) == again


def prepare_in_process(cache: str) -> str:
    import os

    os.environ["VISION_TUNER_CACHE"] = cache
    shapes.SIZES.update(train=500, validation=500, test=500)
    return prepare("shapes", task="classification").fingerprint


def test_two_processes_at_once_both_succeed(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        marks = pool.map(prepare_in_process, [str(tmp_path)] * 2, chunksize=1)
    assert marks[0] == marks[1]
    assert len(list((tmp_path / "prepared").glob("shapes-*"))) == 1


def test_a_disk_without_room_is_said_before_anything_is_written(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    usage = shutil.disk_usage(small)._replace(free=1000)
    monkeypatch.setattr("search.datasets.store.shutil.disk_usage", lambda path: usage)
    with pytest.raises(InputError, match="of free disk"):
        prepare("shapes", task="classification")


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="asks no room before")
def test_room_that_only_seems_to_be_there_is_asked_for(tmp_path: Path) -> None:
    """A map beyond the end of the disk would end the process when it is written."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, hard))
    try:
        with pytest.raises(InputError, match="of free disk"):
            new_array(tmp_path / "images.npy", (2 * 10**6,), np.uint8)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    new_array(tmp_path / "images.npy", (10,), np.uint8)[:] = 7
    assert np.load(tmp_path / "images.npy").tolist() == [7] * 10


def test_a_cache_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VISION_TUNER_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match="VISION_TUNER_CACHE"):
        prepare("shapes", task="classification")


@pytest.mark.parametrize(
    ("dataset", "options", "message"),
    [
        ("shape", {}, "Did you mean shapes"),
        ("/no/such/folder", {}, "a folder of images"),
        ("shapes", {"image_size": 8}, "32 to 96 pixels"),
        ("tfds:../x", {}, "tensorflow-datasets name"),
    ],
)
def test_what_cannot_be_prepared_is_told(
    dataset: str, options: dict[str, int], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        prepare(dataset, task=None, **options)


def test_shapes_can_be_larger() -> None:
    source = find_source_of(Request("shapes", image_size=48))
    assert source.identity["edge"] == 48


def test_unknown_splits_and_tasks_are_refused() -> None:
    with pytest.raises(InputError, match="train, validation, test"):
        classification().open("val", "classification")


def test_the_verb_describes_the_data_as_json() -> None:
    lines: list[str] = []
    description = json.loads(json.dumps(data("shapes", say=lines.append)))
    assert description["task"] == "classification"
    assert description["sizes"]["validation"] == 1000
    assert description["image_shape"] == [32, 32, 3]
    assert len(description["hashes"]["test"]) == 64
    assert Path(description["folder"]).is_dir()


def test_the_verb_prints_a_row_a_split() -> None:
    from rich.console import Console

    from search.data import print_data

    console = Console(width=160)
    with console.capture() as capture:
        print_data(data("shapes", task="segmentation"), console)
    assert "foreground" in capture.get()
    assert "4,000" in capture.get()
