"""Predict as a user types it: files of every kind in, rows and pictures out."""

import csv
import importlib
import importlib.util
import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from search.errors import InputError
from search.exporting.descriptions import (
    Description,
    embed_description,
    read_description,
)
from search.exporting.formats import FORMATS
from search.exporting.predictors import resolve_model
from search.predict import predict, print_predictions

CLASSES = ["red", "green", "blue", "none"]
MASKS = ["background", "foreground"]


def save(model, path, description=None):
    model.save(path)
    if description is not None:
        embed_description(path, description)
    return path


def colour_model(channels=3):
    """The class is the strongest of the three colours; size 8 × 12."""
    inputs = keras.Input((8, 12, channels))
    mean = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 16)(inputs))
    dense = keras.layers.Dense(4, activation="softmax")
    model = keras.Model(inputs, dense(mean))
    dense.set_weights([np.eye(channels, 4), np.array([0, 0, 0, 1.0])])
    return model


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "ensemble.keras"
    about = Description("classification", CLASSES, [8, 12, 3])
    return save(colour_model(), path, about)


def red_model():
    """A pixel's foreground probability is its red value; size 16 × 16."""
    inputs = keras.Input((16, 16, 3))
    conv = keras.layers.Conv2D(1, 1)
    model = keras.Model(inputs, conv(keras.layers.Rescaling(1 / 255)(inputs)))
    conv.set_weights([np.array([1.0, 0, 0]).reshape(1, 1, 3, 1), np.zeros(1)])
    return model


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory):
    """The red model, cut at 0.7."""
    path = tmp_path_factory.mktemp("models") / "masks.keras"
    about = Description("segmentation", MASKS, [16, 16, 3], 0.7)
    return save(red_model(), path, about)


