"""What a command line means: durations, fixed knobs, remembered options."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from search.beginning.inputs import (
    chosen_study,
    described,
    parse_duration,
    refuse_other_data,
)
from search.beginning.preparation import begin
from search.beginning.study_checks import check_study
from search.beginning.study_record import fingerprint, record_study
from search.commands.knobs import parse_fixed, parse_narrowed
from search.datasets import prepare
from search.errors import InputError
from search.paths import StudyPaths, name_from, study_paths
from search.spaces import declare_space, range_of
from search.studies import Study, read_study, ready_made


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7200)]
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "-5m", "5 weeks", "m"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="30m"):
        parse_duration(text)


def test_fixed_values_have_the_type_they_are_written_in() -> None:
    words = ["residual=false", "stages=3", "learning_rate=1e-3", "upsampling=bilinear"]
    assert parse_fixed(words) == {
        "residual": False,
        "stages": 3,
        "learning_rate": 1e-3,
        "upsampling": "bilinear",
    }


class Toy:
    """A hypermodel's declaration, with one knob below another."""

    def declare(self, hp: Any) -> None:
        hp.Choice("optimizer", ["adam", "sgd"])
        with hp.conditional_scope("optimizer", ["sgd"]):
            hp.Float("momentum", 0.0, 0.9)
        hp.Int("depth", 1, 5)
        hp.Boolean("residual")


def test_a_fixed_knob_has_one_value_and_takes_its_dead_branches_along() -> None:
    space = declare_space(Toy(), {"optimizer": "adam", "depth": 2})
    assert [knob.name for knob in space.space] == ["optimizer", "depth", "residual"]
    assert space.values == {"optimizer": "adam", "depth": 2, "residual": False}
    other = declare_space(Toy(), {"optimizer": "sgd"})
    assert [knob.name for knob in other.space][:2] == ["optimizer", "momentum"]


def test_a_whole_number_fixes_a_choice_of_fractions() -> None:
    class Rates:
        def declare(self, hp: Any) -> None:
            hp.Choice("rate", [0.0, 0.25])
            hp.Boolean("deep")

    space = declare_space(Rates(), {"rate": 0, "deep": "True"})
    assert space.values == {"rate": 0.0, "deep": True}
    with pytest.raises(InputError, match="deep true or false"):
        declare_space(Rates(), {"deep": 1})


def test_a_value_on_request_can_be_fixed_and_is_never_drawn() -> None:
    class Kernels:
        on_request: ClassVar[dict[str, tuple[int, ...]]] = {"kernel": (3,)}

        def declare(self, hp: Any) -> None:
            hp.Choice("kernel", [2, 4])

    assert declare_space(Kernels(), {"kernel": 3}).values == {"kernel": 3}
    assert declare_space(Kernels(), {}).space[0].values == [2, 4]
    with pytest.raises(InputError, match="kernel 2 or 4"):
        declare_space(Kernels(), {"kernel": 5})


def test_a_fixed_knob_below_another_stays_conditional() -> None:
    space = declare_space(Toy(), {"momentum": 0.5})
    assert "momentum" not in space.values  # optimizer is adam by default
    assert {range_of(knob) for knob in space.space if knob.name == "momentum"} == {
        "0.5"
    }


@pytest.mark.parametrize(
    "fixed",
    [
        {"depth": 9},
        {"depth": 1.5},
        {"depth": True},
        {"residual": 3},
        {"optimizer": "lion"},
    ],
)
def test_values_outside_a_knob_are_refused_with_its_range(fixed: Any) -> None:
    (name,) = fixed
    with pytest.raises(InputError, match=name):
        declare_space(Toy(), fixed)


