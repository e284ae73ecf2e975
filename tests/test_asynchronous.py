"""Asynchronous halving: its budget, its promotions, its end, whatever happens."""

import itertools
import random
from dataclasses import replace

import pytest

from search.oracles.asynchronous import (
    Plan,
    decide,
    plan_halving,
    rungs_to,
    spent,
    step,
)
from search.oracles.brackets import Promote, Start, Stop, Wait, plan_brackets
from search.oracles.ledger import Ledger, Run
from search.oracles.ranking import (
    LEAST_COMPARED,
    histories_of,
    judging_rung,
    ranked,
    trusted_rung,
)

FACTOR = 3


class Schedule:
    """Runs a plan with trials that end in any order, fail, and restarts."""

    def __init__(
        self,
        plan: Plan,
        seed: int,
        workers: int = 1,
        failing: float = 0.0,
        infeasible: float = 0.0,
        configurations: int = 10**9,
    ) -> None:
        self.plan, self.workers = plan, workers
        self.failing, self.infeasible = failing, infeasible
        self.configurations = configurations
        self.rng = random.Random(seed)
        self.runs: dict[str, Run] = {}
        self.epochs: dict[str, int] = {}
        self.waits = 0
        self.outside_share = 0

    def search(self, restarts: float = 0.0) -> Ledger:
        ledger = Ledger()
        while True:
            if self.rng.random() < restarts:
                ledger = Ledger(self.runs.values())
            started = sum(run.rung == 0 for run in self.runs.values())
            exhausted = started >= self.configurations
            running = [run for run in self.runs.values() if run.state == "RUNNING"]
            decision = decide(self.plan, ledger, FACTOR, exhausted)
            if isinstance(decision, Stop):
                assert not running
                return ledger
            if isinstance(decision, Wait) or len(running) == self.workers:
                assert running
                self.waits += isinstance(decision, Wait)
                self.end(self.rng.choice(running), ledger)
            else:
                self.begin(decision, ledger)

    def begin(self, decision: Start | Promote, ledger: Ledger) -> None:
        name = f"{len(self.runs):04d}"
        if isinstance(decision, Start):
            run = Run(name, 0, 0, None, "RUNNING")
            self.epochs[name] = self.plan.bracket.epochs[0]
        else:
            parent = decision.run
            self.check_share(parent, ledger)
            run = Run(name, 0, parent.rung + 1, parent.run_id, "RUNNING")
            whole = self.plan.bracket.epochs[run.rung]
            reached = self.plan.bracket.epochs[parent.rung]
            self.epochs[name] = (decision.epochs or whole) - reached
            assert 0 < self.epochs[name] <= step(self.plan.bracket, run.rung)
        self.runs[name] = run
        ledger.record(run)

    def check_share(self, parent: Run, ledger: Ledger) -> None:
        """No trial outside the top share of its rung goes on."""
        rung = ledger.at(0, parent.rung)
        better = rung.better_than(parent.place)
        places = self.plan.bracket.sizes[parent.rung + 1]
        share = max(len(rung.finished) // FACTOR, places)
        assert better < share

    def end(self, run: Run, ledger: Ledger) -> None:
        chance = self.rng.random()
        state, score = "COMPLETED", self.rng.random()
        if run.rung == 0 and chance < self.infeasible:
            state, score = "INFEASIBLE", None
        elif chance < self.infeasible + self.failing:
            state, score = "FAILED", None
        ended = replace(run, state=state, score=score)
        self.runs[run.run_id] = ended
        ledger.record(ended)

    def epochs_spent(self) -> int:
        sound = [
            r for r in self.runs.values() if r.state not in ("FAILED", "INFEASIBLE")
        ]
        return sum(self.epochs[run.run_id] for run in sound)


@pytest.mark.parametrize("epochs", [1, 2, 5, 9, 10, 27, 50, 100])
@pytest.mark.parametrize("trials", [None, 1, 4, 20, 100])
def test_the_epochs_spent_are_those_promised(epochs: int, trials: int | None) -> None:
    for seed in range(3):
        plan = plan_halving(epochs, FACTOR, trials)
        schedule = Schedule(plan, seed, workers=1 + seed)
        schedule.search()
        assert schedule.epochs_spent() <= plan.epochs
        assert schedule.epochs_spent() >= 0.99 * plan.epochs - 1
        assert max(run.rung for run in schedule.runs.values()) == (
            len(plan.bracket.epochs) - 1
        )
        if trials is not None:
            assert sum(run.rung == 0 for run in schedule.runs.values()) <= trials


@pytest.mark.parametrize("seed", range(40))
def test_whatever_fails_the_budget_and_the_shares_hold(seed: int) -> None:
    rng = random.Random(seed)
    plan = plan_halving(rng.choice([5, 9, 27, 50]), FACTOR, rng.choice([None, 7, 40]))
    schedule = Schedule(
        plan,
        seed,
        workers=rng.choice([1, 2, 4]),
        failing=rng.choice([0.0, 0.2, 0.5]),
        infeasible=rng.choice([0.0, 0.3]),
        configurations=rng.choice([6, 10**9]),
    )
    ledger = schedule.search(restarts=0.1)
    assert schedule.epochs_spent() <= plan.epochs
    assert all(run.state != "RUNNING" for run in schedule.runs.values())
    assert spent(plan.bracket, Ledger(schedule.runs.values())) == spent(
        plan.bracket, ledger
    )


def test_a_space_of_nothing_that_can_be_trained_ends() -> None:
    Schedule(plan_halving(9, FACTOR, 5), 0, infeasible=1.0).search()


def test_every_search_ends_with_a_full_training() -> None:
    for seed in range(20):
        plan = plan_halving(27, FACTOR, 20)
        schedule = Schedule(plan, seed, workers=1 + seed % 4)
        schedule.search()
        tops = [run for run in schedule.runs.values() if run.rung == 3]
        assert any(schedule.epochs[run.run_id] == 18 for run in tops)


def test_no_worker_waits_while_configurations_and_epochs_are_left() -> None:
    schedule = Schedule(plan_halving(27, FACTOR, 300), 1, workers=4)
    ledger = schedule.search()
    assert len(ledger.runs) > 300
    assert schedule.waits <= 8


def test_a_plan_without_trials_costs_what_a_sweep_of_hyperband_does() -> None:
    for epochs in (9, 27, 50):
        sweep = sum(b.total_epochs for b in plan_brackets(epochs, FACTOR))
        assert plan_halving(epochs, FACTOR).epochs == sweep


def test_a_limit_that_was_lowered_below_what_was_spent_ends_the_search() -> None:
    plan = plan_halving(9, FACTOR, 30)
    top = Run("0", 0, 2, None, "COMPLETED", 0.5)
    first = [Run("0", 0, rung, None, "COMPLETED", 0.5) for rung in range(2)]
    ledger = Ledger([*first, top])
    assert decide(plan, ledger, FACTOR, exhausted=False, epochs_left=-5) == Start(0)


def test_a_promotion_that_failed_leaves_its_place_to_the_next() -> None:
    plan = plan_halving(9, FACTOR, 30)
    runs = [Run(f"{i}", 0, 0, None, "COMPLETED", 1 - i / 10) for i in range(3)]
    failed = Run("3", 0, 1, "0", "FAILED")
    decision = decide(plan, Ledger([*runs, failed]), FACTOR, exhausted=False)
    assert decision == Promote(runs[1])


@pytest.mark.parametrize("score", [2.0, 1.9])
def test_a_training_like_another_that_went_on_is_not_finished_twice(
    score: float,
) -> None:
    plan = plan_halving(9, FACTOR, 60)
    first = [Run(f"a{i}", 0, 0, None, "COMPLETED", 1.0) for i in range(9)]
    second = [
        Run(f"b{i}", 0, 1, f"a{i}", "COMPLETED", reached)
        for i, reached in enumerate([2.0, score, 1.5, 1.4, 1.3, 1.2])
    ]
    top = Run("c0", 0, 2, "b0", "COMPLETED", 3.0)
    decision = decide(plan, Ledger([*first, *second, top]), FACTOR, exhausted=False)
    assert decision == (Start(0) if score == 2.0 else Promote(second[1]))


def test_configurations_are_compared_at_the_highest_rung_both_have_reached() -> None:
    runs = [
        Run("a0", 0, 0, None, "COMPLETED", 0.9),
        Run("b0", 0, 0, None, "COMPLETED", 0.8),
        Run("c0", 0, 0, None, "COMPLETED", 0.85),
        Run("d0", 0, 0, None, "COMPLETED", 0.1),
        Run("a1", 0, 1, "a0", "COMPLETED", 1.0),
        Run("b1", 0, 1, "b0", "COMPLETED", 1.1),
    ]
    assert [run.run_id for run in ranked(histories_of(Ledger(runs)))] == [
        "b1",
        "c0",
        "a1",
        "d0",
    ]


@pytest.mark.parametrize("epochs", [1, 2, 3, 5, 9, 16, 20, 27, 50, 81, 100, 1000])
def test_rungs_are_evenly_spaced_from_one_epoch_to_the_last(epochs: int) -> None:
    rungs = rungs_to(epochs, 4)
    assert rungs[0] == 1
    assert rungs[-1] == epochs
    ratios = [high / low for low, high in itertools.pairwise(rungs)]
    assert all(2 <= ratio < 7.5 for ratio in ratios)
    assert not ratios or max(ratios) < 1.5 * min(ratios)


def climbed(orders: list[list[int]]) -> Ledger:
    """Return a ledger in which all reached every rung, with these scores there."""
    return Ledger(
        Run(f"{rung}-{i}", 0, rung, f"{rung - 1}-{i}" if rung else None, "COMPLETED", s)
        for rung, scores in enumerate(orders)
        for i, s in enumerate(map(float, scores))
    )


UP = list(range(LEAST_COMPARED))
DOWN = UP[::-1]


@pytest.mark.parametrize(
    ("orders", "lowest"),
    [
        ([UP], 0),
        ([UP, UP, UP], 0),
        ([DOWN, UP, UP], 1),
        ([UP, DOWN, UP], 2),
        ([DOWN, DOWN, UP], 2),
        ([[0] * LEAST_COMPARED, UP], 1),  # at the first rung all are the same
        ([DOWN[1:], UP[1:]], 0),  # too few to judge by
    ],
)
def test_a_rung_that_a_higher_one_contradicts_is_not_believed(
    orders: list[list[int]], lowest: int
) -> None:
    assert trusted_rung(histories_of(climbed(orders))) == lowest


def test_the_highest_rung_that_enough_have_reached_judges() -> None:
    few = list(range(LEAST_COMPARED - 1))
    assert judging_rung([]) == 0
    assert judging_rung(histories_of(climbed([UP]))) == 0
    assert judging_rung(histories_of(climbed([UP, UP]))) == 1
    assert judging_rung(histories_of(climbed([UP, UP, few]))) == 1
