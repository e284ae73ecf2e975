"""The steps of finalize: train, choose on validation, seal, and only then the test."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from search.datasets import PreparedDataset
from search.driving.batches import run_all
from search.files import write_array
from search.finalizing.blending import (
    Calibrated,
    Choices,
    Judge,
    Predictions,
    choose_blend,
)
from search.finalizing.distillation import soft_targets, student_of
from search.finalizing.finalists import (
    Member,
    continue_trial,
    member_order,
    refit_order,
    search_checkpoints,
)
from search.finalizing.sealing import seal
from search.orders import Executor, Order, Outcome, Progress
from search.output import plainly
from search.paths import StudyPaths
from search.records import Metrics, Trial
from search.studies import Study
from search.training.checkpoints import BEST, Standing, read_standing
from search.training.failures import (
    CRASHED,
    HUNG,
    KILLED,
    OUT_OF_MEMORY,
    raise_where_storage_failed,
)
from search.training.predictions import prediction_path
from search.wording import counted, shown

# Kinds of failure that may not happen the next time, with fewer --workers say: until
# then the test set is not read for what else the search has left.
PASSING = (CRASHED, HUNG, KILLED, OUT_OF_MEMORY)


@dataclass(frozen=True)
class Options:
    """What finalize is asked for beside the finalists.

    Attributes:
        use_validation: train what is handed over anew on train + validation.
        tta: kinds of test-time augmentation to measure.
        distill: train a student on the ensemble's outputs.
    """

    use_validation: bool = False
    tta: tuple[str, ...] = ()
    distill: bool = False

    def recorded(self) -> dict[str, Any]:
        """Return them as the ledger holds them."""
        return {**asdict(self), "tta": list(self.tta)}


@dataclass(frozen=True)
class Chosen:
    """What is sealed, and what it was chosen from.

    Attributes:
        library: member id -> member, the student included.
        trained: the finalists whose training succeeded.
        outcomes: member id -> how its training ended.
        validation: member id -> probabilities on validation.
        look: which look at the test set this is, from 1.
    """

    choices: Choices
    library: dict[str, Member]
    trained: list[Member]
    outcomes: dict[str, Outcome]
    validation: Predictions
    look: int


@dataclass
class Finalizing:
    """One run of finalize: the steps share the study, its data and the workers."""

    study: Study
    paths: StudyPaths
    data: PreparedDataset
    executor: Executor
    console: Console
    options: Options
    copies: list[int]
    again: bool = False

    def choose(self, finalists: list[Member], trials: Sequence[Trial]) -> Chosen:
        """Train, choose on validation, and seal the choices.

        Finalists may fail; the search's own checkpoints are there as well.

        Raises:
            RuntimeError: every training failed, and there is no checkpoint, or the
                next time one may succeed.
        """
        for member in finalists:
            continue_trial(self.paths, member, trials)
        orders = [self.order(member) for member in finalists]
        outcomes, failed = self.attempt(orders)
        passing = [lost for lost in failed if lost.failure in PASSING]
        if passing and not outcomes:
            raise all_failed(passing)
        trained = [m for m in finalists if m.member_id in outcomes]
        checkpoints = search_checkpoints(
            self.paths, trials, self.study, trained, self.console.print
        )
        library = {m.member_id: m for m in [*trained, *checkpoints]}
        if failed and not library:
            raise all_failed(failed)
        validation = self.predict(self.orders(library), "validation")
        judge = self.judge("validation")
        choices = choose_blend(judge, validation)
        choices = self.with_tta(choices, library)
        choices = self.with_student(choices, library, validation, outcomes)
        choices = self.with_refit(choices, library)
        asked = [member.member_id for member in finalists]
        look = seal(
            self.paths, asdict(choices), asked, self.options.recorded(), self.again
        )
        return Chosen(choices, library, trained, outcomes, validation, look)

    def train(self, orders: list[Order]) -> dict[str, Outcome]:
        """Train all orders; return the outcomes of those that succeeded.

        Raises:
            RuntimeError: none did.
        """
        trained, failed = self.attempt(orders)
        if failed and not trained:
            raise all_failed(failed)
        return trained

    def attempt(self, orders: list[Order]) -> tuple[dict[str, Outcome], list[Outcome]]:
        """Train all orders; return what succeeded, by order id, and what failed."""
        if not orders:
            return {}, []
        networks = counted(len(orders), "network")
        epochs = counted(sum(order.epochs for order in orders), "epoch")
        self.console.print(
            f"Training {networks} of [bold]{self.study.name}[/bold],"
            f" at most {epochs} in all"
        )
        lengths = {order.order_id: order.epochs for order in orders}
        outcomes = run_all(
            orders,
            self.executor,
            lambda progress: self.say_progress(progress, lengths),
            plainly(self.console),
        )
        for outcome in outcomes.values():
            raise_where_storage_failed(outcome)
            if outcome.state != "COMPLETED":
                self.console.print(
                    f"{outcome.order_id} {outcome.failure}: {outcome.message}",
                    markup=False,
                )
        trained = {k: o for k, o in outcomes.items() if o.state == "COMPLETED"}
        return trained, [o for k, o in outcomes.items() if k not in trained]

    def say_progress(self, progress: Progress, lengths: dict[str, int]) -> None:
        """Say a line a finished epoch."""
        value = shown(progress.logs.get(self.study.objective))
        self.console.print(
            f"{progress.order_id}: epoch {progress.epoch}/"
            f"{lengths[progress.order_id]}, {self.study.objective} {value}",
            highlight=False,
        )

    def order(self, member: Member) -> Order:
        return member_order(self.study, self.paths, self.data.folder, member)

    def orders(self, members: dict[str, Member]) -> list[Order]:
        return [self.order(member) for member in members.values()]

    def predict(
        self, orders: Sequence[Order], split: str, tta: tuple[str, ...] = ()
    ) -> Predictions:
        """Return member id -> probabilities on a split, memory-mapped."""
        asked = [replace(o, job="predict", split=split, tta=list(tta)) for o in orders]
        outcomes = run_all(
            asked, self.executor, lambda progress: None, plainly(self.console)
        )
        for outcome in outcomes.values():
            raise_where_storage_failed(outcome)
            if outcome.state != "COMPLETED":
                raise RuntimeError(
                    f"{outcome.order_id} could not predict {split}:"
                    f" {outcome.message}\n{outcome.traceback or ''}"
                )
        return {
            order.order_id: np.load(prediction_path(order), mmap_mode="r")
            for order in asked
        }

    def judge(self, split: str) -> Judge:
        """Return what scores blends on a split; opens its targets."""
        targets = self.data.open(split, self.study.task)[1]
        coarse = self.data.coarse_of_classes()
        return Judge(self.study.task, targets, coarse, self.study.metric)

    def with_tta(self, choices: Choices, library: dict[str, Member]) -> Choices:
        """Calibrate the chosen blends on augmented predictions, where asked."""
        if not self.options.tta:
            return choices
        orders = [self.order(library[key]) for key in choices.members]
        seen = self.predict(orders, "validation", self.options.tta)
        judge = self.judge("validation")
        return replace(
            choices,
            tta={
                "ensemble": judge.calibrated(seen, choices.ensemble.weights),
                "best_single": judge.calibrated(seen, choices.best_single.weights),
            },
        )

    def with_student(
        self,
        choices: Choices,
        library: dict[str, Member],
        validation: Predictions,
        outcomes: dict[str, Outcome],
    ) -> Choices:
        """Train and calibrate the distilled network, where asked."""
        if not self.options.distill:
            return choices
        (single,) = choices.best_single.weights
        student = student_of(library[single], choices.ensemble)
        library[student.member_id] = student
        targets = Path(self.order(student).folder) / "soft_targets.npy"
        if not targets.exists():
            self.write_soft_targets(targets, choices.ensemble, library)
        order = replace(self.order(student), soft_targets=str(targets))
        outcomes |= self.train([order])
        validation |= self.predict([order], "validation")
        judge = self.judge("validation")
        return replace(
            choices, student=judge.calibrated(validation, {student.member_id: 1.0})
        )

    def write_soft_targets(
        self, path: Path, blend: Calibrated, library: dict[str, Member]
    ) -> None:
        """Write what the ensemble says of the images the student trains on."""
        orders = [self.order(library[key]) for key in blend.weights]
        predictions = self.predict(orders, "train")
        targets = self.data.train_rows(
            self.study.task, self.study.limit_train, self.study.seed
        )[1]
        write_array(path, soft_targets(self.study.task, predictions, blend, targets))

    def with_refit(self, choices: Choices, library: dict[str, Member]) -> Choices:
        """Train the chosen members anew on train + validation, where asked."""
        if not self.options.use_validation:
            return choices
        epochs = {key: self.best_epoch(library[key]) for key in choices.members}
        choices = replace(choices, refit_epochs=epochs)
        orders = self.refit_orders(choices, library)
        trained = self.train(orders)
        if len(trained) < len(orders):
            raise RuntimeError("a member could not be trained on train + validation")
        return choices

    def refit_orders(self, choices: Choices, library: dict[str, Member]) -> list[Order]:
        """Return the orders of the members on train + validation."""
        return [
            refit_order(
                self.order(library[key]),
                epochs,
                self.best_standing(library[key]).history,
            )
            for key, epochs in choices.refit_epochs.items()
        ]

    def best_epoch(self, member: Member) -> int:
        """Return the epoch with the best validation score, whose weights are kept."""
        return self.best_standing(member).epochs

    def best_standing(self, member: Member) -> Standing:
        """Return where a member's training stood in its best epoch."""
        standing = read_standing(Path(self.order(member).folder) / BEST)
        assert standing is not None, "it has predicted"
        return standing

    def validation_metrics(self, validation: Predictions, blend: Calibrated) -> Metrics:
        return self.judge("validation").metrics(validation, blend)


def all_failed(outcomes: Sequence[Outcome]) -> RuntimeError:
    """Return the error of trainings of which none succeeded."""
    first = outcomes[0]
    return RuntimeError(
        f"every training failed; the first one: {first.failure}: {first.message}\n"
        f"{first.traceback or ''}"
    )
