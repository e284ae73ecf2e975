"""The public data sets: VOC 2012, CIFAR-100 and tfds, on real data where it lies."""

import hashlib
import io
import socket
import tarfile
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search.beginning.inputs import prepared_data
from search.datasets import PreparedDataset, prepare, voc2012_archive
from search.datasets.network import why_no_host_answers
from search.datasets.splits import cut
from search.datasets.tfds_classification import (
    find_version,
    run_reader,
    splits_of,
    tfds_root,
)
from search.errors import InputError
from search.studies import ready_made

DATA = Path(__file__).parents[2] / "shared" / "data"
needs_voc = pytest.mark.skipif(
    not (DATA / "VOCdevkit/VOC2012").exists(), reason="no VOC 2012 beside the project"
)
needs_cifar = pytest.mark.skipif(
    not (DATA / "tensorflow_datasets/cifar100").exists(),
    reason="no CIFAR-100 beside the project",
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def use_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISION_TUNER_CACHE", str(cache))
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)


def voc() -> PreparedDataset:
    return prepare("voc2012", task="segmentation", data_dir=DATA, image_size=64)


def cifar() -> PreparedDataset:
    return prepare("cifar100", task=None, data_dir=DATA, image_size=96)


@needs_voc
def test_voc_cuts_train_and_tests_on_the_official_val() -> None:
    prepared = voc()
    lists = DATA / "VOCdevkit/VOC2012/ImageSets/Segmentation"
    train = (lists / "train.txt").read_text().split()
    assert prepared.names("test") == (lists / "val.txt").read_text().split()
    cut = [*prepared.names("train"), *prepared.names("validation")]
    assert sorted(cut) == sorted(train)
    assert prepared.sizes["validation"] == round(len(train) / 5)


@needs_voc
def test_voc_keeps_background_foreground_and_void() -> None:
    prepared = voc()
    pixels = np.array(list(prepared.class_counts.values())).sum(axis=0)
    shares = pixels / pixels.sum()
    # From the README of the data; the splits together.
    assert shares == pytest.approx([0.690, 0.257, 0.053], abs=0.006)
    images, masks = prepared.open("test", "segmentation")
    assert images.shape == (len(masks), 64, 64, 3)
    assert set(np.unique(masks)) == {0, 1, 255}


@needs_voc
def test_the_seed_moves_only_the_cut_of_train() -> None:
    first = voc()
    other = prepare(
        "voc2012", task="segmentation", data_dir=DATA, image_size=64, seed=1
    )
    assert other.names("validation") != first.names("validation")
    assert other.hashes["test"] == first.hashes["test"]


@needs_cifar
def test_cifar100_has_its_splits_names_and_coarse_labels() -> None:
    prepared = cifar()
    assert prepared.sizes == {"train": 45000, "validation": 5000, "test": 10000}
    assert prepared.image_shape == (32, 32, 3)
    assert prepared.class_counts["validation"] == [50] * 100
    assert prepared.class_counts["test"] == [100] * 100
    assert prepared.class_names[:2] == ["apple", "aquarium_fish"]
    images, labels = prepared.open("train", "classification")
    coarse = prepared.coarse("train")
    assert coarse is not None
    apples = set(coarse[labels == 0])
    assert {prepared.coarse_names[label] for label in apples} == {
        "fruit_and_vegetables"
    }
    mean = images[::9].mean(axis=(0, 1, 2)) / 255
    assert mean == pytest.approx([0.507, 0.487, 0.441], abs=0.01)


@needs_cifar
def test_cifar100_ignores_the_image_size() -> None:
    prepared = prepare("cifar100", task=None, data_dir=DATA)
    assert prepared.folder == cifar().folder


@needs_cifar
def test_cifar100_is_no_segmentation_set() -> None:
    with pytest.raises(InputError, match="cifar100, which is for classification"):
        prepare("cifar100", task="segmentation", data_dir=DATA)


def test_tfds_sets_are_found_by_their_highest_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("9.0.0", "10.0.0", "incomplete"):
        (tmp_path / "beans" / version).mkdir(parents=True)
        (tmp_path / "beans" / version / "dataset_info.json").write_text("{}")
    assert find_version(tmp_path, "beans") == tmp_path / "beans" / "10.0.0"
    assert find_version(tmp_path, "beans:9.0.0") == tmp_path / "beans" / "9.0.0"
    assert find_version(tmp_path, "beans:8.0.0") is None
    assert tfds_root(tmp_path) == tmp_path / "tensorflow_datasets"
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "wins"))
    assert tfds_root(tmp_path) == tmp_path / "wins"


def different(count: int) -> np.ndarray:
    """Images of which no two are equal."""
    return np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), np.uint8)


def test_splits_that_tfds_lacks_are_cut_from_train() -> None:
    labels = np.tile(np.arange(4, dtype=np.int32), 30)
    images = different(120)
    parts = splits_of({"train": [0, 120]}, images, labels, seed=0)
    assert {name: len(rows) for name, rows in parts.items()} == {
        "train": 92,
        "validation": 12,
        "test": 16,
    }
    bounds = {"train": [0, 100], "test": [100, 120]}
    official = splits_of(bounds, images, labels, seed=0)
    assert official["test"].tolist() == list(range(100, 120))
    assert len(np.intersect1d(official["train"], official["validation"])) == 0


def test_an_official_test_split_without_labels_is_not_used() -> None:
    labels = np.array([0, 1] * 20 + [-1] * 5, np.int32)
    bounds = {"train": [0, 40], "test": [40, 45]}
    parts = splits_of(bounds, different(45), labels, seed=0)
    assert parts["test"].max() < 40


