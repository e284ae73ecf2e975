"""The test set is read once, and for what was chosen before."""

import json

import pytest

from search.errors import InputError
from search.files import read_json, write_json
from search.finalizing.sealing import already_scored, check_seal, ledger, seal
from search.paths import study_paths
from search.records import BestSingle, Ensemble, write_ensemble

CHOICES = {"ensemble": {"weights": {"a": 0.5, "b": 0.5}, "temperature": 1.25}}
ASKED, OPTIONS = ["a", "b"], {"tta": [], "distill": False}


@pytest.fixture
def paths(tmp_path):
    return study_paths("s", tmp_path / "results", tmp_path / "logs")


def scored(paths, look=1):
    single = BestSingle("a", 1.0, {}, {})
    write_ensemble(
        paths.ensemble, Ensemble(["a"], [1.0], 1.0, 0.5, {}, {}, single, look)
    )


def test_choices_are_on_disk_before_the_look_is_noted(paths):
    assert not already_scored(paths, ASKED, OPTIONS, again=False)
    assert seal(paths, CHOICES, ASKED, OPTIONS, again=False) == 1
    assert read_json(paths.choices) == CHOICES
    (entry,) = ledger(paths)
    assert entry["asked"] == ASKED
    assert entry["options"] == OPTIONS
    assert not entry["again"]
    check_seal(paths)


def test_a_finalize_that_was_killed_goes_on_under_its_line(paths):
    seal(paths, CHOICES, ASKED, OPTIONS, again=False)
    assert not already_scored(paths, ASKED, OPTIONS, again=False)
    assert seal(paths, CHOICES, ASKED, OPTIONS, again=False) == 1
    assert len(ledger(paths)) == 1


def test_the_same_question_is_answered_from_the_record(paths):
    seal(paths, CHOICES, ASKED, OPTIONS, again=False)
    scored(paths)
    assert already_scored(paths, ASKED[::-1], OPTIONS, again=False)
    assert not already_scored(paths, ASKED, OPTIONS, again=True)


@pytest.mark.parametrize(
    ("asked", "options"),
    [(["a", "c"], OPTIONS), (["a"], OPTIONS), (ASKED, OPTIONS | {"distill": True})],
)
def test_another_question_after_the_look_is_refused(paths, asked, options):
    seal(paths, CHOICES, ASKED, OPTIONS, again=False)
    scored(paths)
    with pytest.raises(InputError, match=r"after the test set was read.*--again"):
        already_scored(paths, asked, options, again=False)


def test_a_choice_made_after_the_look_is_refused(paths):
    seal(paths, CHOICES, ASKED, OPTIONS, again=False)
    other = {"ensemble": {"weights": {"a": 1.0}, "temperature": 1.25}}
    with pytest.raises(InputError, match="choices made after the test set was read"):
        seal(paths, other, ASKED, OPTIONS, again=False)
    assert read_json(paths.choices) == CHOICES
    assert len(ledger(paths)) == 1


def test_a_sealed_choice_that_was_edited_is_noticed(paths):
    seal(paths, CHOICES, ASKED, OPTIONS, again=False)
    scored(paths)
    changed = json.loads(json.dumps(CHOICES))
    changed["ensemble"]["temperature"] = 0.9
    write_json(paths.choices, changed)
    with pytest.raises(InputError, match="made after the test set was read"):
        already_scored(paths, ASKED, OPTIONS, again=False)


def test_a_second_look_is_a_second_line(paths):
    seal(paths, CHOICES, ASKED, OPTIONS, again=False)
    scored(paths)
    other = {"ensemble": {"weights": {"a": 1.0}}}
    assert seal(paths, other, ["a"], OPTIONS, again=True) == 2
    assert [entry["again"] for entry in ledger(paths)] == [False, True]
    # Killed before its record: the first look's record is not an answer to it.
    assert not already_scored(paths, ["a"], OPTIONS, again=False)
    scored(paths, look=2)
    assert already_scored(paths, ["a"], OPTIONS, again=False)


def test_a_second_look_that_was_killed_goes_on_under_its_line(paths):
    seal(paths, CHOICES, ASKED, OPTIONS, again=False)
    scored(paths)
    other = {"ensemble": {"weights": {"a": 1.0}}}
    assert seal(paths, other, ["a"], OPTIONS, again=True) == 2
    write_json(paths.choices, {"edited": "meanwhile"})
    assert seal(paths, other, ["a"], OPTIONS, again=True) == 2
    check_seal(paths)
    assert seal(paths, other, ["a"], OPTIONS | {"tta": ["flip"]}, again=True) == 3
    scored(paths, look=3)
    assert seal(paths, other, ["a"], OPTIONS | {"tta": ["flip"]}, again=True) == 4
