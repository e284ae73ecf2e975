"""What a person sees while a search runs: a table that redraws, or plain lines."""

import io
import random
from collections import Counter
from dataclasses import replace
from typing import Any

from rich.console import Console

from search.orders import Progress
from search.records import Trial, ranked
from search.watching.live import LiveView
from search.watching.tally import Tally


def console(**settings: Any) -> Console:
    plain: dict[str, Any] = {"width": 110, "file": io.StringIO(), "color_system": None}
    return Console(**{**plain, **settings})


def text_of(screen: Console) -> str:
    file = screen.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def trials() -> list[Trial]:
    values = {"stages": 3, "learning_rate": 0.001, "optimizer": "adamw"}
    return [
        Trial("0000", "COMPLETED", 0.61, 9, 9, 60.0, 10_000, values),
        Trial("0001", "PAUSED", 0.42, 3, 3, 20.0, 9_000, {**values, "stages": 2}),
        Trial("0002", "FAILED", values=values, failure="out of memory", message="OOM"),
        Trial("0003", "FAILED", values=values, failure="not finite", message="NaN"),
        Trial("0004", "INFEASIBLE", values=values, message="too large"),
        Trial("0005", "RUNNING", 0.38, 3, 3, values={**values, "optimizer": "sgd"}),
        Trial("0006", "RUNNING", values={**values, "learning_rate": 0.02}),
    ]


def view(screen: Console, planned: tuple[int, int] = (12, 120)) -> LiveView:
    """Return the view of a search of 12 trials, two of them running."""
    made = LiveView(
        screen,
        objective="val_accuracy",
        direction="max",
        most_epochs=27,
        planned=planned,
        budget_left=lambda: 600.0,
    )
    made.targets = {"0005": 9, "0006": 3}
    made.changed(trials())
    made.progress(Progress("0005", 5, 2.0, {"val_accuracy": 0.4567}))
    made.progress(Progress("0006", 1, 2.0, {"val_accuracy": 0.1234}))
    return made


def test_the_table_tells_what_runs_how_far_and_what_failed() -> None:
    screen = console(force_terminal=True)
    screen.print(view(screen).render())
    said = text_of(screen)
    assert "18/120 epochs" in said and "best 0.6100 (0000)" in said
    assert "2 failed (1 out of memory, 1 not finite), 1 infeasible" in said
    assert "epochs a minute" in said and "10 min of the budget" in said
    (row,) = (line for line in said.splitlines() if "9 of 27" in line)
    for word in ("0005", "5/9", "0.4567", "optimizer=sgd", "━"):
        assert word in row
    assert row.count("━") > 5


def test_where_nothing_can_be_redrawn_there_are_lines() -> None:
    for screen in (
        console(),
        console(force_terminal=True, _environ={"TERM": "dumb"}),
        console(force_terminal=True, force_jupyter=True),
    ):
        with view(screen) as running:
            ended = trials()
            ended[5] = Trial("0005", "COMPLETED", 0.7, 9, 9, values=ended[5].values)
            running.changed(ended)
        said = text_of(screen)
        if not screen.is_jupyter:  # there rich hands text to the notebook
            assert "trial 0005 completed: val_accuracy 0.7000 after 9 epochs" in said
        assert "\x1b[" not in said


def test_a_limit_that_was_lowered_is_not_exceeded() -> None:
    summary = view(console(), planned=(2, 4)).summary()
    assert summary.startswith("4/4 trials, 18/18 epochs")


def test_quiet_says_nothing() -> None:
    screen = console(force_terminal=True, quiet=True)
    with view(screen) as running:
        running.notice("a worker was replaced")
        running.changed([*trials(), Trial("0007", "FAILED", failure="bug")])
    assert text_of(screen) == ""


def test_without_colours_the_bars_remain() -> None:
    screen = console(
        force_terminal=True, color_system="standard", _environ={"NO_COLOR": "1"}
    )
    screen.print(view(screen).render())
    said = text_of(screen)
    assert "━" in said
    assert not any(f"\x1b[3{colour}m" in said for colour in range(8))


def test_the_tally_is_what_looking_at_all_trials_gives() -> None:
    chance = random.Random(0)
    tally, trials, reached = Tally("max"), [Trial("0000", "RUNNING")], {}
    for _ in range(300):
        place = chance.randrange(len(trials))
        if chance.random() < 0.3:
            trials.append(Trial(f"{len(trials):04d}", "RUNNING"))
        elif chance.random() < 0.3:
            epoch = chance.randrange(9)
            tally.progress(Progress(trials[place].trial_id, epoch, 0.1, {}))
            reached[place] = max(epoch, reached.get(place, 0))
        else:
            trials[place] = replace(
                trials[place],
                state=chance.choice(["COMPLETED", "PAUSED", "FAILED", "INFEASIBLE"]),
                score=chance.choice([None, chance.random()]),
                epochs=chance.randrange(9),
            )
            reached[place] = max(trials[place].epochs, reached.get(place, 0))
        tally.changed(list(trials))
        states = [trial.state for trial in trials]
        assert +tally.states == Counter(states)
        assert tally.failures.total() == states.count("FAILED")
        assert tally.epochs == sum(reached.values())
        assert tally.best == next(iter(ranked(trials, "max")), None)
