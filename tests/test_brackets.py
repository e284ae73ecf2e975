"""The Hyperband schedule: its budget, its promotions and its end."""

import random
from dataclasses import replace

import keras_tuner
import pytest

from search.oracles import ORACLES, planned
from search.oracles.brackets import (
    Bracket,
    Promote,
    Start,
    Stop,
    Wait,
    decide,
    keras_tuner_brackets,
    plan_brackets,
)
from search.oracles.ledger import Ledger, Run
from search.studies import ready_made

FACTOR = 3


def simulate(
    brackets: list[Bracket],
    workers: int,
    seed: int,
    failure_fraction: float = 0.0,
    configurations: int | None = None,
) -> tuple[list[Run], list[Promote], int]:
    """Run a schedule with trials that end in any order.

    Returns the runs, the promotions in order, and how often a worker had to wait
    although new configurations were left.
    """
    rng = random.Random(seed)
    runs: list[Run] = []
    promotions: list[Promote] = []
    waits = 0
    while True:
        exhausted = (
            configurations is not None
            and sum(run.rung == 0 for run in runs) >= configurations
        )
        running = [run for run in runs if run.state == "RUNNING"]
        decision = decide(brackets, Ledger(runs), FACTOR, exhausted)
        if isinstance(decision, Stop):
            return runs, promotions, waits
        if isinstance(decision, Wait) or len(running) >= workers:
            waits += isinstance(decision, Wait) and len(running) < workers
            ended = rng.choice(running)
            failed = rng.random() < failure_fraction
            quality = float(random.Random(f"{seed}{root_of(ended, runs)}").random())
            runs[runs.index(ended)] = replace(
                ended,
                state="FAILED" if failed else "COMPLETED",
                score=None if failed else quality,
            )
        elif isinstance(decision, Start):
            runs.append(Run(f"{len(runs)}", decision.bracket, 0, None, "RUNNING"))
        else:
            promotions.append(decision)
            parent = decision.run
            runs.append(
                Run(
                    f"{len(runs)}",
                    parent.bracket,
                    parent.rung + 1,
                    parent.run_id,
                    "RUNNING",
                )
            )


def root_of(run: Run, runs: list[Run]) -> str:
    while run.parent is not None:
        run = next(other for other in runs if other.run_id == run.parent)
    return run.run_id


def epochs_spent(brackets: list[Bracket], runs: list[Run]) -> int:
    spent = 0
    for run in runs:
        epochs = (0, *brackets[run.bracket].epochs)
        spent += epochs[run.rung + 1] - epochs[run.rung]
    return spent


def test_a_sweep_of_nine_epochs_is_that_of_the_paper() -> None:
    assert plan_brackets(9, 3) == [
        Bracket(epochs=(1, 3, 9), sizes=(9, 3, 1)),
        Bracket(epochs=(3, 9), sizes=(5, 1)),
        Bracket(epochs=(9,), sizes=(3,)),
    ]


@pytest.mark.parametrize("epochs", [1, 2, 3, 5, 9, 10, 27, 50, 100])
@pytest.mark.parametrize("trials", [None, 1, 4, 20])
def test_any_number_of_epochs_and_trials_can_be_planned(
    epochs: int, trials: int | None
) -> None:
    brackets = plan_brackets(epochs, FACTOR, trials)
    for bracket in brackets:
        assert bracket.epochs[-1] == epochs
        assert list(bracket.epochs) == sorted(set(bracket.epochs))
        assert bracket.sizes[-1] >= 1
    if trials is not None:
        assert sum(bracket.sizes[0] for bracket in brackets) == trials


@pytest.mark.parametrize("epochs", [1, 2, 5, 9, 10, 27, 81, 243])
def test_keras_tuner_s_plan_is_what_its_oracle_does(epochs: int) -> None:
    oracle = keras_tuner.oracles.HyperbandOracle(
        keras_tuner.Objective("val_accuracy", "max"), max_epochs=epochs, factor=FACTOR
    )
    brackets = keras_tuner_brackets(epochs, FACTOR)
    assert len(brackets) == oracle._get_num_brackets()
    for number, bracket in enumerate(reversed(brackets)):
        rounds = range(oracle._get_num_rounds(number))
        assert bracket.epochs == tuple(oracle._get_epochs(number, r) for r in rounds)
        assert bracket.sizes == tuple(oracle._get_size(number, r) for r in rounds)


