"""`init`: what it says of a folder is true, and what it writes can be searched."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from search.beginning.inputs import chosen_study
from search.beginning.study_files import read_study_file
from search.cli import run
from search.errors import InputError
from search.files import read_json
from search.init import init
from search.machine.devices import gpus
from search.paths import StudyPaths, study_paths
from search.studies import Study
from search.training.epoch_order import epoch_order


def picture(seed: int, size: tuple[int, int] = (90, 70)) -> Image.Image:
    """A smooth picture, as photographs are."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


def add(path: Path, image: Image.Image, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    for number in range(40):
        add(tmp_path / "flowers" / "rose" / f"{number:02}.jpg", picture(number))
    for number in range(12):
        add(tmp_path / "flowers" / "tulip" / f"{number:02}.jpg", picture(100 + number))
    return tmp_path / "flowers"


def problems_of(folder: Path, tmp_path: Path) -> dict[str, list[str]]:
    found = init(folder, tmp_path / "study.toml", overwrite=True)
    return {item["kind"]: item["examples"] for item in found["problems"]}


def test_a_sound_folder_has_no_problems(tmp_path: Path) -> None:
    for start, name in ((0, "cat"), (100, "dog")):
        for number in range(12):
            image = picture(start + number, (300, 260))
            add(tmp_path / "pets" / name / f"{number}.png", image)
    found = init(tmp_path / "pets", tmp_path / "study.toml")
    assert found["problems"] == []
    assert found["task"] == "classification"
    assert found["classes"] == {"cat": {"train": 12}, "dog": {"train": 12}}
    assert found["edges"] == {"least": 260, "median": 260, "greatest": 260}
    assert found["settings"]["hypermodel"] == "vgg16_transfer"
    assert found["settings"]["image_size"] == 224
    # An epoch of VGG16 on a CPU would take hours.
    backbone = {} if gpus() else {"backbone": "mobilenet_v2"}
    assert read_study_file(tmp_path / "study.toml")["fixed"] == backbone


def test_copies_are_found_also_where_they_were_saved_again(
    flowers: Path, tmp_path: Path
) -> None:
    with Image.open(flowers / "rose" / "03.jpg") as image:
        add(flowers / "rose" / "again.jpg", image, quality=60)
        add(flowers / "tulip" / "wrong.png", image)
    with Image.open(flowers / "rose" / "07.jpg") as image:
        add(flowers / "rose" / "copy.png", image)
    found = problems_of(flowers, tmp_path)
    assert found["the same image twice"] == ["rose/07.jpg = rose/copy.png"]
    (conflict,) = found["the same image in two classes"]
    assert {"rose/03.jpg", "rose/again.jpg", "tulip/wrong.png"} == set(
        conflict.split(" = ")
    )


def test_an_image_in_two_splits_is_found(tmp_path: Path) -> None:
    for split, start in (("train", 0), ("test", 20)):
        for number in range(start, start + 15):
            for place, name in enumerate(("cat", "dog")):
                image = picture(1000 * place + number)
                add(tmp_path / "pets" / split / name / f"{number}.png", image)
    add(tmp_path / "pets" / "test" / "cat" / "leak.jpg", picture(2))
    found = problems_of(tmp_path / "pets", tmp_path)
    assert found["the same image in two splits"] == [
        "train/cat/2.png = test/cat/leak.jpg"
    ]


def test_damaged_misnamed_tiny_and_blank_files_are_named(
    flowers: Path, tmp_path: Path
) -> None:
    (flowers / "rose" / "bad.jpg").write_text("no image")
    add(flowers / "rose" / "p.jpg", picture(200), format="PNG")
    add(flowers / "rose" / "icon.png", picture(201, (12, 12)))
    add(flowers / "rose" / "blank.png", Image.new("RGB", (80, 80), "white"))
    found = problems_of(flowers, tmp_path)
    assert "bad.jpg" in found["unreadable files"][0]
    assert found["files named for another format"] == ["rose/p.jpg"]
    assert found["images smaller than 16 pixels"] == ["rose/icon.png"]
    assert found["images of one colour"] == ["rose/blank.png"]
    assert found["uneven classes"] == ["44 against 12 images"]
    settings = read_study_file(tmp_path / "study.toml")
    assert settings["skip_unreadable"] is True
    assert settings["balance_classes"] is True


def test_plain_images_are_not_taken_for_copies(tmp_path: Path) -> None:
    for number in range(24):
        name = "day" if number % 2 else "night"
        level = np.full((40, 60, 3), 10 * number, np.uint8)
        level[number : number + 3, 5:9] = 255  # a small thing on a plain ground
        add(tmp_path / "sky" / name / f"{number}.png", Image.fromarray(level))
    assert not [
        kind for kind in problems_of(tmp_path / "sky", tmp_path) if "same" in kind
    ]


def test_segmentation_folders_and_empty_masks(tmp_path: Path) -> None:
    for number in range(8):
        mask = np.zeros((70, 90), np.uint8)
        mask[10:40, 10:50] = 255 * (number != 3)
        add(tmp_path / "cells" / "images" / f"{number}.jpg", picture(number))
        add(tmp_path / "cells" / "masks" / f"{number}.png", Image.fromarray(mask))
    found = init(tmp_path / "cells", tmp_path / "study.toml")
    assert found["task"] == "segmentation"
    assert found["settings"]["hypermodel"] == "mobilenet_unet"
    assert [item["kind"] for item in found["problems"]] == ["masks without foreground"]


def test_masks_that_would_be_void_or_do_not_fit_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(8):
        height = 35 if number == 5 else 70
        mask = np.zeros((height, 90), np.uint8)
        mask[10:30, 10:50] = 255 if number in (3, 4) else 1
        add(tmp_path / "cells" / "images" / f"{number}.jpg", picture(number))
        add(tmp_path / "cells" / "masks" / f"{number}.png", Image.fromarray(mask))
    (tmp_path / "cells" / "masks" / "notes.txt").touch()
    assert run(["init", "cells"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "255 is void, others foreground" in told
    assert "masks of 0 and 255 beside masks with other values: 2." in told
    assert "unreadable files: 1." in told and "masks/5.png of 90×35" in told
    assert "Left out 1 file: no image" in told
    assert read_study_file(tmp_path / "study.toml")["skip_unreadable"] is True


def test_the_written_study_is_what_search_runs(
    flowers: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["init", "flowers"]) == 0
    file = tmp_path / "study.toml"
    text = file.read_text().replace('"vgg16_transfer"', '"convnet"')
    text = text.replace('backbone = "mobilenet_v2"', "#")
    text = text.replace("image_size = 64", "image_size = 32")
    text = text.replace("epochs = 27", 'epochs = 1\ntrials = 1\ntuner = "random"')
    fixed = "stages = 2\nblocks_per_stage = 1\nbase_filters = 16\nbatch_size = 16\n"
    file.write_text(text + fixed)
    assert run(["search", "study.toml", "--workers", "0"]) == 0
    study = read_json(tmp_path / "results" / "flowers" / "study.json")["study"]
    assert study["balance_classes"] is True
    assert study["dataset"] == "flowers"
    (trial,) = read_json(tmp_path / "results" / "flowers" / "trials.json")
    assert trial["state"] == "COMPLETED"
    assert trial["values"]["base_filters"] == 16
    assert run(["trials", "study.toml"]) == 0  # the file stands for its study
    # A line that is taken out again does not change a study that was begun.
    file.write_text(text)
    capsys.readouterr()
    assert run(["search", "study.toml", "--workers", "0"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "as it was begun" in told and "base_filters=16" in told


def test_a_study_file_names_its_objectives_as_the_command_line_does(
    tmp_path: Path,
) -> None:
    file = tmp_path / "study.toml"
    text = '[study]\ndataset = "shapes"\nhypermodel = "convnet"\nobjective = '

    def study() -> Study:
        return chosen_study(
            *(str(file), None, None, None, {}),
            lambda name: study_paths(name, tmp_path, tmp_path),
        )

    file.write_text(f'{text}"val_loss"\n')
    assert (study().objective, study().direction) == ("val_loss", "min")
    file.write_text(f'{text}["val_accuracy", "latency_ms"]\n')
    assert (study().objective, study().direction) == ("val_accuracy", "max")
    assert study().further_objectives == ["latency_ms"]


def test_a_study_file_is_found_from_another_folder(
    flowers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    init(flowers, tmp_path / "study.toml")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    study = chosen_study(
        "../study.toml",
        None,
        None,
        None,
        {"epochs": 3},
        lambda name: study_paths(name, tmp_path, tmp_path),
    )
    assert (Path(study.dataset) / "rose").is_dir()
    assert (study.name, study.epochs, study.image_size) == ("flowers", 3, 64)


def test_another_name_counts_beside_a_study_file(
    flowers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    init(flowers, tmp_path / "study.toml")
    monkeypatch.chdir(tmp_path)
    of: list[str] = []

    def paths_of(name: str) -> StudyPaths:
        of.append(name)
        return study_paths(name, tmp_path, tmp_path)

    assert chosen_study("study.toml", "x", None, None, {}, paths_of).name == "x"
    assert of == ["x"]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("[study\n", "a TOML file"),
        ('[study]\ndataset = "x"\n', "hypermodel in [study]"),
        ("[study]\nepoch = 3\n", "Did you mean epochs?"),
        ("[studdy]\n", "'studdy'"),
        ("study = 1\n", "[study] in "),
        ('[study]\nepochs = "9"\n', "a whole number. Received: '9'"),
        ("[study]\nepochs = 2.5\n", "a whole number. Received: 2.5"),
        ("[study]\nepochs = true\n", "a whole number. Received: True"),
        ('[study]\nstart_from = "baselines"\n', "a list of strings"),
        ("[study]\nobjective = 1\n", "a string or a list of strings"),
        ("[narrowed]\nrate = [[0.1, 0.2]]\n", "a list of choices for rate"),
        ("[narrowed]\nrate = 2020-01-01\n", "a list of choices for rate"),
        ('[study]\ndataset = "x"\nhypermodel = "unet"\nobjective = "dice"\n', "val_…"),
    ],
)
def test_mistakes_in_a_study_file_are_named(
    text: str, part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "study.toml").write_text(text)
    assert run(["search", str(tmp_path / "study.toml")]) == 2
    (error,) = capsys.readouterr().err.strip().splitlines()
    assert part in error


def test_init_never_overwrites_unasked(flowers: Path, tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    file.write_text("mine")
    with pytest.raises(InputError, match="--overwrite"):
        init(flowers, file)
    assert file.read_text() == "mine"


def test_json_is_one_document(
    flowers: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["init", "flowers", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 52


def test_a_balanced_epoch_shows_every_class_equally_often() -> None:
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    order = epoch_order(0, 4, 100, labels)
    counts = np.bincount(labels[order])
    assert order.shape == (100,)
    assert counts.max() - counts.min() <= 2
    seen = [np.unique(order[labels[order] == c]).size for c in range(3)]
    assert seen[1:] == [30, 10]  # all of a small class before any again
    assert not np.array_equal(order, epoch_order(0, 5, 100, labels))
    np.testing.assert_array_equal(order, epoch_order(0, 4, 100, labels))


def test_a_plain_epoch_shows_every_image_once() -> None:
    masks = np.zeros((50, 8, 8), np.uint8)
    for targets in (None, masks):
        np.testing.assert_array_equal(
            np.sort(epoch_order(1, 2, 50, targets)), np.arange(50)
        )


def test_a_file_that_search_would_not_take_is_refused(flowers: Path) -> None:
    with pytest.raises(InputError, match=r"ends in \.toml"):
        init(flowers, flowers.parent / "flowers.cfg")


def test_where_no_file_can_be_used_the_reason_is_told(tmp_path: Path) -> None:
    for number in range(4):
        mask = np.zeros((20 + number, 30), np.uint8)
        add(tmp_path / "cells" / "images" / f"{number}.jpg", picture(number))
        add(tmp_path / "cells" / "masks" / f"{number}.png", Image.fromarray(mask))
    with pytest.raises(InputError, match=r"the first: .*masks/0\.png of 30×20"):
        init(tmp_path / "cells", tmp_path / "study.toml")


def test_masks_with_soft_edges_are_told(tmp_path: Path) -> None:
    for number in range(4):
        mask = np.zeros((70, 90), np.uint8)
        mask[20:40, 20:50] = 255
        soft = Image.fromarray(mask).filter(ImageFilter.GaussianBlur(2))
        add(tmp_path / "cells" / "images" / f"{number}.jpg", picture(number))
        add(tmp_path / "cells" / "masks" / f"{number}.png", soft)
    assert len(problems_of(tmp_path / "cells", tmp_path)["masks with soft edges"]) == 4