def test_a_narrowed_knob_has_a_part_of_its_range_and_a_default_within() -> None:
    class Knobs:
        def declare(self, hp: Any) -> None:
            hp.Choice("backbone", ["vgg16", "mobilenet", "resnet"], default="vgg16")
            with hp.conditional_scope("backbone", ["vgg16"]):
                hp.Int("blocks", 0, 5)
            hp.Float("rate", 1e-4, 1e-1, sampling="log", default=1e-2)
            hp.Float("dropout", 0.0, 0.5, step=0.1)
            hp.Int("depth", 1, 9, step=2)
            hp.Choice("size", [16, 32, 64], default=16)
            hp.Int("width", 4, 64, step=2, sampling="log")

    words = "backbone=resnet,mobilenet rate=1e-4..1e-3 dropout=0.15..0.4 depth=2..7"
    space = declare_space(Knobs(), {}, parse_narrowed(f"{words} width=12..40".split()))
    ranges = {knob.name: (range_of(knob), knob.default) for knob in space.space}
    assert ranges == {  # without blocks, which only VGG16 has
        "backbone": ("mobilenet or resnet", "mobilenet"),
        "rate": ("0.0001 … 0.001, log", 1e-3),
        "dropout": ("0.2 … 0.4", 0.2),
        "depth": ("3 … 7", 3),
        "size": ("16, 32 or 64", 16),
        "width": ("16 … 32, log", 16),
    }
    depth, width = space.space[3], space.space[5]
    assert {depth.random_sample(seed) for seed in range(40)} == {3, 5, 7}
    assert {width.random_sample(seed) for seed in range(40)} == {16, 32}
    some = declare_space(Knobs(), {}, {"size": "20..64"})
    assert {range_of(k) for k in some.space if k.name == "size"} == {"32 or 64"}


@pytest.mark.parametrize(
    ("fixed", "words", "told"),
    [
        ({}, "depth=2..9", "1 … 5"),
        ({}, "depth=4..2", "LOW..HIGH"),
        ({}, "depth=2,4", "LOW..HIGH"),
        ({}, "depth=2.2..2.8", "at least two values"),
        ({}, "depth=3", "--fix takes a single value"),
        ({}, "depth=", "KNOB=LOW..HIGH"),
        ({}, "optimizer=adam,lion", "adam or sgd"),
        ({}, "optimizer=0..1", "adam or sgd"),
        ({}, "residual=true,false", "true or false"),
        ({}, "depht=1..2", "Did you mean depth"),
        ({"depth": 2}, "depth=1..2", "fixed or narrowed"),
    ],
)
def test_what_cannot_be_narrowed_is_told(fixed: Any, words: str, told: str) -> None:
    with pytest.raises(InputError, match=re.escape(told)):
        declare_space(Toy(), fixed, parse_narrowed([words]))


def test_a_knob_of_two_conditions_is_narrowed_where_it_has_such_values() -> None:
    class Rates:
        def declare(self, hp: Any) -> None:
            hp.Choice("optimizer", ["adam", "sgd"])
            with hp.conditional_scope("optimizer", ["adam"]):
                hp.Float("rate", 1e-4, 1e-2, sampling="log")
            with hp.conditional_scope("optimizer", ["sgd"]):
                hp.Float("rate", 1e-2, 1.0, sampling="log")

    space = declare_space(Rates(), {}, {"rate": "0.1..0.5"})
    found = [range_of(knob) for knob in space.space if knob.name == "rate"]
    assert found == ["0.0001 … 0.01, log", "0.1 … 0.5, log"]


def test_a_fixed_number_opens_what_depends_on_it_however_it_is_written() -> None:
    class Widths:
        def declare(self, hp: Any) -> None:
            hp.Choice("growth", [1.5, 2.0])
            with hp.conditional_scope("growth", [2]):
                hp.Int("groups", 1, 4)

    names = [knob.name for knob in declare_space(Widths(), {"growth": 2.0}).space]
    assert names == ["growth", "groups"]


def test_narrowed_knobs_are_of_the_study_and_add_to_those_of_its_file(
    tmp_path: Path,
) -> None:
    file = tmp_path / "study.toml"
    file.write_text(
        '[study]\ndataset = "shapes"\nhypermodel = "convnet"\n'
        '[narrowed]\nstages = "2..3"\n'
    )
    paths_of = paths_in(tmp_path)
    more = {"narrowed": {"learning_rate": "0.001..0.01"}}
    study = chosen_study(str(file), None, None, None, more, paths_of)
    assert study.narrowed == {"stages": "2..3", "learning_rate": "0.001..0.01"}
    plain = replace(study, narrowed={})
    assert fingerprint(study, "data", None) != fingerprint(plain, "data", None)
    record_study(paths_of(study.name), study, {}, "mark", "")
    again = chosen_study(study.name, None, None, None, {}, paths_of)
    assert again == study


def paths_in(folder: Path) -> Any:
    def paths_of(name: str) -> StudyPaths:
        return study_paths(name, folder, folder)

    return paths_of