def test_every_tuner_of_ours_tells_what_it_will_cost() -> None:
    study = replace(ready_made("shapes-convnet"), epochs=9)
    for tuner in ORACLES:
        trials, epochs = planned(replace(study, tuner=tuner)) or (0, 0)
        assert trials > 5 and epochs > 9
    assert planned(replace(study, tuner="kt-hyperband")) == (17, 75)
    grid = replace(study, tuner="grid", trials=4)
    assert planned(grid) == (4, 36)


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("epochs", [9, 10, 27])
def test_the_epochs_spent_are_the_epochs_promised(epochs: int, workers: int) -> None:
    brackets = plan_brackets(epochs, FACTOR)
    for seed in range(5):
        runs, _, _ = simulate(brackets, workers, seed)
        promised = sum(bracket.total_epochs for bracket in brackets)
        assert epochs_spent(brackets, runs) == promised


def test_one_worker_promotes_exactly_the_best_of_each_rung() -> None:
    brackets = plan_brackets(9, FACTOR)
    runs, promotions, _ = simulate(brackets, workers=1, seed=3)
    first = sorted(
        (run for run in runs if run.bracket == 0 and run.rung == 0),
        key=lambda run: -(run.score or 0),
    )
    promoted = {p.run.run_id for p in promotions if p.run in first}
    assert promoted == {run.run_id for run in first[:3]}


@pytest.mark.parametrize("seed", range(10))
def test_failures_do_not_consume_promotions(seed: int) -> None:
    brackets = plan_brackets(27, FACTOR)
    runs, _, _ = simulate(brackets, workers=3, seed=seed, failure_fraction=0.2)
    for index, bracket in enumerate(brackets):
        top = [
            run
            for run in runs
            if (run.bracket, run.rung) == (index, len(bracket.sizes) - 1)
        ]
        reached = [run for run in top if run.state == "COMPLETED"]
        if len(bracket.sizes) > 1 and len(reached) < bracket.sizes[-1]:
            promoted = {run.parent for run in runs}
            left = [
                run
                for run in runs
                if run.bracket == index
                and run.rung < len(bracket.sizes) - 1
                and run.state == "COMPLETED"
                and run.run_id not in promoted
            ]
            assert left == []


def test_a_failed_promotion_is_given_to_the_next_best() -> None:
    bracket = [Bracket(epochs=(1, 3), sizes=(3, 1))]
    runs = [
        Run("0", 0, 0, None, "COMPLETED", 0.3),
        Run("1", 0, 0, None, "COMPLETED", 0.2),
        Run("2", 0, 0, None, "COMPLETED", 0.1),
        Run("3", 0, 1, "0", "FAILED"),
    ]
    assert decide(bracket, Ledger(runs), FACTOR, exhausted=False) == Promote(runs[1])


def test_a_small_space_is_exhausted_and_its_best_reach_the_top() -> None:
    brackets = plan_brackets(27, FACTOR)
    runs, _, _ = simulate(brackets, workers=2, seed=0, configurations=9)
    assert sum(run.rung == 0 for run in runs) == 9
    assert any(run.rung == len(brackets[0].sizes) - 1 for run in runs)


def test_no_worker_waits_while_configurations_are_left() -> None:
    brackets = plan_brackets(27, FACTOR)
    runs: list[Run] = []
    for _ in range(4):
        decision = decide(brackets, Ledger(runs), FACTOR, exhausted=False)
        assert isinstance(decision, Start)
        runs.append(Run(f"{len(runs)}", decision.bracket, 0, None, "RUNNING"))


def test_an_idle_worker_takes_a_promotion_that_is_good_so_far() -> None:
    bracket = [Bracket(epochs=(1, 3), sizes=(4, 1))]
    finished = [
        Run(f"{index}", 0, 0, None, "COMPLETED", index / 10) for index in range(3)
    ]
    running = Run("3", 0, 0, None, "RUNNING")
    decision = decide(bracket, Ledger([*finished, running]), FACTOR, exhausted=False)
    assert decision == Promote(finished[2])
    too_few = [*finished[:2], running, replace(running, run_id="4")]
    assert decide(bracket, Ledger(too_few), FACTOR, exhausted=False) == Wait()
