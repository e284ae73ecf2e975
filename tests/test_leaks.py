"""A test image that was also trained on is found, and refused where it is a mistake."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search.beginning.leaks import (
    copied_test_images,
    near_copies,
    refuse_changed_test,
    refuse_copies,
    thumbnails,
)
from search.beginning.study_record import record_study
from search.cli import run
from search.datasets import prepare
from search.errors import InputError
from search.paths import study_paths
from search.records import Trial, write_records
from search.studies import Study


def save_images(folder, per_split=6, edge=24):
    rng = np.random.default_rng(3)
    for split in ("train", "validation", "test"):
        for name in ("rose", "tulip"):
            place = folder / split / name
            place.mkdir(parents=True)
            for number in range(per_split):
                # Smooth, as photographs are.
                small = rng.integers(0, 255, (6, 6, 3), np.uint8)
                picture = Image.fromarray(small).resize((edge, edge))
                picture.save(place / f"{split}{number}.png")
    return folder


@pytest.fixture
def flowers(tmp_path, monkeypatch):
    monkeypatch.setenv("VISION_TUNER_CACHE", str(tmp_path / "cache"))
    return save_images(tmp_path / "flowers")


def leak(flowers):
    copied = (flowers / "train" / "rose" / "train0.png").read_bytes()
    (flowers / "test" / "rose" / "test2.png").write_bytes(copied)


def test_clean_images_have_no_copies(flowers):
    data = prepare(str(flowers), task="classification")
    assert copied_test_images(data) == {}
    assert refuse_copies(data) == []
    test, _ = data.open("test", "classification")
    refuse_changed_test(data, test)
    seen = [data.open(split, "classification")[0] for split in ("train", "validation")]
    assert near_copies(test, seen) == 0


def test_a_copy_in_the_test_split_is_refused_with_both_names(flowers):
    leak(flowers)
    data = prepare(str(flowers), task="classification")
    with pytest.raises(InputError, match=r"test2\.png = train .*train0\.png"):
        refuse_copies(data)


def test_search_refuses_a_leak_before_anything_is_trained(
    flowers, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    leak(flowers)
    assert run(["search", "--dataset", "flowers", "--hypermodel", "convnet"]) == 2
    assert "test2.png = train" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_a_cut_by_seed_keeps_copies_on_one_side(flowers):
    """Which of them is where would be luck, and finalize would refuse them."""
    pictures = flowers / "train"
    for name in ("rose", "tulip"):
        for number in range(6):
            copied = (pictures / name / f"train{number}.png").read_bytes()
            (pictures / name / f"copy{number}.png").write_bytes(copied)
    for seed in range(5):
        data = prepare(str(pictures), task="classification", seed=seed)
        assert copied_test_images(data) == {}
        assert sum(data.sizes.values()) == 24
        owners = [set(map(bytes, data.digests(s))) for s in data.sizes]
        assert sum(map(len, owners)) == 12


def test_copies_are_not_moved_between_splits_that_were_given(flowers):
    leak(flowers)
    shutil.rmtree(flowers / "validation")
    data = prepare(str(flowers), task="classification")
    assert data.sizes["test"] == 12 and len(copied_test_images(data)) == 1


def paint_black(flowers, *places):
    for place in places:
        Image.new("RGB", (24, 24)).save(flowers / place)


def test_images_of_one_colour_are_no_copies(flowers):
    """Black tiles are equal, and there would be no way on."""
    paint_black(flowers, "train/rose/train0.png", "test/tulip/test1.png")
    data = prepare(str(flowers), task="classification")
    assert refuse_copies(data) == []
    leak(flowers)
    shutil.copy(flowers / "train/rose/train1.png", flowers / "test/rose/test2.png")
    data = prepare(str(flowers), task="classification")
    with pytest.raises(InputError, match=r"1 with the same .*1 more of one colour"):
        refuse_copies(data)


def test_a_cut_by_seed_spreads_images_of_one_colour(flowers):
    pictures = flowers / "train"
    for name in ("rose", "tulip"):
        for number in range(40):
            Image.new("RGB", (24, 24)).save(pictures / name / f"black{number}.png")
    data = prepare(str(pictures), task="classification")
    black = {
        split: sum("black" in name for name in data.names(split))
        for split in data.sizes
    }
    assert sum(black.values()) == 80 and min(black.values()) >= 5
    assert refuse_copies(data) == []


def test_copies_in_published_splits_are_counted(flowers):
    leak(flowers)
    data = prepare(str(flowers), task="classification")
    (row,) = copied_test_images(data)
    assert refuse_copies(replace(data, name="cifar100")) == [row]


def test_test_images_that_were_changed_after_their_preparation_are_refused(flowers):
    data = prepare(str(flowers), task="classification")
    changed = np.array(data.open("test", "classification")[0])
    changed[0, 0, 0, 0] ^= 1
    with pytest.raises(InputError, match="the test images that were prepared"):
        refuse_changed_test(data, changed)


def test_near_copies_are_told_from_images_that_only_resemble():
    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (30, 6, 6, 3), np.uint8)
    images = np.stack([np.asarray(Image.fromarray(i).resize((32, 32))) for i in small])
    noise = rng.normal(0, 3, images[:4].shape)
    brighter = np.clip(images[:4].astype(float) + noise + 2, 0, 255).astype(np.uint8)
    assert near_copies(brighter, [images[4:], images[:4]]) == 4
    assert near_copies(images[:10], [images[10:]]) == 0
    assert thumbnails(images).shape == (30, 64)
    assert np.isfinite(thumbnails(np.zeros((2, 9, 13, 3), np.uint8))).all()


def test_finalize_refuses_a_leak_before_anything_is_trained(
    flowers, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    leak(flowers)
    data = prepare("flowers", task="classification")
    study = Study("leaky", "classification", "flowers", "convnet", epochs=3)
    paths = study_paths("leaky", Path("results"), Path("tensorboard_logs"))
    record_study(paths, study, {"hashes": data.hashes}, "mark", "vision-tuner search")
    trial = Trial("0000", "COMPLETED", 0.5, 3, 3, values={"stages": 2})
    write_records(paths.trials, [trial])
    before = sorted(os.listdir(paths.folder))  # noqa: PTH208
    assert run(["finalize", "leaky", "--workers", "0"]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "not also trained on" in error
    assert "train0.png" in error
    assert sorted(os.listdir(paths.folder)) == before  # noqa: PTH208


def test_finalize_refuses_other_images_than_the_search_s(
    flowers, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    data = prepare("flowers", task="classification")
    study = Study("moved", "classification", "flowers", "convnet", epochs=3)
    paths = study_paths("moved", Path("results"), Path("tensorboard_logs"))
    others = data.hashes | {"validation": "another"}
    record_study(paths, study, {"hashes": others}, "mark", "vision-tuner search")
    write_records(
        paths.trials, [Trial("0000", "COMPLETED", 0.5, 3, 3, values={"stages": 2})]
    )
    assert run(["finalize", "moved", "--workers", "0"]) == 2
    assert "the images the search was run on" in capsys.readouterr().err
