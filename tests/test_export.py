"""Exports do what the trained networks do, where vision-tuner is not installed."""

import dataclasses
import hashlib
import importlib.util
import json
import re
import resource
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from hypermodels.augmented_model import AugmentedModel
from search.beginning.study_record import record_study
from search.errors import InputError, StorageError
from search.exporting import artefacts
from search.exporting.artefacts import ExportError, Source, write_exports
from search.exporting.descriptions import (
    Description,
    embed_description,
    read_description,
)
from search.exporting.formats import (
    FORMATS,
    check_backend,
    check_formats,
    named_formats,
)
from search.exporting.inference_models import ensemble_model, inference_model
from search.exporting.manifest import current_exports
from search.exporting.usage import CODE, usage
from search.listing import study_state
from search.paths import study_paths
from search.records import (
    BestSingle,
    Ensemble,
    Exported,
    Finalist,
    read_records,
    write_ensemble,
    write_records,
)
from search.scoring import calibration
from search.studies import Study

# The package gives the function of this name.
export = importlib.import_module("search.export")
CLASSES = ["circle", "star", "très grand"]
INSTALLED = [
    name
    for name, kind in FORMATS.items()
    if all(importlib.util.find_spec(need) for need in kind.needs)
]


def trained(outputs, inputs, seed):
    """Give a network's variables values as after training, BN statistics too."""
    model = AugmentedModel(inputs, outputs, name="network")
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        if "seed" in variable.path:
            continue
        centre = 1.0 if "variance" in variable.path or "gamma" in variable.path else 0.0
        variable.assign(rng.normal(centre, 0.15, variable.shape))
    return model


