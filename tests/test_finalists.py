"""Which configurations are retrained, and why."""

from dataclasses import replace

import pytest

from search.finalizing.diversity import choose_different, knob_spans, likeness
from search.finalizing.finalists import choose, continue_trial, search_checkpoints
from search.paths import study_paths
from search.records import Trial
from search.studies import Study
from search.training.checkpoints import BEST, LAST, Standing, save_checkpoint

STUDY = Study("s", "classification", "shapes", "convnet", epochs=9)


def trial(number, score, epochs=9, **values):
    return Trial(
        f"{number:04d}", "COMPLETED", score, epochs, epochs, 1.0, 10, values, None
    )


ALIKE = {"learning_rate": 0.01, "optimizer": "adamw", "stages": 3}
OTHER = {"learning_rate": 0.0001, "optimizer": "sgd", "stages": 2}


def test_likeness_is_one_for_equals_and_zero_for_strangers():
    spans = knob_spans([ALIKE, OTHER])
    assert likeness(ALIKE, ALIKE, spans) == 1.0
    assert likeness(ALIKE, OTHER, spans) == 0.0
    assert likeness(ALIKE, ALIKE | {"extra": 1}, spans) == 0.75


def test_learning_rates_are_compared_by_their_logarithm():
    low, middle, high = ({"learning_rate": r} for r in (1e-4, 1e-3, 1e-2))
    spans = knob_spans([low, middle, high])
    assert likeness(low, middle, spans) == pytest.approx(0.5)
    assert likeness(middle, high, spans) == pytest.approx(0.5)


def test_a_copy_of_the_best_is_passed_over_for_one_that_differs():
    trials = [trial(0, 0.80, **ALIKE), trial(1, 0.79, **ALIKE)]
    trials += [trial(2, 0.78, **OTHER), trial(3, 0.50, **OTHER)]
    chosen = choose_different(trials, "max", 2)
    assert [t.trial_id for t, _ in chosen] == ["0000", "0002"]
    assert "the best of 4 scored trials" in chosen[0][1]
    assert "rank 3 of 4" in chosen[1][1]
    assert "likeness" in chosen[1][1]


def test_being_different_does_not_make_up_for_being_bad():
    trials = [trial(0, 0.80, **ALIKE), trial(1, 0.79, **ALIKE), trial(2, 0.1, **OTHER)]
    chosen = choose_different(trials, "max", 2)
    assert [t.trial_id for t, _ in chosen] == ["0000", "0001"]


def test_the_best_is_always_first_in_either_direction():
    trials = [trial(n, score, **ALIKE) for n, score in enumerate((0.3, 0.1, 0.2))]
    assert choose_different(trials, "max", 1)[0][0].trial_id == "0000"
    assert choose_different(trials, "min", 1)[0][0].trial_id == "0001"


def test_failed_trials_and_those_without_a_score_are_never_taken():
    trials = [
        replace(trial(0, 0.9, **ALIKE), state="FAILED"),
        trial(1, None, **ALIKE),
        trial(2, 0.5, **OTHER),
    ]
    assert [t.trial_id for t, _ in choose_different(trials, "max", 3)] == ["0002"]
    assert choose_different([], "max", 3) == []


def test_all_are_taken_where_there_are_no_more_than_asked():
    trials = [trial(n, 0.1 * n, **ALIKE) for n in range(3)]
    assert len(choose_different(trials, "max", 5)) == 3


def test_every_seed_of_a_configuration_says_how_it_is_trained():
    trials = [trial(0, 0.8, epochs=3, **ALIKE), trial(1, 0.7, **OTHER)]
    members = choose(trials, STUDY, top=2, seeds=2)
    assert [m.member_id for m in members] == [
        "0000-seed0",
        "0000-seed1",
        "0001-seed0",
        "0001-seed1",
    ]
    assert members[0].training == "its trial, continued from epoch 3"
    assert members[1].training == "from the beginning"
    assert members[2].training == "its trial, which ran the full 9 epochs"


def saved(folder, epochs):
    for name in (BEST, LAST):
        save_checkpoint(folder / name, [], Standing(epochs))


def checkpoints(paths, trials):
    return search_checkpoints(paths, trials, STUDY, choose(trials, STUDY, 1, 1), print)


def test_checkpoints_that_are_gone_or_damaged_are_done_without(tmp_path):
    said = []
    paths = study_paths("s", tmp_path / "results", tmp_path / "logs")
    trials = [trial(n, 0.9 - n / 10, **ALIKE) for n in range(4)]
    finalists = choose(trials, STUDY, top=1, seeds=2)
    saved(paths.trial("0001"), 4)
    saved(paths.trial("0002"), 9)
    damaged = paths.trial("0002") / BEST
    damaged.write_bytes(damaged.read_bytes()[:-30])
    saved(paths.trial("0003"), 9)
    found = search_checkpoints(paths, trials, STUDY, finalists, said.append)
    assert [member.member_id for member in found] == ["0001-epoch4", "0003-epoch9"]
    assert len(said) == 1 and said[0].startswith("trial 0002 is left out: ")
    continue_trial(paths, finalists[0], trials)  # whose checkpoint is gone
    assert not paths.finalist("0000-seed0").exists()


def test_a_kept_checkpoint_does_not_change_when_its_trial_goes_on(tmp_path):
    paths = study_paths("s", tmp_path / "results", tmp_path / "logs")
    trials = [trial(0, 0.9, **ALIKE), trial(1, 0.8, **OTHER)]
    saved(paths.trial("0001"), 4)
    (member,) = checkpoints(paths, trials)
    kept = (paths.finalist(member.member_id) / BEST).read_bytes()
    saved(paths.trial("0001"), 7)
    assert (paths.finalist(member.member_id) / BEST).read_bytes() == kept
    (later,) = checkpoints(paths, trials)
    assert later.member_id == "0001-epoch7"
