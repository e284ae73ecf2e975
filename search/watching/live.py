"""What a person sees while orders run: a live table, or lines where none can be."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from search.orders import Progress
from search.records import Direction, Trial, leading
from search.watching.tally import Tally
from search.wording import counted, duration, shown, values_text

BEST_SHOWN = 5
BAR_WIDTH = 16
SECONDS_BETWEEN_NOTICES = 60
QUIET_STATES = ("RUNNING", "WAITING", "INFEASIBLE")
CHANGED = "unlike the first trial"


class LiveView:
    """Shows a search; a `Watcher` for the driver.

    Args:
        planned: (trials, epochs) of the whole search, where known.
        budget_left: returns seconds of the budget, where there is one.
        most_epochs: of one trial.

    Attributes:
        targets: trial id -> epoch at which its rung ends, the length of its bar.
    """

    def __init__(
        self,
        console: Console,
        *,
        objective: str,
        direction: Direction,
        most_epochs: int,
        planned: tuple[int, int] | None,
        budget_left: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._console = console
        self._objective = objective
        self._direction = direction
        self._most_epochs = most_epochs
        self._planned = planned
        self._budget_left = budget_left
        self._tally = Tally(direction)
        self._started = time.monotonic()
        self._epochs_seen = 0
        self._live: Live | None = None
        self._noticed: dict[str, float] = {}
        self.targets: Mapping[str, int] = {}

    def __enter__(self) -> Self:
        if can_redraw(self._console):
            self._live = Live(
                console=self._console,
                get_renderable=self.render,
                refresh_per_second=2,
            )
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def progress(self, progress: Progress) -> None:
        """Take note of an epoch."""
        self._tally.progress(progress)
        self._epochs_seen += 1

    def changed(self, trials: list[Trial]) -> None:
        """Take note of a trial that began or ended; say so where there is no table."""
        known = self._tally.first is not None
        for trial in self._tally.changed(trials):
            quiet = trial.state in QUIET_STATES or not known
            if self._live is None and not quiet:
                self._console.print(
                    self.line(trial), highlight=False, markup=False, soft_wrap=True
                )

    def notice(self, text: str) -> None:
        """Say something, and the same again at most once a minute."""
        now = time.monotonic()
        if now - self._noticed.get(text, -math.inf) >= SECONDS_BETWEEN_NOTICES:
            self._noticed[text] = now
            self._console.print(
                text, style="yellow", highlight=False, markup=False, soft_wrap=True
            )

    def line(self, trial: Trial) -> str:
        """Return one line on a trial that ended or paused."""
        length = counted(trial.epochs, "epoch")
        result = f"{self._objective} {shown(trial.score)} after {length}"
        if trial.failure:
            result = f"{trial.failure}: {trial.message}"
        return (
            f"trial {trial.trial_id} {trial.state.lower()}: {result} | {self.summary()}"
        )

    def summary(self) -> str:
        """Return how far the search is, the best score and the time left."""
        states, epochs = self._tally.states, self._tally.epochs
        ended = states.total() - sum(states[state] for state in QUIET_STATES)
        parts = [counted(ended, "trial"), counted(epochs, "epoch")]
        if self._planned is not None:
            trials, most = self._planned  # lowered, there may be more already
            parts = [
                f"{ended}/{max(ended, trials)} trials",
                f"{epochs}/{max(epochs, most)} epochs",
            ]
        best = self._tally.best
        if best is not None:
            parts.append(f"best {shown(best.score)} ({best.trial_id})")
        return ", ".join([*parts, *failed_words(self._tally), *self.time_words()])

    def time_words(self) -> list[str]:
        """Return how fast it goes, and the time, epochs and budget left."""
        words = []
        if self._epochs_seen:
            minutes = max(1e-9, time.monotonic() - self._started) / 60
            words.append(f"{self._epochs_seen / minutes:.3g} epochs a minute")
        left = self.seconds_left()
        if left is not None:
            words.append(f"about {duration(left)} left")
        budget = self._budget_left()
        if budget is not None:
            words.append(f"{duration(max(0.0, budget))} of the budget")
        return words

    def seconds_left(self) -> float | None:
        """Estimate the time left from the epochs seen so far."""
        if self._planned is None or not self._epochs_seen:
            return None
        elapsed = time.monotonic() - self._started
        left = max(0, self._planned[1] - self._tally.epochs)
        return elapsed / self._epochs_seen * left

    def render(self) -> RenderableType:
        """Return the live table."""
        metric, trials = self._objective, self._tally.trials
        running = one_line_rows(
            {"running": 9, "": BAR_WIDTH, "epoch": 7, "rung": 9, metric: 12}
        )
        for trial in trials:
            if trial.state == "RUNNING":
                running.add_row(*self.running_row(trial))
        best = one_line_rows({"best so far": 11, "epochs": 7, metric: 12})
        first = leading(trials, self._direction, BEST_SHOWN)
        for place, trial in enumerate(first):
            best.add_row(
                trial.trial_id,
                str(trial.epochs),
                Text(shown(trial.score), style="" if place else "bold green"),
                self.changed_text(trial),
            )
        return Group(self.head(), Text(), running, Text(), best)

    def head(self) -> RenderableType:
        """Return how far the search is, with a bar where that is known."""
        words = Text(self.summary(), style="bold")
        if self._planned is None:
            return words
        done, most = self._tally.epochs, self._planned[1]
        return Group(words, ProgressBar(total=max(done, most), completed=done))

    def running_row(self, trial: Trial) -> Sequence[RenderableType]:
        """Return the row of a running trial: its bar reaches to the end of its rung."""
        latest = self._tally.latest.get(trial.trial_id)
        epoch = max(trial.epochs, latest.epoch if latest else 0)
        score = latest.logs.get(self._objective) if latest else trial.score
        target = self.targets.get(trial.trial_id, self._most_epochs)
        return (
            trial.trial_id,
            ProgressBar(total=target, completed=epoch, width=BAR_WIDTH),
            f"{epoch}/{target}",
            f"{target} of {self._most_epochs}",
            shown(score),
            self.changed_text(trial),
        )

    def changed_text(self, trial: Trial) -> Text:
        """Return, in one line, the values in which a trial differs from the first."""
        first = self._tally.first or trial
        own = {k: v for k, v in trial.values.items() if first.values.get(k) != v}
        words = values_text(own) or "–"
        return Text(words, style="dim", overflow="ellipsis", no_wrap=True)


def one_line_rows(widths: dict[str, int]) -> Table:
    """Return a table of fixed columns and a last one that is cut to the terminal."""
    table = Table(box=None, pad_edge=False, expand=True)
    for heading, width in widths.items():
        table.add_column(heading, no_wrap=True, min_width=width, max_width=width)
    table.add_column(CHANGED, no_wrap=True, ratio=1)
    return table


def can_redraw(console: Console) -> bool:
    """Return whether lines can be drawn over: not in a file, notebook or plain log."""
    is_plain = console.is_jupyter or console.is_dumb_terminal or console.quiet
    return console.is_terminal and not is_plain


def failed_words(tally: Tally) -> list[str]:
    """Return `3 failed (2 out of memory, 1 bug)` and `4 infeasible`."""
    kinds, infeasible = +tally.failures, tally.states["INFEASIBLE"]
    words = []
    if kinds:
        told = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        words.append(f"{kinds.total()} failed ({told})")
    return [*words, *([f"{infeasible} infeasible"] if infeasible else [])]


class Quiet:
    """A watcher that shows nothing."""

    def progress(self, progress: Progress) -> None:
        """Show nothing."""

    def changed(self, trials: list[Trial]) -> None:
        """Show nothing."""

    def notice(self, text: str) -> None:
        """Show nothing."""
