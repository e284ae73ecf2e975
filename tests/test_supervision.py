"""Decisions about workers, memory, checkpoints and budgets, as pure functions."""

import signal
from dataclasses import replace

import pytest

from search.commands.who_trains import parse_size
from search.driving.budgets import (
    WallTime,
    affordable,
    finalist_seconds,
    mean_overhead,
    reserved_seconds,
)
from search.driving.pace import Pace
from search.driving.retention import kept
from search.driving.roster import Roster
from search.errors import InputError, StorageError
from search.machine.devices import device_share
from search.machine.memory import memory_share, size_text
from search.orders import Outcome, Progress
from search.records import Trial
from search.search import kept_for_finalists
from search.studies import Study
from search.training.failures import raise_where_storage_failed
from search.workers.supervision import (
    allowed_silence,
    cause_of_end,
    exit_text,
    is_given_up,
    is_worn_out,
)


def test_patience_follows_the_longest_step_seen_and_grows_after_a_mistake() -> None:
    assert allowed_silence("training", 0.01, 0) == 120
    assert allowed_silence("training", 60, 0) == 600  # tracing took a minute
    assert allowed_silence("training", 60, 1) == 1200
    assert allowed_silence("first step", 0, 0) > allowed_silence("training", 0, 0)


@pytest.mark.parametrize(
    ("status", "ended_for", "kernel_killed", "cause"),
    [
        (-signal.SIGKILL, None, False, "killed"),
        (-signal.SIGTERM, None, False, "killed"),
        (-signal.SIGKILL, None, True, "out of memory"),
        (-signal.SIGTERM, None, True, "killed"),
        (-signal.SIGKILL, "hung", False, "hung"),
        (-signal.SIGKILL, "out of memory", False, "out of memory"),
        (-signal.SIGSEGV, None, False, "crashed"),
        (-signal.SIGABRT, None, True, "crashed"),
        (1, None, False, "crashed"),
    ],
)
def test_an_exit_status_is_told_apart(
    status: int, ended_for: str | None, kernel_killed: bool, cause: str
) -> None:
    assert cause_of_end(status, ended_for, kernel_killed) == cause


def test_an_order_is_given_up_after_the_same_end_twice_and_a_timeout_at_once() -> None:
    assert not is_given_up(["crashed"])
    assert not is_given_up(["hung", "crashed"])
    assert is_given_up(["crashed", "killed", "crashed"])
    assert is_given_up(["timeout"])
    assert not is_given_up(["killed"] * 9)


def test_exit_statuses_have_names() -> None:
    assert [exit_text(-9), exit_text(3), exit_text(-60)] == [
        "SIGKILL",
        "exit 3",
        "signal 60",
    ]


def test_a_worker_is_replaced_after_many_orders_or_much_memory() -> None:
    assert not is_worn_out(24, 0, None)
    assert is_worn_out(25, 0, None)
    assert not is_worn_out(1, 400, 1000)
    assert is_worn_out(1, 600, 1000)


def test_where_a_new_worker_is_dear_memory_alone_decides() -> None:
    assert not is_worn_out(None, 400, 1000)
    assert is_worn_out(None, 600, 1000)
    assert not is_worn_out(None, 600, None)


def test_cores_are_divided_and_gpus_dealt_out() -> None:
    share = device_share(1, workers=2, per_gpu=1, cores=8, gpus=[])
    assert share["OMP_NUM_THREADS"] == share["NPROC"] == "4"
    assert "CUDA_VISIBLE_DEVICES" not in share
    places = [
        device_share(place, workers=4, per_gpu=2, cores=8, gpus=["0", "1"])
        for place in range(4)
    ]
    assert [p["CUDA_VISIBLE_DEVICES"] for p in places] == ["0", "1", "0", "1"]
    assert {p["XLA_PYTHON_CLIENT_MEM_FRACTION"] for p in places} == {"0.45"}
    assert {p["TF_FORCE_GPU_ALLOW_GROWTH"] for p in places} == {"true"}
    # They compile in turns, each with threads that the others do not need then.
    assert {(p["OMP_NUM_THREADS"], p["NPROC"]) for p in places} == {("2", "8")}


def test_workers_share_the_memory_that_is_left_to_them() -> None:
    assert 4 * memory_share(4, 10**10) < 10**10
    assert memory_share(0, 10**10) == memory_share(1, 10**10)


def test_sizes_are_read_and_written_with_units() -> None:
    assert parse_size("800m") == 8 * 10**8
    assert parse_size("1.5 GB") == 15 * 10**8
    assert parse_size("4000000000") == 4 * 10**9
    assert size_text(1.5e9) == "1.5 GB"
    for wrong in ("", "0g", "four", "-1g", "4"):
        with pytest.raises(InputError, match="800m or 4g"):
            parse_size(wrong)


def trial(number: int, state: str, score: float | None = None) -> Trial:
    return Trial(f"{number:04d}", state, score)  # type: ignore[arg-type]


