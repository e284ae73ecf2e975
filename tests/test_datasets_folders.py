"""The user's own folders: layouts, conventions, and what is said of mistakes."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search.cli import run
from search.datasets import PreparedDataset, check_foreground, prepare
from search.errors import InputError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VISION_TUNER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def add_images(folder: Path, count: int, seed: int = 0, suffix: str = "png") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, *folder.name.encode()])
    for number in range(count):
        size = (int(rng.integers(8, 40)), int(rng.integers(8, 40)), 3)
        pixels = rng.integers(0, 256, size, np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02d}.{suffix}")


def add_pair(base: Path, stem: str, mask: np.ndarray) -> None:
    for name in ("images", "masks"):
        (base / name).mkdir(parents=True, exist_ok=True)
    colour = tuple(np.random.default_rng([*stem.encode()]).integers(0, 256, 3))
    image = Image.new("RGB", mask.shape[::-1], colour)
    image.save(base / "images" / f"{stem}.jpg")
    Image.fromarray(mask).save(base / "masks" / f"{stem}.png")


def masks_with(values: list[int]) -> np.ndarray:
    return np.resize(np.array(values, np.uint8), (16, 24))


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    add_images(tmp_path / "pets" / "cat", 20)
    add_images(tmp_path / "pets" / "dog", 10, suffix="JPG")
    return tmp_path / "pets"


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    for number in range(10):
        add_pair(tmp_path / "cells", f"c{number}", masks_with([0, 0, 255]))
    return tmp_path / "cells"


def opened(prepared: PreparedDataset, split: str) -> tuple[np.ndarray, np.ndarray]:
    return prepared.open(split, prepared.task)


def test_class_folders_are_cut_into_stratified_splits(pets: Path) -> None:
    prepared = prepare(str(pets), task=None)
    assert prepared.task == "classification"
    assert prepared.class_names == ["cat", "dog"]
    assert prepared.class_counts == {
        "train": [14, 6],
        "validation": [3, 2],
        "test": [3, 2],
    }
    names = [name for split in prepared.sizes for name in prepared.names(split)]
    assert len(set(names)) == 30
    assert "dog/00.JPG" in names
    assert prepared.image_shape == (64, 64, 3)


def test_images_keep_their_labels(pets: Path) -> None:
    prepared = prepare(str(pets), task=None, image_size=16)
    images, labels = opened(prepared, "test")
    for name, image, label in zip(prepared.names("test"), images, labels, strict=True):
        assert name.startswith(prepared.class_names[label])
        with Image.open(pets / name) as stored:
            expected = stored.convert("RGB").resize((16, 16), 2)
        assert (np.asarray(expected) == image).all()


@pytest.mark.parametrize("place", ["moved", "moved/pets"])
def test_a_moved_folder_is_found_in_data_dir(
    pets: Path, tmp_path: Path, place: str
) -> None:
    first = prepare(str(pets), task=None)
    (tmp_path / "moved").mkdir()
    shutil.move(pets, tmp_path / "moved" / "pets")
    with pytest.raises(InputError, match="--data-dir"):
        prepare(str(pets), task=None)
    moved = prepare(str(pets), task=None, data_dir=tmp_path / place)
    assert moved.fingerprint == first.fingerprint
    assert moved.name == str(pets)


def test_the_same_files_elsewhere_are_the_same_data(pets: Path, tmp_path: Path) -> None:
    first = prepare(str(pets), task=None)
    shutil.copytree(pets, tmp_path / "moved" / "pets")
    moved = prepare(str(tmp_path / "moved" / "pets"), task=None)
    assert moved.folder == first.folder
    assert moved.name.endswith("moved/pets")
    # Also with other times, as after a download: prepared again, but the same.
    shutil.copytree(pets, tmp_path / "new", copy_function=shutil.copyfile)
    again = prepare(str(tmp_path / "new"), task=None)
    assert again.folder != first.folder
    assert again.fingerprint == first.fingerprint


def test_a_changed_file_is_prepared_again(pets: Path) -> None:
    first = prepare(str(pets), task=None)
    Image.new("RGB", (9, 9)).save(pets / "cat" / "00.png")
    again = prepare(str(pets), task=None)
    assert again.fingerprint != first.fingerprint


@pytest.mark.parametrize("validation", ["validation", "val", "valid"])
def test_given_splits_are_kept_under_their_usual_names(
    tmp_path: Path, validation: str
) -> None:
    for split, count in (("train", 6), (validation, 3), ("test", 4)):
        for name in ("a", "b"):
            add_images(tmp_path / "own" / split / name, count)
    prepared = prepare(str(tmp_path / "own"), task="classification")
    assert prepared.sizes == {"train": 12, "validation": 6, "test": 8}
    assert prepared.names("validation")[0] == f"{validation}/a/00.png"


def test_a_missing_validation_split_is_cut_from_train(tmp_path: Path) -> None:
    for split, count in (("train", 20), ("test", 5)):
        for name in ("a", "b"):
            add_images(tmp_path / "own" / split / name, count)
    prepared = prepare(str(tmp_path / "own"), task=None)
    assert prepared.sizes == {"train": 34, "validation": 6, "test": 10}
    assert all(name.startswith("train/") for name in prepared.names("validation"))


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for name in ("car", "train"):
        add_images(tmp_path / name, 5)
    prepared = prepare(str(tmp_path), task=None)
    assert "train" in prepared.class_names


def test_images_and_masks_are_a_segmentation_set(cells: Path) -> None:
    prepared = prepare(str(cells), task=None)
    assert prepared.task == "segmentation"
    assert prepared.sizes == {"train": 6, "validation": 2, "test": 2}
    images, masks = opened(prepared, "train")
    assert images.shape == (6, 128, 128, 3)
    assert set(np.unique(masks)) == {0, 1}


def test_255_is_void_where_masks_hold_other_values(cells: Path) -> None:
    for number in range(9):  # c9 keeps 0 and 255
        add_pair(cells, f"c{number}", masks_with([0, 7, 255]))
    lines: list[str] = []
    prepared = prepare(str(cells), task=None, say=lines.append)
    found = [set(np.unique(opened(prepared, split)[1])) for split in prepared.sizes]
    assert set.union(*found) == {0, 1, 255}
    assert any("255 is void" in line for line in lines)


def test_zero_and_one_need_no_convention(tmp_path: Path) -> None:
    for number in range(4):
        add_pair(tmp_path / "own", f"c{number}", masks_with([0, 1]))
    prepared = prepare(str(tmp_path / "own"), task="segmentation", image_size=16)
    background, foreground, void = prepared.class_counts["train"]
    assert foreground > 0
    assert background > 0
    assert void == 0


def test_segmentation_splits_may_lie_above(tmp_path: Path) -> None:
    for split, count in (("train", 5), ("val", 2), ("test", 3)):
        for number in range(count):
            add_pair(tmp_path / "own" / split, f"{number}", masks_with([0, 1, 2]))
    prepared = prepare(str(tmp_path / "own"), task=None, image_size=16)
    assert prepared.sizes == {"train": 5, "validation": 2, "test": 3}


def test_damaged_files_are_named_and_can_be_skipped(pets: Path) -> None:
    (pets / "cat" / "03.png").write_bytes(b"")
    (pets / "dog" / "04.JPG").write_bytes(b"\xff\xd8\xff\xe0 cut")
    with pytest.raises(InputError, match=r"cat/03\.png, which is empty.*--skip"):
        prepare(str(pets), task=None)
    lines: list[str] = []
    prepared = prepare(str(pets), task=None, skip_unreadable=True, say=lines.append)
    assert [item["file"] for item in prepared.skipped] == ["cat/03.png", "dog/04.JPG"]
    assert "empty" in prepared.skipped[0]["reason"]
    assert sum(prepared.sizes.values()) == 28
    assert "Left out 2 files: cannot be read" in lines


def test_skipping_moves_no_other_image_to_another_split(pets: Path) -> None:
    before = prepare(str(pets), task=None)
    kept = {split: set(before.names(split)) for split in before.sizes}
    (pets / "cat" / "03.png").write_bytes(b"")
    after = prepare(str(pets), task=None, skip_unreadable=True)
    for split, names in kept.items():
        assert set(after.names(split)) == names - {"cat/03.png"}


def test_other_files_are_left_out_and_counted(pets: Path) -> None:
    (pets / "cat" / "notes.txt").write_text("x")
    (pets / "cat" / ".DS_Store").write_text("x")
    (pets / "__MACOSX").mkdir()
    lines: list[str] = []
    prepared = prepare(str(pets), task=None, say=lines.append)
    assert prepared.class_names == ["cat", "dog"]
    assert "Left out 1 file: no image" in lines


def test_the_task_must_fit_the_layout(pets: Path, cells: Path) -> None:
    with pytest.raises(InputError, match=r"for segmentation.*is for classification"):
        prepare(str(pets), task="segmentation")
    with pytest.raises(InputError, match=r"for classification.*is for segmentation"):
        prepare(str(cells), task="classification")


def test_empty_and_odd_folders_are_explained(tmp_path: Path) -> None:
    root = tmp_path / "own"
    root.mkdir()
    with pytest.raises(InputError, match=r"images in .*own.*DIR/<class>"):
        prepare(str(root), task=None)
    add_images(root / "cat", 5)
    with pytest.raises(InputError, match="at least 2 classes"):
        prepare(str(root), task=None)
    add_images(root / "dog", 2)
    with pytest.raises(InputError, match=r"at least 3 images in .*dog.*Received: 2"):
        prepare(str(root), task=None)


def test_a_class_without_training_images_is_named(tmp_path: Path) -> None:
    for name in ("a", "b"):
        add_images(tmp_path / "own" / "train" / name, 5)
    add_images(tmp_path / "own" / "test" / "c", 5)
    with pytest.raises(InputError, match=r"test/c.*Add its training images"):
        prepare(str(tmp_path / "own"), task=None)


def test_an_image_without_mask_is_named(cells: Path) -> None:
    (cells / "masks" / "c3.png").unlink()
    with pytest.raises(InputError, match=r"images/c3\.jpg.*masks/c3\.png"):
        prepare(str(cells), task=None)


def test_all_images_without_mask_are_counted_and_other_names_pointed_out(
    cells: Path,
) -> None:
    for number in (3, 4, 5):
        mask = cells / "masks" / f"c{number}.png"
        mask.rename(mask.with_stem(f"c{number}_mask"))
    with pytest.raises(
        InputError,
        match=r"c3\.jpg \(and of 2 more images\).*c3\.png, but c3_mask\.png .*one name",
    ):
        prepare(str(cells), task=None)


def test_a_mask_without_image_is_named(cells: Path) -> None:
    (cells / "images" / "c3.jpg").unlink()
    with pytest.raises(InputError, match=r"image of the mask .*masks/c3\.png"):
        prepare(str(cells), task=None)


def test_a_mask_of_another_size_is_named(cells: Path) -> None:
    Image.new("L", (9, 9), 255).save(cells / "masks" / "c3.png")
    with pytest.raises(InputError, match=r"24×16.*c3\.jpg.*c3\.png of 9×9"):
        prepare(str(cells), task=None)


def test_masks_without_foreground_are_refused(tmp_path: Path) -> None:
    for number in range(4):
        add_pair(tmp_path / "own", f"c{number}", masks_with([0]))
    with pytest.raises(InputError, match="foreground"):
        prepare(str(tmp_path / "own"), task=None)


def test_one_mask_with_soft_edges_does_not_make_255_void_in_all(cells: Path) -> None:
    grey = np.repeat(np.array([0, 60, 120, 140, 170, 200, 230, 255], np.uint8), 48)
    add_pair(cells, "c7", grey.reshape(16, 24))
    with pytest.raises(InputError, match=r"grey in .*masks/c7\.png.*Threshold the"):
        prepare(str(cells), task=None)
    add_pair(cells, "c2", grey.reshape(16, 24))
    with pytest.raises(InputError, match=r"masks/c2\.png and 1 other.*class indices"):
        prepare(str(cells), task=None)


def test_many_classes_from_128_on_are_no_soft_edges(cells: Path) -> None:
    """Beside nothing that says 255 is an object, as in COCO-Stuff."""
    for number in range(10):
        classes = np.repeat(np.array([0, 130, 140, 150, 160, 255], np.uint8), 64)
        add_pair(cells, f"c{number}", classes.reshape(16, 24))
    _, foreground, void = prepare(str(cells), task=None).class_counts["train"]
    assert foreground and void


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_split_of_masks_without_foreground_is_refused(
    tmp_path: Path, split: str
) -> None:
    for name in ("train", "validation", "test"):
        stripes = [0, 255] if name == split else [0, 1, 255]
        mask = masks_with(np.repeat(stripes, 8).tolist())
        for number in range(4):
            add_pair(tmp_path / "own" / name, f"{number}", mask)
    prepared = prepare(str(tmp_path / "own"), task=None, image_size=16)
    with pytest.raises(InputError, match=rf"foreground in .* {split} .*none in 4"):
        check_foreground(prepared)


def test_two_images_of_one_name_are_refused(cells: Path) -> None:
    Image.new("RGB", (24, 16)).save(cells / "images" / "c3.png")
    with pytest.raises(InputError, match=r"c3\.jpg and .*c3\.png"):
        prepare(str(cells), task=None)


def test_links_to_files_are_followed_and_dead_ones_named(
    pets: Path, tmp_path: Path
) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "real.png")
    (pets / "cat" / "link.png").symlink_to(tmp_path / "real.png")
    assert sum(prepare(str(pets), task=None).sizes.values()) == 31
    (tmp_path / "real.png").unlink()
    with pytest.raises(InputError, match=r"link\.png, which leads nowhere"):
        prepare(str(pets), task=None)


def test_what_commands_write_beside_the_images_is_no_class(pets: Path) -> None:
    before = prepare(str(pets), task=None)
    (pets / "results" / "pets-convnet").mkdir(parents=True)
    (pets / "tensorboard_logs" / "pets-convnet").mkdir(parents=True)
    assert prepare(str(pets), task=None).fingerprint == before.fingerprint
    add_images(pets / "results", 10)  # a class of that name has images
    assert prepare(str(pets), task=None).class_names == ["cat", "dog", "results"]


@pytest.mark.parametrize("names", [("image", "mask"), ("Images", "Masks")])
def test_misnamed_images_and_masks_are_no_two_classes(
    cells: Path, names: tuple[str, str]
) -> None:
    for before, after in zip(("images", "masks"), names, strict=True):
        (cells / before).rename(cells / f"{after}-")
        (cells / f"{after}-").rename(cells / after)
    with pytest.raises(InputError, match=r"folders images and masks in .*Rename"):
        prepare(str(cells), task=None)


@pytest.mark.parametrize(
    ("hypermodel", "edge"),
    [("vgg16_transfer", 16), ("unet", 10), ("mobilenet_unet", 24)],
)
def test_images_too_small_for_a_network_are_told_in_one_line(
    hypermodel: str,
    edge: int,
    pets: Path,
    cells: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = pets if hypermodel == "vgg16_transfer" else cells
    words = ["search", "--dataset", str(folder), "--hypermodel", hypermodel]
    words += ["--weights", "none", "--image-size", str(edge), "--dry-run"]
    words += ["--results-dir", str(tmp_path / "r"), "--logs-dir", str(tmp_path / "l")]
    assert run(words) == 2
    *_, error = capsys.readouterr().err.strip().splitlines()
    assert f"Received: {edge}" in error and "Choose another --image-size" in error


def test_one_mask_of_ones_does_not_make_255_void_in_all(cells: Path) -> None:
    add_pair(cells, "other", masks_with([0, 1]))
    with pytest.raises(InputError, match=r"agree on what 255 means.*other\.png"):
        prepare(str(cells), task="segmentation", image_size=16)


def test_void_without_an_object_is_void_where_others_have_both(cells: Path) -> None:
    for number in range(12):
        add_pair(cells, f"classes{number}", masks_with([0] * 8 + [3] * 8 + [255] * 8))
    prepared = prepare(str(cells), task="segmentation", image_size=16)
    assert {0, 1, 255} == set(np.unique(opened(prepared, "train")[1]).tolist())


def test_images_as_good_as_black_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "dark" / name).mkdir(parents=True)
        for number in range(5):
            values = rng.integers(0, 4096, (9, 9)).astype(np.uint16)
            Image.fromarray(values).save(tmp_path / "dark" / name / f"{number}.png")
    with pytest.raises(InputError, match="multiply by 16"):
        prepare(str(tmp_path / "dark"), task="classification", image_size=16)


def test_a_class_of_copies_is_named(tmp_path: Path) -> None:
    add_images(tmp_path / "pets" / "cat", 8)
    for number in range(4):
        add_images(tmp_path / "other", 1)
        (tmp_path / "pets" / "dog").mkdir(exist_ok=True)
        shutil.copy(tmp_path / "other" / "00.png", tmp_path / f"pets/dog/{number}.png")
    with pytest.raises(InputError, match=r"different images.*1 of dog"):
        prepare(str(tmp_path / "pets"), task="classification", image_size=16)


def test_a_file_name_that_is_no_text_is_told_before_anything_is_read(
    pets: Path,
) -> None:
    name = os.fsencode(pets / "cat") + b"/caf\xe9.png"
    try:
        shutil.copy(pets / "cat" / "00.png", name)
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    with pytest.raises(InputError, match=r"UTF-8.*caf.udce9\.png"):
        prepare(str(pets), task="classification", image_size=16)
