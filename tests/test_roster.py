"""The roster: what it keeps up to date is what looking at all trials would give."""

import random
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from search.driving.roster import Roster
from search.records import Trial


def asked(number: int, parent: str | None = None) -> Any:
    """Return a trial of keras-tuner's, new or one that continues another."""
    values = {} if parent is None else {"tuner/trial_id": parent}
    return SimpleNamespace(
        trial_id=f"asked{number}", hyperparameters=SimpleNamespace(values=values)
    )


def test_sums_and_counts_are_those_of_all_trials() -> None:
    chance, roster, trials = random.Random(0), Roster(), {}
    unswept: set[str] = set()
    for number in range(300):
        parent = None
        if trials and chance.random() < 0.6:
            parent = chance.choice(list(roster.roots))
        root = roster.root_of(asked(number, parent), {})
        goes_on = parent and trials[roster.roots[parent]].state != "RUNNING"
        assert root == (roster.roots[parent or ""] if goes_on else f"{len(trials):04d}")
        assert roster.root_of(asked(number, parent), {}) == root
        trials[root] = replace(
            trials.get(root, Trial(root)),
            state=chance.choice(["RUNNING", "PAUSED", "COMPLETED", "FAILED"]),
            epochs=chance.randrange(9),
        )
        if root not in roster.trials or trials[root].state == "RUNNING":
            unswept.add(root)
        roster.record(trials[root])
        assert [t.trial_id for t in roster.with_checkpoints()] == sorted(unswept)
        assert list(roster.trials.items()) == list(trials.items())
        assert roster.epochs == sum(trial.epochs for trial in trials.values())
        assert roster.rungs == Counter(roster.roots.values())
        assert root in roster.unsaved
        if chance.random() < 0.2:
            roster.unsaved.clear()
            removed = {t.trial_id for t in trials.values() if t.epochs < 5}
            roster.unswept -= removed
            unswept -= removed
    assert len(trials) > 50 and unswept


def test_a_trial_whose_checkpoints_were_removed_has_some_when_it_runs_again() -> None:
    roster = Roster([Trial("0000", "PAUSED"), Trial("0001", "COMPLETED")])
    roster.unswept.clear()
    roster.record(Trial("0000", "RUNNING"))
    assert [trial.trial_id for trial in roster.with_checkpoints()] == ["0000"]
    roster.record(Trial("0001", "FAILED"))
    assert [trial.trial_id for trial in roster.with_checkpoints()] == ["0000"]


def test_remembered_trials_are_claimed_once_by_their_values() -> None:
    remembered = {
        "0000": Trial("0000", values={"depth": 2}),
        "0001": Trial("0001", values={"depth": 2}),
        "0002": Trial("0002", values={"depth": 3}),
    }
    roster = Roster(remembered=remembered)
    depths = [3, 2, 2, 2]
    roots = [
        roster.root_of(asked(number), {"depth": depth})
        for number, depth in enumerate(depths)
    ]
    assert roots == ["0002", "0000", "0001", "0003"]
    assert roster.root_of(asked(9, "asked0"), {"depth": 3}) == "0002"


def test_what_goes_on_with_other_knobs_is_a_training_of_its_own() -> None:
    roster = Roster()
    root = roster.root_of(asked(0), {"depth": 2})
    roster.record(Trial(root, "PAUSED", values={"depth": 2}, epochs=3))
    assert roster.root_of(asked(1, "asked0"), {"depth": 2}) == root
    other = roster.root_of(asked(2, "asked0"), {"depth": 3})
    assert other != root
    assert roster.root_of(asked(2, "asked0"), {"depth": 3}) == other
    assert roster.root_of(asked(3, "unheard-of"), {"depth": 2}) not in (root, None)


def test_a_trial_that_stopped_early_is_ordered_no_epochs_any_more() -> None:
    stopped = Trial("0000", "COMPLETED", epochs=40, message="stopped early: …")
    again = Trial("0001", "PAUSED", epochs=4, message="killed", failure="killed")
    roster = Roster([stopped, again])
    assert [roster.to_come(key, 81) for key in ("0000", "0001", None)] == [0, 77, 81]
    assert roster.ordered({"0000": 81, "0001": 19}) == 44 + 15


def test_what_is_remembered_is_told_until_it_is_asked_for_again() -> None:
    before = Trial("0000", "COMPLETED", epochs=9, values={"a": 1})
    roster = Roster(remembered={"0000": before})
    assert roster.unclaimed_epochs == 9
    roster.root_of(asked(0), {"a": 1})
    assert roster.unclaimed_epochs == 0