def test_checkpoints_are_kept_where_they_can_still_matter() -> None:
    trials = {
        t.trial_id: t
        for t in (
            trial(0, "RUNNING"),
            trial(1, "PAUSED", 0.1),
            trial(2, "PAUSED", 0.2),
            trial(3, "COMPLETED", 0.9),
            trial(4, "COMPLETED", 0.8),
            trial(5, "FAILED", 0.95),
            trial(6, "INFEASIBLE"),
        )
    }
    everyone = kept(trials, None, "max", top=1)
    assert everyone == {"0000", "0001", "0002", "0003"}
    assert kept(trials, {"0002"}, "max", top=1) == {"0000", "0002", "0003"}
    assert kept(trials, set(), "min", top=1) == {"0000", "0001"}


def test_a_budget_counts_the_time_of_earlier_runs() -> None:
    assert WallTime(limit=100, before=99.5).left() == pytest.approx(0.5, abs=0.4)
    assert WallTime().left() is None


def test_a_search_keeps_the_time_to_train_the_best_to_their_end() -> None:
    study = Study("s", "classification", "shapes", "convnet", epochs=9)
    trials = [
        Trial("0000", "COMPLETED", 0.9, epochs=9, seconds=90),
        Trial("0001", "PAUSED", 0.8, epochs=3, seconds=30),
        Trial("0002", "FAILED", 0.99, epochs=3, seconds=3000),
        Trial("0003", "PAUSED", 0.1, epochs=1, seconds=1000),
    ]
    # 1 and 7 epochs of 10 s, and three starts of a worker of 1 s for each.
    assert reserved_seconds(trials, study, 2, 1, overhead=1) == 80 + 6
    assert reserved_seconds(trials, study, 2, 2, overhead=1) == 70 + 3
    assert reserved_seconds([], study, 2, 2, overhead=9) == 0
    # Half the budget at most: of one, or of none where that is short.
    for budget, share in ((172, 86), (170, 10 + 3), (20, 0)):
        short = replace(study, budget_seconds=budget)
        assert reserved_seconds(trials, short, 2, 1, overhead=1) == share
    # One that stopped early has nothing to go on for.
    trials[1] = replace(trials[1], state="COMPLETED", message="stopped early")
    assert reserved_seconds(trials, study, 2, 1, overhead=1) == 20 + 6


def test_what_is_kept_for_finalists_counts_the_epochs_under_way() -> None:
    study = Study("s", "classification", "shapes", "convnet", epochs=9)
    trial = Trial("0000", "RUNNING", 0.9, epochs=3, seconds=30)
    roster = Roster([trial])
    for epoch in (4, 5, 6, 7, 8):
        roster.pace.hear(Progress("0000", epoch, 10.0, {}))
    # One epoch more and one for its predictions; all the time was spent on epochs.
    assert kept_for_finalists(roster, study, 1, 1, spent=80) == 2 * 10
    assert roster.seconds_so_far() == 80
    roster.record(replace(trial, state="PAUSED", epochs=8, seconds=80))
    assert roster.seconds_so_far() == roster.seconds == 80
    assert kept_for_finalists(roster, study, 1, 1, spent=80) == 2 * 10


def test_epochs_of_which_only_the_number_is_known_are_as_long_as_the_others() -> None:
    """A search that was killed goes on from a checkpoint that is not on record."""
    trial = Trial("0000", "RUNNING", 0.9, epochs=3, seconds=30)
    pace = Pace([trial])
    pace.hear(Progress("0000", 7, 20.0, {}))
    assert pace.so_far(trial).seconds == 30 + 4 * 20


def test_how_long_an_epoch_takes_is_known_from_the_records() -> None:
    trials = [
        Trial("0000", "PAUSED", epochs=3, seconds=90),
        Trial("0001", "COMPLETED", epochs=9, seconds=90),
        Trial("0002", "FAILED"),
    ]
    assert Pace().next_epoch(["0000"]) == 0
    pace = Pace(trials)
    assert pace.next_epoch(["0000", "0003"]) == 30
    assert pace.next_epoch(["0002"]) == 10
    pace.hear(Progress("0003", 1, 2.0, {}))
    assert pace.next_epoch([]) == 2


def test_as_many_finalists_are_trained_as_there_is_time_for() -> None:
    trial = Trial("0000", "PAUSED", 0.8, epochs=3, seconds=30)
    assert finalist_seconds(trial, 6, overhead=1) == 70 + 3
    each = [70.0, 10.0, 40.0]
    chosen = [affordable(each, 1, s) for s in (120, 119, 70, 50, 9)]
    assert chosen == [[0, 1, 2], [0, 1], [0], [1, 2], []]
    assert [affordable(each, 2, s) for s in (70, 69)] == [[0, 1, 2], [1, 2]]
    assert affordable([], 2, 10.0) == []


def test_where_storage_fails_an_order_is_no_result() -> None:
    raise_where_storage_failed(Outcome("0000", "FAILED", failure="bug"))
    with pytest.raises(StorageError, match="stale handle"):
        raise_where_storage_failed(
            Outcome("0000", "PAUSED", failure="storage", message="stale handle")
        )


def test_the_time_around_epochs_is_that_of_all_trials() -> None:
    assert mean_overhead(115, trained=115 * 15, seconds=115 * 18, workers=1) == 3
    assert mean_overhead(0, trained=0, seconds=9, workers=2) == 18


def test_epochs_under_way_are_counted_as_spent() -> None:
    roster = Roster([Trial("0000", epochs=3), Trial("0001", epochs=1)])
    assert roster.ordered({"0001": 9}) == 12