def test_a_study_remembers_the_options_it_was_searched_with(tmp_path: Path) -> None:
    paths_of = paths_in(tmp_path)
    first = chosen_study(
        "shapes-unet", None, None, None, {"epochs": 2, "seed": 7}, paths_of
    )
    record_study(paths_of(first.name), first, {}, "mark", "")
    again = chosen_study("shapes-unet", None, None, None, {"trials": 5}, paths_of)
    assert (again.epochs, again.seed, again.trials) == (2, 7, 5)
    by_loss = {"objective": "val_loss", "direction": "min"}
    own = {"dataset": "shapes", "hypermodel": "unet", "name": "own"}
    begun = chosen_study(None, own["name"], "shapes", "unet", by_loss, paths_of)
    record_study(paths_of("own"), begun, {}, "mark", "")
    later = chosen_study(None, own["name"], "shapes", "unet", {}, paths_of)
    assert (later.objective, later.direction) == ("val_loss", "min")
    other = chosen_study("shapes-unet", "other", None, None, {}, paths_of)
    assert (other.name, other.epochs, other.seed) == ("other", 9, 0)


def test_a_study_keeps_the_command_that_began_it(tmp_path: Path) -> None:
    study = ready_made("shapes-convnet")
    paths = study_paths(study.name, tmp_path / "results", tmp_path / "logs")
    begun = f"vision-tuner search {study.name} --fix stages=3 --trials 9"
    study = replace(study, trials=9, fixed={"stages": 3})
    record_study(paths, study, {}, "mark", begun)
    record_study(paths, study, {}, "mark", f"vision-tuner search {study.name}")
    assert "later_commands" not in read_study(paths)
    longer = f"vision-tuner search {study.name} --trials 20"
    for _ in range(2):
        record_study(paths, replace(study, trials=20), {}, "mark", longer)
    recorded = read_study(paths)
    assert recorded["command"] == begun
    assert recorded["later_commands"] == [longer]


def test_a_study_keeps_what_it_was_begun_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = ready_made("shapes-convnet")
    paths = study_paths(study.name, tmp_path / "results", tmp_path / "logs")
    for commit in ("aaa", "aaa", "bbb", "aaa", "bbb"):
        monkeypatch.setattr(
            "search.beginning.study_record.environment",
            lambda commit=commit: {"commit": commit},
        )
        record_study(paths, study, {}, "mark", "vision-tuner search shapes-convnet")
    recorded = read_study(paths)
    assert recorded["environment"] == {"commit": "aaa"}
    assert recorded["later_environments"] == [{"commit": "bbb"}]


def test_another_name_is_another_study_and_keeps_its_network(tmp_path: Path) -> None:
    paths_of = paths_in(tmp_path)
    first = chosen_study("shapes-unet", "mine", None, None, {"epochs": 2}, paths_of)
    record_study(paths_of("mine"), first, {}, "mark", "")
    with pytest.raises(InputError, match="task = 'segmentation' as recorded"):
        chosen_study("shapes-convnet", "mine", None, None, {}, paths_of)
    with pytest.raises(InputError, match="hypermodel = 'unet' as recorded"):
        chosen_study(None, "mine", "shapes", "mobilenet_unet", {}, paths_of)