def test_a_cut_of_a_tfds_set_keeps_copies_on_one_side() -> None:
    labels = np.tile(np.arange(4, dtype=np.int32), 30)
    images = different(120)
    without = splits_of({"train": [0, 120]}, images, labels, seed=0)
    plain = cut(labels, {"validation": 0.1, "test": 0.15}, 0)
    assert all((without[name] == rows).all() for name, rows in plain.items())
    images[80:] = images[:40]  # of the same classes
    parts = splits_of({"train": [0, 120]}, images, labels, seed=0)
    owners = {row: name for name, rows in parts.items() for row in rows}
    assert len(owners) == 120
    assert all(owners[row] == owners[row + 80] for row in range(40))


def test_beside_an_official_test_split_validation_is_cut_as_it_always_was() -> None:
    """Studies of CIFAR-100, whose training images hold copies, depend on it."""
    labels = np.tile(np.arange(4, dtype=np.int32), 30)
    images = different(120)
    images[60:100] = images[:40]
    bounds = {"train": [0, 100], "test": [100, 120]}
    parts = splits_of(bounds, images, labels, seed=0)
    plain = cut(labels[:100], {"validation": 0.1}, 0)
    assert all((parts[name] == rows).all() for name, rows in plain.items())


def test_a_tfds_name_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no_such_set.*catalog"):
        run_reader({"name": "no_such_set", "root": str(tmp_path)})


def png(mode: str, value: int) -> bytes:
    buffer = io.BytesIO()
    image = Image.new(mode, (40, 30), value)
    if mode == "P":
        image.putpalette([0, 0, 0] * 256)
        image.putpixel((0, 0), 0)
        image.putpixel((1, 0), 255)
    image.save(buffer, "PNG" if mode == "P" else "JPEG")
    return buffer.getvalue()


def write_archive(path: Path, extra: dict[str, bytes]) -> None:
    names = [f"2007_{number:06d}" for number in range(8)]
    root = "VOCdevkit/VOC2012"
    files = {
        f"{root}/ImageSets/Segmentation/train.txt": "\n".join(names[:5]).encode(),
        f"{root}/ImageSets/Segmentation/val.txt": "\n".join(names[5:]).encode(),
        f"{root}/JPEGImages/2008_000001.jpg": png("L", 1),  # has no mask
        f"{root}/Annotations/2008_000001.xml": b"<x/>",
        **{f"{root}/JPEGImages/{name}.jpg": png("L", 99) for name in names},
        **{f"{root}/SegmentationClass/{name}.png": png("P", 15) for name in names},
        **extra,
    }
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def register(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = archive.read_bytes()
    monkeypatch.setattr(voc2012_archive, "BYTES", len(content))
    digest = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(voc2012_archive, "SHA256", digest)


def test_voc_is_unpacked_from_an_archive_in_the_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "data" / voc2012_archive.ARCHIVE
    archive.parent.mkdir()
    prefix = "VOCdevkit/VOC2012/JPEGImages/"
    write_archive(archive, {f"{prefix}../../../../out.jpg": b"x", "/tmp/out.txt": b""})
    register(archive, monkeypatch)
    prepared = prepare("voc2012", task=None, data_dir=archive.parent, image_size=32)
    assert prepared.sizes == {"train": 4, "validation": 1, "test": 3}
    assert prepared.class_counts["test"][1:] > [0, 0]
    devkit = archive.parent / "VOCdevkit" / "VOC2012"
    assert not (devkit / "Annotations").exists()
    assert not (devkit / "JPEGImages" / "2008_000001.jpg").exists()
    assert not (tmp_path / "out.jpg").exists()
    left = {path.name for path in archive.parent.iterdir()}
    assert left == {archive.name, "VOCdevkit", "downloads"}
    study = replace(ready_made("voc2012-unet"), image_size=32)
    remembered = replace(study, data_dir=str(archive.parent))
    assert prepared_data(remembered, None).fingerprint == prepared.fingerprint


def test_a_damaged_archive_is_refused_and_what_to_do_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / voc2012_archive.ARCHIVE).write_bytes(b"half of it")
    with pytest.raises(InputError, match=r"sha256.*Download http://host\.robots"):
        prepare("voc2012", task=None, data_dir=tmp_path)


def test_without_network_it_is_said_what_to_put_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(voc2012_archive, "why_unreachable", lambda url: "no network")
    with pytest.raises(InputError, match=r"no network.*Download http.*put it into"):
        prepare("voc2012", task=None, data_dir=tmp_path)


def test_a_devkit_without_lists_is_told(tmp_path: Path) -> None:
    (tmp_path / "VOCdevkit" / "VOC2012" / "JPEGImages").mkdir(parents=True)
    with pytest.raises(InputError, match="ImageSets/Segmentation"):
        prepare("voc2012", task=None, data_dir=tmp_path)


def test_a_set_whose_hosts_do_not_answer_is_not_waited_for() -> None:
    """tensorflow-datasets tries again for minutes. What a host answers is no matter."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        silent = f"http://127.0.0.1:{closed.getsockname()[1]}/train.zip"
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)  # answers 501
    threading.Thread(target=server.serve_forever, daemon=True).start()
    speaks = f"http://127.0.0.1:{server.server_port}/test.zip"
    cause = why_no_host_answers([silent, silent])
    assert cause and cause.count("127.0.0.1") == 1 and "refused" in cause
    assert why_no_host_answers([silent, speaks]) is None
    assert why_no_host_answers([]) is None
    server.shutdown()
    server.server_close()