def picture(path, colour, size=(20, 10)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def table(folder):
    with (folder / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_classes_are_named_in_the_order_of_the_images(classifier, tmp_path):
    files = [
        picture(tmp_path / f"{number}.png", colour)
        for number, colour in enumerate(["blue", "red", "black", (0, 255, 0), "blue"])
    ]
    out = tmp_path / "out"
    rows = predict(classifier, files, output_dir=out, batch_size=2, top=2)
    assert [row["class"] for row in rows] == ["blue", "red", "none", "green", "blue"]
    assert [row["path"] for row in rows] == [str(path) for path in files]
    for row in rows:
        assert row["top"][0] == {key: row[key] for key in ("class", "probability")}
        assert row["probability"] >= row["top"][1]["probability"]
        assert len(row["top"]) == 2
    written = table(out)
    assert [line["class"] for line in written] == [row["class"] for row in rows]
    assert float(written[0]["probability_2"]) == rows[0]["top"][1]["probability"]


def test_all_classes_are_listed_where_fewer_than_top(classifier, tmp_path):
    image = picture(tmp_path / "a.png", "red")
    [row] = predict(classifier, [image], output_dir=tmp_path / "out", top=99)
    assert sorted(item["class"] for item in row["top"]) == sorted(CLASSES)
    assert sum(item["probability"] for item in row["top"]) == pytest.approx(1.0)


def save_turned(path):
    # Left half red as stored; EXIF says: turn by 180 degrees.
    image = Image.new("RGB", (20, 10), "black")
    image.paste("red", (0, 0, 10, 10))
    exif = Image.Exif()
    exif[0x0112] = 3
    image.save(path, exif=exif, quality=95)


def test_a_mask_has_the_size_of_its_upright_image(segmenter, tmp_path):
    save_turned(tmp_path / "my photo.jpg")
    out = tmp_path / "out"
    [row] = predict(segmenter, [tmp_path / "my photo.jpg"], output_dir=out)
    mask = np.asarray(Image.open(row["mask"]))
    assert mask.shape == (10, 20)
    assert set(np.unique(mask)) == {0, 255}
    np.testing.assert_array_equal(mask[:, :9], 0)
    np.testing.assert_array_equal(mask[:, 12:], 255)
    assert row["foreground_fraction"] == (mask == 255).mean()
    assert row["mask"] == str(out / "my photo_mask.png")


def test_probabilities_are_resized_before_they_are_cut(segmenter, tmp_path):
    image = Image.new("L", (16, 16), 0)
    image.paste(255, (8, 0, 16, 16))
    image.resize((160, 160), Image.Resampling.NEAREST).save(tmp_path / "step.png")
    [row] = predict(segmenter, [tmp_path / "step.png"], output_dir=tmp_path / "out")
    mask = np.asarray(Image.open(row["mask"])) == 255
    # Reduced (with antialiasing), the step is 0.125 | 0.875 at the centres 75 and 85
    # of two network pixels, and between them 0.7 is reached at 82.67.
    np.testing.assert_array_equal(mask, np.arange(160)[None] >= np.full((160, 1), 83))


@pytest.mark.parametrize("size", [(1, 1), (3, 400), (2000, 900), (900, 4000), (32, 32)])
def test_previews_show_image_and_mask_side_by_side(segmenter, tmp_path, size):
    image = picture(tmp_path / "a.png", "red", size)
    [row] = predict(segmenter, [image], output_dir=tmp_path / "out")
    with Image.open(row["preview"]) as preview:
        width, height = preview.size
        left = preview.getpixel((0, 0))
        right = preview.getpixel((width - 1, 0))
    assert left == (255, 0, 0)
    assert right != left
    assert width <= 1024
    assert height <= 768
    with Image.open(row["mask"]) as mask:
        assert mask.size == size


def odd_images(folder):
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 255, (9, 7), dtype=np.uint8)
    colour = Image.fromarray(rng.integers(0, 255, (9, 7, 3), dtype=np.uint8))
    folder.mkdir()
    Image.fromarray(grey).save(folder / "grey.png")
    Image.fromarray(grey.astype(np.uint16) * 200).save(folder / "sixteen.png")
    colour.convert("CMYK").save(folder / "cmyk.jpg")
    colour.convert("P").save(folder / "palette.png")
    colour.convert("RGBA").save(folder / "clear.png")
    colour.save(folder / "still.webp")
    colour.save(folder / "moving.gif", save_all=True, append_images=[colour])
    return sorted(folder.iterdir())


def test_images_of_every_mode_are_read(segmenter, tmp_path):
    files = odd_images(tmp_path / "odd")
    rows = predict(segmenter, [tmp_path / "odd"], output_dir=tmp_path / "out")
    assert [row["path"] for row in rows] == [str(path) for path in files]
    for row in rows:
        with Image.open(row["mask"]) as mask:
            assert mask.size == (7, 9)


@pytest.mark.parametrize("content", [b"not an image", b"", "truncated"])
def test_an_unreadable_image_ends_it_before_anything_is_written(
    classifier, tmp_path, content
):
    good = picture(tmp_path / "in" / "a.png", "red")
    bad = tmp_path / "in" / "b.jpg"
    if content == "truncated":
        noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(bad)
        content = bad.read_bytes()[:1500]
    bad.write_bytes(content)
    out = tmp_path / "out"
    with pytest.raises(InputError, match=r"b\.jpg"):
        predict(classifier, [good, bad], output_dir=out)
    assert not out.exists()
    rows = predict(classifier, [good, bad], output_dir=out, skip_unreadable=True)
    assert rows[0]["class"] == "red"
    assert "b.jpg" in rows[1]["error"]
    assert "b.jpg" in table(out)[1]["error"]


def test_folders_are_searched_whole_and_patterns_expanded(classifier, tmp_path):
    picture(tmp_path / "in" / "deep" / "er" / "a.png", "red")
    picture(tmp_path / "in" / "b.JPG", "blue")
    picture(tmp_path / "in" / "[1].png", "blue")
    (tmp_path / "in" / "notes.txt").write_text("no image")
    (tmp_path / "in" / "._b.jpg").write_text("left by a file manager")

    def found(*inputs):
        rows = predict(classifier, inputs, output_dir=tmp_path / "out")
        return [row["path"].removeprefix(str(tmp_path / "in")) for row in rows]

    inside = tmp_path / "in"
    assert found(inside) == ["/[1].png", "/b.JPG", "/deep/er/a.png"]
    assert found(inside / "*") == ["/[1].png", "/b.JPG"]
    assert found(inside / "**" / "*.png") == ["/[1].png", "/deep/er/a.png"]
    assert found(inside / "[1].png") == ["/[1].png"]
    assert found(inside / "b.JPG", inside) == ["/b.JPG", "/[1].png", "/deep/er/a.png"]


def test_equal_names_from_different_folders_are_kept_apart(segmenter, tmp_path):
    files = [
        picture(tmp_path / "one" / "a.png", "red"),
        picture(tmp_path / "two" / "a.png", "black"),
        picture(tmp_path / "two" / "A.jpg", "red"),
        picture(tmp_path / "two" / "b.png", "red"),
    ]
    rows = predict(segmenter, files, output_dir=tmp_path / "out")
    names = [row["mask"].rpartition("/")[2] for row in rows]
    assert names == [
        "one_a_mask.png",
        "two_a_mask.png",
        "two_A_2_mask.png",
        "b_mask.png",
    ]
    assert [row["foreground_fraction"] for row in rows] == [1.0, 0.0, 1.0, 1.0]


def test_nothing_that_was_read_is_overwritten(segmenter, tmp_path):
    plain = picture(tmp_path / "a.png", "red")
    named_so = picture(tmp_path / "a_mask.png", "blue")
    before = named_so.read_bytes()
    rows = predict(segmenter, [plain, named_so], output_dir=tmp_path)
    assert named_so.read_bytes() == before
    assert len({row["mask"] for row in rows}) == 2


def test_the_same_command_twice_reads_the_same_images(segmenter, tmp_path):
    picture(tmp_path / "a.png", "red")
    first = predict(segmenter, [tmp_path], output_dir=tmp_path)
    assert predict(segmenter, [tmp_path], output_dir=tmp_path) == first


@pytest.fixture(scope="module", params=["onnx", "litert", "savedmodel"])
def converted(request, tmp_path_factory):
    """The same two models for another runtime."""
    form = FORMATS[request.param]
    if not all(importlib.util.find_spec(need) for need in form.needs):
        pytest.skip(f"{request.param} is not installed")
    folder = tmp_path_factory.mktemp("converted")
    paths = {}
    for task, make, about in (
        ("classes", colour_model, Description("classification", CLASSES, [8, 12, 3])),
        ("masks", red_model, Description("segmentation", MASKS, [16, 16, 3], 0.7)),
    ):
        model, path = make(), folder / f"{task}{form.suffix}"
        model(np.zeros((1, *about.image_shape), np.float32))
        form.write(model, path, None)
        embed_description(path, about)
        paths[task] = path
    return paths


def test_every_runtime_gives_the_same_answers(
    classifier, segmenter, converted, tmp_path
):
    files = [
        picture(tmp_path / f"{number}.png", colour, (20 + number, 10))
        for number, colour in enumerate(["blue", "red", (0, 255, 0)])
    ]
    out = tmp_path / "out"
    for keras_file, other in (
        (classifier, converted["classes"]),
        (segmenter, converted["masks"]),
    ):
        rows = [
            predict(m, files, output_dir=out, batch_size=2) for m in (keras_file, other)
        ]
        for first, second in zip(*rows, strict=True):
            for key in ("path", "class", "foreground_fraction", "mask"):
                assert first.get(key) == second.get(key)
            if "probability" in first:
                assert first["probability"] == pytest.approx(
                    second["probability"], abs=1e-5
                )


def test_a_damaged_file_of_another_runtime_is_named(tmp_path):
    image = picture(tmp_path / "a.png", "red")
    for name in ("broken.onnx", "broken.tflite"):
        (tmp_path / name).write_bytes(b"not a model")
        with pytest.raises(InputError, match=name):
            predict(tmp_path / name, [image], output_dir=tmp_path / "out")


def test_a_list_of_images_is_read_from_standard_input(
    classifier, tmp_path, monkeypatch
):
    red = picture(tmp_path / "a folder" / "a red.png", "red")
    blue = picture(tmp_path / "blue.png", "blue")
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{red}\n\n{blue}\n"))
    rows = predict(classifier, [Path("-")], output_dir=tmp_path / "out")
    assert [row["class"] for row in rows] == ["red", "blue"]
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(InputError, match="image files"):
        predict(classifier, [Path("-")], output_dir=tmp_path / "out")


def test_the_json_file_holds_the_same_rows(classifier, segmenter, tmp_path):
    image = picture(tmp_path / "a.png", "red")
    for model in (classifier, segmenter):
        rows = predict(model, [image], output_dir=tmp_path / "out")
        written = json.loads((tmp_path / "out" / "predictions.json").read_text())
        assert written == rows


def test_an_image_of_a_hundred_megapixels_is_one_clear_line(classifier, tmp_path):
    good = picture(tmp_path / "good.png", "red")
    huge = tmp_path / "huge.png"
    Image.new("1", (10_000, 10_000)).save(huge)
    with pytest.raises(InputError, match="megapixels"):
        predict(classifier, [good, huge], output_dir=tmp_path / "out")
    rows = predict(
        classifier, [good, huge], output_dir=tmp_path / "out", skip_unreadable=True
    )
    assert rows[0]["class"] == "red"
    assert "megapixels" in rows[1]["error"]


def test_an_image_that_vanishes_half_way_is_a_row_and_no_crash(
    classifier, tmp_path, monkeypatch
):
    files = [picture(tmp_path / f"{number}.png", "red") for number in range(4)]
    module = importlib.import_module("search.predict")  # `search.predict` is the verb
    whole = module.open_picture

    def open_picture(path, about):
        if path == files[1]:
            path.unlink(missing_ok=True)
        return whole(path, about)

    monkeypatch.setattr(module, "open_picture", open_picture)
    rows = predict(classifier, files, output_dir=tmp_path / "out", batch_size=2)
    assert ["error" in row for row in rows] == [False, True, False, False]
    assert len(table(tmp_path / "out")) == 4


def test_a_model_that_answers_with_no_numbers_is_named(tmp_path):
    model = colour_model()
    model.layers[-1].set_weights([np.full((3, 4), np.nan), np.zeros(4)])
    path = save(model, tmp_path / "nan.keras")
    image = picture(tmp_path / "a.png", "red")
    with pytest.raises(InputError, match="NaN"):
        predict(path, [image], output_dir=tmp_path / "out")


def test_a_keras_file_of_someone_else_works_by_its_shapes(tmp_path):
    model = save(colour_model(), tmp_path / "plain.keras")
    image = picture(tmp_path / "a.png", "blue")
    [row] = predict(model, [image], output_dir=tmp_path / "out")
    assert row["class"] == "2"


def test_a_grey_model_sees_grey(tmp_path):
    model = save(colour_model(channels=1), tmp_path / "grey.keras")
    image = picture(tmp_path / "a.png", "white")
    [row] = predict(model, [image], output_dir=tmp_path / "out")
    assert row["class"] == "0"


def test_what_is_no_image_model_is_refused(tmp_path):
    inputs = keras.Input((5,))
    model = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    path = save(model, tmp_path / "table.keras")
    image = picture(tmp_path / "a.png", "red")
    with pytest.raises(InputError, match=r"\(None, 5\)"):
        predict(path, [image], output_dir=tmp_path / "out")


@pytest.mark.parametrize("name", ["none.keras", "text.keras", "a.png"])
def test_a_file_that_is_no_model_is_named(tmp_path, name):
    (tmp_path / "text.keras").write_text("no model")
    image = picture(tmp_path / "a.png", "red")
    with pytest.raises(InputError, match=name):
        predict(tmp_path / name, [image], output_dir=tmp_path / "out")


def test_a_damaged_model_is_named(classifier, tmp_path):
    import zipfile

    broken = tmp_path / "broken.keras"
    with zipfile.ZipFile(classifier) as old, zipfile.ZipFile(broken, "w") as new:
        for name in old.namelist():
            if name != "model.weights.h5":
                new.writestr(name, old.read(name))
    image = picture(tmp_path / "a.png", "red")
    with pytest.raises(InputError, match=r"broken\.keras"):
        predict(broken, [image], output_dir=tmp_path / "out")


@pytest.mark.parametrize("name", ["missing.jpg", "empty", "none*.png"])
def test_inputs_without_an_image_are_named(classifier, tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="Expected images"):
        predict(classifier, [tmp_path / name], output_dir=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_place_that_cannot_be_written_is_named(classifier, tmp_path):
    image = picture(tmp_path / "a.png", "red")
    (tmp_path / "out").write_text("a file where the folder should be")
    with pytest.raises(InputError, match="folder that can be written"):
        predict(classifier, [image], output_dir=tmp_path / "out")


def copy_without_description(model: Path, target: Path) -> None:
    with zipfile.ZipFile(model) as whole, zipfile.ZipFile(target, "w") as bare:
        for name in whole.namelist():
            if name != "vision_tuner.json":
                bare.writestr(name, whole.read(name))


def test_a_model_is_a_file_or_the_name_of_an_exported_study(classifier, tmp_path):
    results = tmp_path / "results"
    for name in ("ready", "searched"):
        (results / name).mkdir(parents=True)
        (results / name / "study.json").write_text("{}")
    (results / "ready" / "export").mkdir()
    target = results / "ready" / "export" / "ensemble.keras"
    target.write_bytes(classifier.read_bytes())
    assert resolve_model(str(classifier), results) == classifier
    assert resolve_model("ready", results) == target
    (results / "ready" / "ensemble.json").write_text("{}")
    about = replace(read_description(target), source="of an earlier ensemble")
    copy_without_description(classifier, target)
    embed_description(target, about)
    with pytest.raises(InputError, match="vision-tuner export ready"):
        resolve_model("ready", results)
    assert resolve_model(str(target), results) == target
    with pytest.raises(InputError, match="vision-tuner export searched"):
        resolve_model("searched", results)
    with pytest.raises(InputError, match=r"\(ready\).*'redy'"):
        resolve_model("redy", results)


def test_what_is_printed_names_images_results_and_what_was_skipped(
    classifier, segmenter, tmp_path
):
    image = picture(tmp_path / "[red].png", "red")
    (tmp_path / "bad.png").touch()
    files, out = [image, tmp_path / "bad.png"], tmp_path / "out"
    printed = []
    for model in (classifier, segmenter):
        rows = predict(model, files, output_dir=out, skip_unreadable=True)
        console = Console(width=200, record=True)
        print_predictions(rows, out, console)
        printed.append(console.export_text())
    assert "[red].png" in printed[0]
    assert "skipped: Expected a readable image" in printed[0]
    assert "--skip-unreadable" not in printed[0]
    assert "left out: 1 image that cannot be read" in printed[0]
    assert "100.0%  [red]_preview.png" in printed[1]


def test_printed_table_lists_further_classes_and_tells_equal_names_apart(
    classifier, tmp_path
):
    files = [picture(tmp_path / folder / "a.png", "red") for folder in ("one", "two")]
    files.append(picture(tmp_path / "c.png", "red"))
    for top in (1, 3):
        rows = predict(classifier, files, output_dir=tmp_path / "out", top=top)
        console = Console(width=200, record=True)
        print_predictions(rows, tmp_path / "out", console)
        heading, *lines = console.export_text().splitlines()
        best = rows[0]["top"]
        assert all(
            str(path) in text for path, text in zip(files[:2], lines, strict=False)
        )
        assert lines[2].startswith("c.png ")
        assert ("next" in heading) == (top == 3)
        for item in best[1:]:
            assert f"{item['class']} {item['probability']:.1%}" in lines[0]