def test_another_tuner_hides_no_other_contents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the next comparison would mix what two networks were trained for."""
    paths = paths_in(tmp_path)("mine")
    study = replace(ready_made("shapes-unet"), name="mine", max_flops=1e9)
    begin(study, paths, None, print, have_gpus=False).record(paths)
    other = replace(study, tuner="random")
    assert begin(other, paths, None, print, have_gpus=False).study.tuner == "random"
    monkeypatch.setattr(
        "search.beginning.preparation.code_hashes", lambda study: ["edited"]
    )
    with pytest.raises(InputError, match="other contents"):
        begin(other, paths, None, print, have_gpus=False)


def test_a_study_that_was_only_compared_may_choose_its_tuner(tmp_path: Path) -> None:
    paths_of = paths_in(tmp_path)
    paths = paths_of("mine")
    data = {"fingerprint": "images"}
    first = chosen_study("shapes-unet", "mine", None, None, {"epochs": 2}, paths_of)
    record_study(paths, first, data, "mark", "vision-tuner compare")
    wanted = {"tuner": "random"}
    other = chosen_study("mine", None, None, None, wanted, paths_of)
    assert (other.tuner, other.epochs) == ("random", 2)
    with pytest.raises(InputError, match="data set shapes"):
        record_study(paths, other, {"fingerprint": "others"}, "other", "")
    with pytest.raises(InputError, match="epochs = 2 as recorded"):
        record_study(paths, replace(other, epochs=3), data, "third", "")
    record_study(paths, other, data, "other", "vision-tuner search")
    paths.trials.touch()  # the search has begun
    with pytest.raises(InputError, match="tuner = 'random' as recorded"):
        record_study(paths, first, data, "mark", "")


def test_knobs_fixed_on_the_command_line_join_those_of_a_study_file(
    tmp_path: Path,
) -> None:
    file = tmp_path / "study.toml"
    file.write_text(
        '[study]\ndataset = "shapes"\nhypermodel = "unet"\n'
        "[fixed]\nlearning_rate = 0.001\ndepth = 2\n"
    )
    given = {"fixed": {"depth": 3, "skip": True}}
    study = chosen_study(str(file), "mine", None, None, given, paths_in(tmp_path))
    assert study.fixed == {"learning_rate": 0.001, "depth": 3, "skip": True}
    record_study(paths_in(tmp_path)("mine"), study, {}, "mark", "")
    by_name = {"fixed": {"depth": 3}}
    again = chosen_study("mine", None, None, None, by_name, paths_in(tmp_path))
    assert again.fixed == study.fixed
    less = chosen_study(str(file), "mine", None, None, {}, paths_in(tmp_path))
    assert less.fixed == {"learning_rate": 0.001, "depth": 2, "skip": True}
    file.write_text(file.read_text() + "base_filters = [8, 16]\n")
    with pytest.raises(InputError, match="one value for base_filters"):
        chosen_study(str(file), "mine", None, None, {}, paths_in(tmp_path))


def test_a_folder_is_the_same_data_however_it_is_spelt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flowers").mkdir()
    paths_of = paths_in(tmp_path / "results")

    def asked_for(folder: str) -> Study:
        return chosen_study(None, "mine", folder, "convnet", {}, paths_of)

    record_study(paths_of("mine"), asked_for("flowers"), {}, "mark", "")
    for spelling in ("flowers/", "./flowers", str(tmp_path / "flowers")):
        assert asked_for(spelling).dataset == "flowers"
    (tmp_path / "others").mkdir()
    with pytest.raises(InputError, match="dataset = 'flowers' as recorded"):
        asked_for("others")
    (tmp_path / "flowers").rmdir()  # moved: found with --data-dir, as what it was
    assert asked_for("elsewhere/flowers").dataset == "flowers"


def test_code_of_one_s_own_that_is_gone_is_named(tmp_path: Path) -> None:
    for field in ("hypermodel", "tuner"):
        study = replace(ready_made("shapes-unet"), **{field: "gone_module:Class"})
        with pytest.raises(InputError, match="gone_module"):
            check_study(study)


def test_other_classes_are_other_data(tmp_path: Path) -> None:
    paths = study_paths("mine", tmp_path, tmp_path)
    data = prepare("shapes", task="classification")
    study = ready_made("shapes-convnet")
    record_study(paths, replace(study, name="mine"), described(data), "mark", "")
    refuse_other_data(paths, data)
    renamed = replace(data, class_names=[*data.class_names[1:], "zinnia"])
    with pytest.raises(InputError, match="was run on, and its classes"):
        refuse_other_data(paths, renamed)


def test_own_data_names_a_study_after_itself(tmp_path: Path) -> None:
    study = chosen_study(
        None, None, "/data/My flowers!", "mobilenet_unet", {}, paths_in(tmp_path)
    )
    assert study.name == "My-flowers-mobilenet-unet"
    assert (study.task, study.objective) == ("segmentation", "val_dice")


def test_the_fingerprint_follows_what_decides_the_outcome_and_nothing_else() -> None:
    study: Study = ready_made("shapes-unet")
    mark = fingerprint(study, "data", None)
    assert fingerprint(replace(study, trials=99, data_dir="x"), "data", None) == mark
    assert fingerprint(replace(study, seed=1), "data", None) != mark
    assert fingerprint(study, "other data", None) != mark
    assert fingerprint(study, "data", "weights") != mark


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("flowers", "flowers"),
        ("Äpfel & Birnen", "Apfel-Birnen"),
        ("_été 2026.", "ete-2026"),
        ("写真", ""),
    ],
)
def test_a_study_s_name_is_made_of_a_folder_s(words: str, name: str) -> None:
    assert name_from(words) == name