def classifier(seed):
    layers = keras.layers
    inputs = keras.Input((24, 24, 3))
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.RandomFlip(name="flip")(x)
    x = keras.Sequential([layers.RandomTranslation(0.4, 0.4)], name="augmentation")(x)
    x = layers.Conv2D(6, 3, strides=2, name="block1_conv1")(x)
    x = layers.BatchNormalization(name="block1_bn")(x)
    x = layers.Dropout(0.5)(layers.ReLU()(x))
    x = layers.SeparableConv2D(8, 3, activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(3)(x)
    return trained(layers.Softmax(name="probabilities")(6 * x), inputs, seed)


def segmenter(seed):
    layers = keras.layers
    inputs = keras.Input((16, 24, 3))
    x = top = layers.Conv2D(4, 3, padding="same")(layers.Rescaling(1 / 255)(inputs))
    x = layers.BatchNormalization(name="bn")(layers.MaxPooling2D(2)(x))
    kinds = [
        layers.Conv2DTranspose(4, 3, strides=2, padding="same"),
        layers.UpSampling2D(2, interpolation="bilinear"),
        layers.UpSampling2D(2, interpolation="nearest"),
        layers.Resizing(16, 24, interpolation="bilinear"),
    ]
    x = layers.Concatenate()([*(kind(x) for kind in kinds), top])
    x = layers.Conv2D(1, 1, activation="sigmoid")(x)
    return trained(x, inputs, seed)


MAKERS = {"classification": classifier, "segmentation": segmenter}
MEMBERS, WEIGHTS = ["t1-seed0", "t2-seed0", "t3-seed0"], [0.5, 0.3, 0.2]


@pytest.fixture(scope="module")
def networks():
    return {
        task: {name: make(seed) for seed, name in enumerate(MEMBERS)}
        for task, make in MAKERS.items()
    }


def some_images(task, count=40):
    shape = (24, 24, 3) if task == "classification" else (16, 24, 3)
    rng = np.random.default_rng(5)
    smooth = rng.integers(0, 256, (count, 1, 1, 3)) + rng.normal(0, 40, (count, *shape))
    return smooth.clip(0, 255).astype(np.uint8)


def expected(networks, task, images, temperature):
    """The definition: average the members, then divide the logits."""
    outputs = [networks[task][name].predict(images, verbose=0) for name in MEMBERS]
    mean = sum(w * p for w, p in zip(WEIGHTS, outputs, strict=True))
    if task == "segmentation":
        return 1 / (1 + (mean / (1 - mean)) ** (-1 / temperature))
    powers = mean ** (1 / temperature)
    return powers / powers.sum(axis=1, keepdims=True)


def finalized_study(folder, task):
    """Write the records that finalize leaves."""
    paths = study_paths(f"tiny-{task}", folder / "results", folder / "logs")
    study = Study(paths.name, task, "shapes", "convnet")
    data = {"image_shape": list(some_images(task, 1).shape[1:])}
    record_study(paths, study, data, "mark", "vision-tuner search")
    metrics = {"accuracy": 0.91} if task == "classification" else {"dice": 0.83}
    single = BestSingle(MEMBERS[0], 0.8, metrics, metrics, 0.6)
    record = Ensemble(MEMBERS, WEIGHTS, 1.7, 0.4, metrics, metrics, single)
    write_ensemble(paths.ensemble, record)
    finalists = [
        Finalist(name, name[:2], 0, {}, 3, 2, metrics, metrics, 10, 1.0, {}, "best")
        for name in MEMBERS
    ]
    write_records(paths.finalists, finalists)
    return paths


class Data:
    """Prepared data of which export may not open the test split."""

    class_names = CLASSES

    def __init__(self, images):
        self.images = images

    def open(self, split, task):
        assert split == "validation"
        return self.images, None

    def open_train(self, task, limit, seed):
        return self.images[::-1], None


# Converters and fresh processes take seconds: each format beside Keras' own is
# exported for one of the tasks.
CHECKED = {
    "classification": ("keras", "savedmodel", "litert-float16", "litert-int16"),
    "segmentation": ("keras", "onnx", "litert", "litert-int8"),
}


@pytest.fixture(scope="module")
def exports(networks, tmp_path_factory):
    """The verb, run for both tasks in every format that is installed."""
    made = {}
    patch = pytest.MonkeyPatch()
    for task in MAKERS:
        paths = finalized_study(tmp_path_factory.mktemp(task), task)
        answer = (networks[task], Data(some_images(task)))
        patch.setattr(export, "load_trained", lambda *args, answer=answer: answer)
        formats = [name for name in CHECKED[task] if name in INSTALLED]
        records = export.export(paths, formats=formats)
        made[task] = SimpleNamespace(paths=paths, records=records)
    yield made
    patch.undo()


@pytest.mark.parametrize(
    ("task", "name"), [(task, name) for task in CHECKED for name in CHECKED[task]]
)
def test_every_format_does_what_the_trained_networks_do(exports, task, name):
    if name not in INSTALLED:
        pytest.skip(f"{name} is not installed")
    records = [item for item in exports[task].records if item.format == name]
    assert [item.model for item in records] == ["ensemble", "best_single"]
    for item in records:
        if name in ("litert-float16", "litert-int8", "litert-int16"):
            assert 0 < item.max_abs_difference < 0.1
            assert item.agreement >= (0.97 if "int" in name else 0.995)
        else:
            assert item.max_abs_difference <= 1e-5
            assert item.agreement == 1.0
        assert item.images == 40
        assert item.latency_ms > 0


@pytest.mark.parametrize("task", MAKERS)
def test_the_exported_ensemble_is_the_average_at_its_temperature(
    exports, networks, task
):
    path = exports[task].paths.export / "ensemble.keras"
    images = some_images(task)
    outputs = keras.models.load_model(path).predict(images, verbose=0)
    np.testing.assert_allclose(
        outputs, expected(networks, task, images, 1.7), atol=1e-5
    )


def test_the_single_model_has_its_own_temperature(exports, networks):
    path = exports["classification"].paths.export / "best_single.keras"
    images = some_images("classification")
    outputs = keras.models.load_model(path).predict(images, verbose=0)
    alone = networks["classification"][MEMBERS[0]].predict(images, verbose=0)
    np.testing.assert_allclose(
        outputs, calibration.scaled("classification", alone, 0.8), atol=1e-5
    )


@pytest.mark.parametrize("task", MAKERS)
def test_the_manifest_describes_the_files_that_are_there(exports, task):
    paths, records = exports[task].paths, exports[task].records
    assert read_records(paths.manifest, Exported) == records
    for item in records:
        artefact = paths.folder / item.path
        assert artefact.exists()
        if artefact.is_file():
            content = artefact.read_bytes()
            assert len(content) == item.bytes
            assert hashlib.sha256(content).hexdigest() == item.sha256
    named = {Path(item.path).name for item in records}
    present = {path.name for path in paths.export.iterdir()}
    assert present == named | {"manifest.json", "README.md"}


def test_every_file_says_what_its_numbers_mean(exports):
    for task, made in exports.items():
        for item in made.records:
            about = read_description(made.paths.folder / item.path)
            assert about is not None, item.path
            assert about.task == task
            assert about.class_names == CLASSES
            assert about.model == item.model


def test_eight_bits_are_smaller(exports):
    made = exports["segmentation"]
    if "litert-int8" not in INSTALLED:
        pytest.skip("LiteRT is not installed")
    sizes = {i.format: i.bytes for i in made.records if i.model == "ensemble"}
    assert sizes["litert-int8"] < sizes["keras"]


def test_eight_bit_files_say_which_layers_are_rounded(exports):
    if "litert-int8" not in INSTALLED:
        pytest.skip("LiteRT is not installed")
    made = exports["segmentation"]
    (item, _) = [item for item in made.records if item.format == "litert-int8"]
    about = item.quantisation
    assert (about["weight_bits"], about["activation_bits"]) == (8, 8)
    assert about["calibration_images"] == 40
    assert len(about["float_layers"]) < about["layers"] == 9
    card = (made.paths.export / "README.md").read_text()
    rounded = 9 - len(about["float_layers"])
    assert f"`ensemble_int8.tflite`: {rounded} of 9 layers have 8-bit weights" in card


@pytest.mark.parametrize("task", MAKERS)
def test_the_code_of_the_model_card_runs_every_kind_of_file(exports, task):
    made = exports[task]
    card = (made.paths.export / "README.md").read_text()
    part = card.partition("## Use")[2].partition("All this for many images")[0]
    lines = [line[4:] for line in part.splitlines() if line.startswith("    ")]
    for runtime in {FORMATS[item.format].runtime for item in made.records}:
        assert f"With nothing but {CODE[runtime][0]}:" in part
    told = "print('SHAPE', (mask if 'mask' in dir() else probabilities).shape)"
    Image.new("RGB", (50, 40), "red").save(made.paths.export / "picture.jpg")
    try:
        done = subprocess.run(
            [sys.executable, "-c", "\n".join([*lines, told])],
            cwd=made.paths.export,
            capture_output=True,
            text=True,
        )
    finally:
        (made.paths.export / "picture.jpg").unlink()
    assert done.returncode == 0, done.stderr
    shape = "(3,)" if task == "classification" else "(16, 24)"
    assert done.stdout.splitlines()[-1] == f"SHAPE {shape}"


def test_the_code_of_a_card_without_the_ensemble_has_the_threshold_of_its_file(exports):
    records = exports["segmentation"].records
    single = [item for item in records if item.model == "best_single"]
    thresholds = {"ensemble": 0.4, "best_single": 0.6}
    text = usage(single, [16, 24, 3], "segmentation", thresholds)
    assert "best_single.keras" in text and ">= 0.60" in text
    assert usage([], [16, 24, 3], "segmentation", thresholds) == (
        "No file passed its check.\n"
    )


def test_the_model_card_says_how_good_the_models_are(exports):
    card = (exports["segmentation"].paths.export / "README.md").read_text()
    for words in ("0.8300", "ensemble.keras", "0.40", "0.60"):
        assert words in card
    assert not re.search(r"\{\w*\}", card)


def test_only_keras_classes_are_in_the_file(exports):
    path = exports["classification"].paths.export / "ensemble.keras"
    with zipfile.ZipFile(path) as archive:
        config = archive.read("config.json").decode()
    assert "Augmented" not in config
    assert "RandomFlip" not in config
    modules = {part.split('"')[0] for part in config.split('"module": "')[1:]}
    assert {module.partition(".")[0] for module in modules} == {"keras"}


def test_the_file_says_what_its_numbers_mean(exports):
    about = read_description(exports["segmentation"].paths.export / "ensemble.keras")
    assert about.task == "segmentation"
    assert about.class_names == CLASSES
    assert about.image_shape == [16, 24, 3]
    assert about.threshold == 0.4
    single = read_description(
        exports["segmentation"].paths.export / "best_single.keras"
    )
    assert (single.model, single.threshold) == ("best_single", 0.6)


def test_calling_an_inference_model_never_augments(networks):
    model = networks["classification"][MEMBERS[0]]
    images = some_images("classification", 8).astype(np.float32)
    before = [np.asarray(variable.value) for variable in model.variables]
    plain = inference_model(model)
    np.testing.assert_allclose(
        np.asarray(plain(images)), model.predict(images, verbose=0), atol=1e-6
    )
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(np.asarray(variable.value), value)


def test_an_ensemble_of_one_is_that_network(networks):
    model = networks["segmentation"][MEMBERS[1]]
    images = some_images("segmentation", 4)
    alone = ensemble_model([model], [1.0], 1.0, "segmentation")
    assert len(alone.layers) == len(model.layers)
    np.testing.assert_allclose(
        alone.predict(images, verbose=0), model.predict(images, verbose=0), atol=1e-6
    )


def test_networks_of_other_shapes_are_not_averaged(networks):
    models = [networks[task][MEMBERS[0]] for task in MAKERS]
    with pytest.raises(ValueError, match="one image shape"):
        ensemble_model(models, [0.5, 0.5], 1.0, "segmentation")


def test_a_description_survives_and_keras_does_not_mind(networks, tmp_path):
    path = tmp_path / "model.keras"
    model = inference_model(networks["classification"][MEMBERS[0]])
    model.save(path)
    assert read_description(path) is None
    about = Description("classification", CLASSES, [24, 24, 3], 0.5, "s", "ensemble")
    embed_description(path, about)
    assert read_description(path) == about
    assert keras.models.load_model(path).output_shape == (None, 3)
    (tmp_path / "text.keras").write_text("no model")
    with pytest.raises(ValueError, match=r"text\.keras"):
        read_description(tmp_path / "text.keras")


@pytest.fixture
def source(networks):
    model = inference_model(networks["classification"][MEMBERS[0]])
    images = some_images("classification")
    about = Description("classification", CLASSES, [24, 24, 3], model="ensemble")
    return Source(model, model.predict(images, verbose=0), about)


def pretend_check(work, format_name, sources):
    """Answer what the trained networks answer, without starting a process."""
    for source in sources:
        np.save(work / f"{source.kind}.npy", source.outputs)
    return [{"latency_ms": 1.0}] * len(sources)


def pretending(source, kind, outputs):
    """Return a source whose file answers `outputs` when it is checked."""
    return SimpleNamespace(
        kind=kind,
        model=source.model,
        description=source.description,
        reference=source.reference,
        outputs=outputs,
    )


@pytest.mark.parametrize(
    "outputs", [lambda p: p + 2e-4, lambda p: p[:, ::-1], lambda p: p * np.nan]
)
def test_a_model_that_does_something_else_is_not_left_behind(
    source, outputs, tmp_path, monkeypatch
):
    monkeypatch.setattr(artefacts, "run_check", pretend_check)
    (tmp_path / "ensemble.keras").write_text("the export before")
    sources = [
        pretending(source, "ensemble", outputs(source.reference)),
        pretending(source, "best_single", source.reference),
    ]
    made, failures = write_exports(
        tmp_path, sources, some_images("classification"), "keras"
    )
    assert [item.model for item in made] == ["best_single"]
    assert [path.name for path in tmp_path.iterdir()] == ["best_single.keras"]
    assert len(failures) == 1
    assert "ensemble.keras does not do what the trained model does" in failures[0]


@pytest.mark.parametrize("limit", [4_000, 8_000])
def test_a_full_disk_costs_no_model_that_was_there(source, tmp_path, limit):
    (tmp_path / "ensemble.keras").write_text("the export before")
    images = some_images("classification", 4 if limit == 8_000 else 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(StorageError, match=r"ensemble\.keras.*Free space"):
            write_exports(tmp_path, [source], images, "keras")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["ensemble.keras"]
    assert (tmp_path / "ensemble.keras").read_text() == "the export before"


def test_outputs_that_a_check_cannot_keep_are_no_fault_of_the_model(
    source, tmp_path, monkeypatch
):
    run = artefacts.subprocess.run
    limited = ["prlimit", "--fsize=1000"]
    monkeypatch.setattr(
        artefacts.subprocess, "run", lambda command, **k: run(limited + command, **k)
    )
    (tmp_path / "ensemble.keras").write_text("the export before")
    with pytest.raises(StorageError, match="File too large"):
        write_exports(tmp_path, [source], some_images("classification", 200), "keras")
    assert (tmp_path / "ensemble.keras").read_text() == "the export before"


def test_a_model_that_decides_otherwise_is_not_left_behind(
    source, tmp_path, monkeypatch
):
    monkeypatch.setattr(artefacts, "run_check", pretend_check)
    undecided = np.tile([0.50001, 0.49999], (40, 1))
    wrong = pretending(source, "ensemble", undecided[:, ::-1])
    wrong.reference = undecided
    made, (failure,) = write_exports(
        tmp_path, [wrong], some_images("classification"), "keras"
    )
    assert made == []
    assert "0.00% of the labels agree" in failure
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("failing", [1, 3])
def test_a_quantised_file_that_fails_is_written_again_with_a_higher_goal(
    source, failing, tmp_path, monkeypatch
):
    goals = []

    def write(model, path, calibration):
        goals.append(calibration.goal)
        model.save(path)
        return {"layers": 5, "float_layers": ["stem"] * len(goals)}

    def check(work, format_name, sources):
        right = source.reference
        outputs = right if len(goals) > failing else right[:, ::-1]
        return pretend_check(
            work, format_name, [pretending(source, "ensemble", outputs)]
        )

    monkeypatch.setattr(artefacts, "run_check", check)
    rounded = dataclasses.replace(FORMATS["litert-int8"], suffix=".keras", write=write)
    monkeypatch.setitem(FORMATS, "keras", dataclasses.replace(rounded, needs=()))
    made, failures = write_exports(
        tmp_path, [source], some_images("classification"), "keras"
    )
    assert goals == pytest.approx([0.985, 0.9925, 0.99625][: failing + 1])
    if failing == 1:
        assert made[0].quantisation["float_layers"] == ["stem", "stem"]
    else:
        assert "does not do what the trained model does" in failures[0]
        assert list(tmp_path.iterdir()) == []


def test_the_process_of_a_check_cannot_import_the_package(tmp_path):
    request = tmp_path / "request.json"
    np.save(tmp_path / "images.npy", some_images("classification"))
    artefact = {"path": str(tmp_path / "no.keras"), "outputs": ""}
    fields = {"format": "keras", "artefacts": [artefact]}
    fields |= {key: str(tmp_path / key) for key in ("answer", "images.npy")}
    fields["images"] = fields.pop("images.npy")
    request.write_text(json.dumps(fields))
    code = (
        "import runpy, sys; script = runpy.run_path(sys.argv[1]);"
        "script['main'](sys.argv[2]); import search"
    )
    arguments = ["-I", "-c", code, artefacts.export_check.__file__, str(request)]
    ended = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False
    )
    assert "No module named 'search'" in ended.stderr
    (answer,) = json.loads((tmp_path / "answer").read_text())
    assert "no.keras" in answer["error"]


def test_a_model_that_needs_code_of_ours_is_not_left_behind(source, tmp_path):
    # The package is installed here, and its class could be imported.
    model = AugmentedModel(source.model.inputs, source.model.outputs)
    secret = dataclasses.replace(source, model=model)
    made, (failure,) = write_exports(
        tmp_path, [secret], some_images("classification"), "keras"
    )
    assert made == []
    assert "does not run without vision-tuner" in failure
    assert list(tmp_path.iterdir()) == []


def test_exporting_again_replaces_what_was_there(source, tmp_path, monkeypatch):
    monkeypatch.setattr(artefacts, "run_check", pretend_check)
    right = pretending(source, "ensemble", source.reference)
    formats = ["keras", "savedmodel"] if "savedmodel" in INSTALLED else ["keras"]
    (tmp_path / "ensemble_savedmodel").mkdir()
    (tmp_path / "ensemble_savedmodel" / "old").touch()
    for name in [*formats, *formats]:
        write_exports(tmp_path, [right], some_images("classification"), name)
    assert not (tmp_path / "ensemble_savedmodel" / "old").exists() or (
        "savedmodel" not in INSTALLED
    )
    assert {path.name for path in tmp_path.iterdir()} == {
        "ensemble.keras",
        "ensemble_savedmodel",
    }


def test_earlier_formats_stay_in_the_manifest_of_the_same_ensemble(exports):
    paths = exports["classification"].paths
    records = exports["classification"].records
    assert export.earlier_exports(paths) == records == current_exports(paths)
    record = json.loads(paths.ensemble.read_text())
    before = paths.ensemble.read_text()
    try:
        paths.ensemble.write_text(json.dumps(record | {"temperature": 3.0}))
        assert export.earlier_exports(paths) == current_exports(paths) == []
        assert study_state(paths, []) == "finalized"
    finally:
        paths.ensemble.write_text(before)


def test_an_onnx_model_stays_where_nothing_can_read_it(tmp_path, monkeypatch):
    """An export of another format, where onnxruntime is missing, had deleted it."""
    model = tmp_path / "ensemble.onnx"
    model.write_bytes(b"\x08\x07 ... " + json.dumps({"source": "ab12"}).encode())
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert export.is_made_from(model, "ab12")
    assert not export.is_made_from(model, "cd34")


@pytest.fixture
def pretended(networks, tmp_path, monkeypatch):
    """A finalized study whose files are written, and taken for right unread."""
    answer = (networks["classification"], Data(some_images("classification")))
    monkeypatch.setattr(export, "load_trained", lambda *args: answer)
    monkeypatch.setattr(artefacts, "run_check", pretend_check)
    monkeypatch.setattr(Source, "outputs", property(lambda s: s.reference), False)
    return finalized_study(tmp_path, "classification")


def test_a_failed_format_ends_with_an_error_and_keeps_the_others(
    pretended, monkeypatch
):
    def broken(model, path, images):
        raise OSError("no such operation\nand more")

    bad = dataclasses.replace(FORMATS["litert"], write=broken, needs=())
    monkeypatch.setitem(FORMATS, "litert", bad)
    with pytest.raises(ExportError, match=r"ensemble\.tflite could not .*operation"):
        export.export(pretended, formats=["litert", "keras"])
    kept = read_records(pretended.manifest, Exported)
    assert [item.path for item in kept] == [
        "export/ensemble.keras",
        "export/best_single.keras",
    ]
    assert not (pretended.export / "ensemble.tflite").exists()


def test_an_interrupted_export_keeps_the_formats_that_were_done(pretended, monkeypatch):
    def interrupted(model, path, images):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    slow = dataclasses.replace(FORMATS["litert"], write=interrupted, needs=())
    monkeypatch.setitem(FORMATS, "litert", slow)
    with pytest.raises(KeyboardInterrupt):
        export.export(pretended, formats=["keras", "litert"])
    kept = [item.path for item in read_records(pretended.manifest, Exported)]
    assert kept == ["export/ensemble.keras", "export/best_single.keras"]
    assert {path.name for path in pretended.export.iterdir()} == {
        "ensemble.keras",
        "best_single.keras",
        "manifest.json",
        "README.md",
    }


def test_models_of_another_ensemble_are_removed(pretended):
    pretended.export.mkdir()
    (pretended.export / "ensemble.onnx").write_text("of an older ensemble")
    (pretended.export / "notes.txt").write_text("of the user")
    export.export(pretended)
    names = {path.name for path in pretended.export.iterdir()}
    assert "ensemble.onnx" not in names
    assert "notes.txt" in names


def test_formats_are_named_with_commas_or_one_by_one():
    assert named_formats(["keras, onnx", "litert"]) == ["keras", "onnx", "litert"]
    assert named_formats(["all"]) == list(FORMATS)


def test_an_unknown_format_is_refused_with_those_there_are(tmp_path):
    paths = finalized_study(tmp_path, "classification")
    with pytest.raises(InputError, match=r"savedmodel, onnx, litert.*'h5'"):
        export.export(paths, formats=["h5"])


@pytest.mark.parametrize("name", [n for n in FORMATS if n != "keras"])
def test_without_tensorflow_a_format_that_needs_it_says_so(name, monkeypatch):
    monkeypatch.setattr(
        "search.exporting.formats.find_spec", lambda need: need != "tensorflow"
    )
    with pytest.raises(InputError, match=rf"TensorFlow, .* to write {name}\..*keras"):
        check_formats([name])
    check_formats(["keras"])


@pytest.mark.parametrize("name", [n for n in FORMATS if n != "keras"])
def test_on_jax_a_format_that_needs_tensorflow_says_so(name, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(InputError, match=rf"KERAS_BACKEND=tensorflow, .*{name}\..*jax"):
        check_backend(["keras", name])
    check_backend(["keras"])


def test_a_format_that_is_not_installed_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "search.exporting.formats.find_spec", lambda need: need == "tensorflow"
    )
    with pytest.raises(InputError, match=r"'\.\[export\]'"):
        export.export(finalized_study(tmp_path, "classification"), formats=["onnx"])


def test_a_study_without_an_ensemble_says_what_to_run(tmp_path):
    paths = finalized_study(tmp_path, "classification")
    paths.ensemble.unlink()
    with pytest.raises(InputError, match="vision-tuner finalize tiny-classification"):
        export.export(paths)


@pytest.mark.parametrize("task", MAKERS)
def test_what_is_printed_names_files_folder_and_agreement(exports, task):
    paths, console = exports[task].paths, Console(width=78, record=True, quiet=False)
    export.print_exports(paths, exports[task].records, console)
    text = console.export_text()
    assert "best_single.keras" in text
    assert "100.00%" in text
    assert paths.name in text.replace("\n", "")


@pytest.mark.parametrize("content", [None, b"", b"no model"])
def test_a_model_that_is_gone_or_damaged_is_not_kept(tmp_path, content):
    model = tmp_path / "ensemble.onnx"
    if content is not None:
        model.write_bytes(content)
    assert not export.is_made_from(model, "ab12")
