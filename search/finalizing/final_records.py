"""The records finalize leaves: the choices are sealed, and now the test is opened."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from search.beginning.leaks import SEEN_SPLITS, near_copies, refuse_changed_test
from search.finalizing.blending import Calibrated, Choices, Predictions
from search.finalizing.final_errors import write_errors
from search.finalizing.finalists import Member
from search.finalizing.scores_on_test import TestScores
from search.finalizing.steps import Chosen, Finalizing
from search.records import (
    BestSingle,
    Ensemble,
    Finalist,
    Metrics,
    write_ensemble,
    write_records,
)
from search.scoring.intervals import Columns, intervals, point

BLENDS = ("ensemble", "best_single")


def write_final_records(run: Finalizing, chosen: Chosen) -> Ensemble:
    """Open the test set, score everything and write finalists and ensemble."""
    choices = chosen.choices
    images, _ = run.data.open("test", run.study.task)
    refuse_changed_test(run.data, images)
    originals: Iterable[Any] = ()
    if run.study.task == "segmentation":
        originals = run.data.original_masks("test")
    scores = TestScores(run.judge("test"), originals, run.copies)
    wanted = {m.member_id: m for m in chosen.trained}
    wanted |= {key: chosen.library[key] for key in choices.members}
    plain = run.predict(run.orders(wanted), "test")
    finalists = [finalist_record(run, chosen, m, plain, scores) for m in chosen.trained]
    ensemble = ensemble_record(run, chosen, images, plain, scores)
    write_records(run.paths.finalists, finalists)
    write_ensemble(run.paths.ensemble, ensemble)
    return ensemble


def ensemble_record(
    run: Finalizing, chosen: Chosen, images: Any, plain: Predictions, scores: TestScores
) -> Ensemble:
    """Return the record of the ensemble and all it is compared with.

    Args:
        plain: test predictions of the members as they were chosen, before any refit.
    """
    choices, validation = chosen.choices, chosen.validation
    refits = run.refit_orders(choices, chosen.library)
    test = run.predict(refits, "test") if refits else plain
    write_errors(run, choices, test)
    blends = {"ensemble": choices.ensemble, "best_single": choices.best_single}
    columns = {name: scores.columns(test, blend) for name, blend in blends.items()}
    classes, confusions = scores.errors(test, blends, run.data.class_names)
    return Ensemble(
        members=list(choices.ensemble.weights),
        weights=list(choices.ensemble.weights.values()),
        temperature=choices.ensemble.temperature,
        threshold=choices.ensemble.threshold,
        validation=run.validation_metrics(validation, choices.ensemble),
        test=point(columns["ensemble"]),
        best_single=single_record(
            run, choices.best_single, validation, point(columns["best_single"])
        ),
        look=chosen.look,
        selection=choices.selection,
        library=library_records(run, chosen),
        calibration=calibration_record(run, blends, validation, test, scores),
        intervals=scores.compared(columns["ensemble"], columns["best_single"]),
        tta=tta_record(run, chosen, columns["ensemble"], scores),
        classes=classes,
        confusions=confusions,
        student=student_record(run, chosen, scores),
        refit=refit_record(choices, plain, scores),
        leaks=leaks_record(run, images, columns, scores),
    )


def finalist_record(
    run: Finalizing,
    chosen: Chosen,
    member: Member,
    test: Predictions,
    scores: TestScores,
) -> Finalist:
    """Return the record of a trained and scored finalist."""
    plain, outcome = (
        Calibrated({member.member_id: 1.0}),
        chosen.outcomes[member.member_id],
    )
    return Finalist(
        finalist_id=member.member_id,
        trial_id=member.trial_id,
        seed=member.seed,
        values=member.values,
        epochs=max(len(values) for values in outcome.history.values()),
        best_epoch=run.best_epoch(member),
        validation=run.validation_metrics(chosen.validation, plain),
        test=scores.judge.metrics(test, plain),
        parameters=outcome.parameters or 0,
        seconds=outcome.seconds,
        history=outcome.history,
        chosen_because=member.chosen_because,
        training=member.training,
        notes=outcome.notes,
    )


def single_record(
    run: Finalizing, blend: Calibrated, validation: Predictions, test: Metrics
) -> BestSingle:
    """Return the record of the best single model."""
    return BestSingle(
        member=next(iter(blend.weights)),
        temperature=blend.temperature,
        threshold=blend.threshold,
        validation=run.validation_metrics(validation, blend),
        test=test,
    )


def library_records(run: Finalizing, chosen: Chosen) -> list[dict[str, Any]]:
    """Return what the ensemble was chosen from, with validation scores and weights."""
    weights = chosen.choices.ensemble.weights
    metric = run.study.metric
    return [
        {
            **asdict(member),
            "epoch": run.best_epoch(member),
            "score": run.validation_metrics(
                chosen.validation, Calibrated({key: 1.0})
            ).get(metric),
            "weight": weights.get(key, 0.0),
        }
        for key, member in chosen.library.items()
        if member.kind != "student"
    ]


def calibration_record(
    run: Finalizing,
    blends: dict[str, Calibrated],
    validation: Predictions,
    test: Predictions,
    scores: TestScores,
) -> dict[str, dict[str, dict[str, Metrics]]]:
    """Return NLL, Brier score and calibration error without and with temperature."""
    judge = run.judge("validation")
    return {
        name: {
            "validation": judge.before_and_after(validation, blend),
            "test": scores.judge.before_and_after(test, blend),
        }
        for name, blend in blends.items()
    }


def tta_record(
    run: Finalizing, chosen: Chosen, plain: Columns, scores: TestScores
) -> dict[str, Any]:
    """Return what test-time augmentation does, beside the same without it."""
    choices, library = chosen.choices, chosen.library
    if not choices.tta:
        return {}
    kinds = run.options.tta
    members = [run.order(library[key]) for key in choices.members]
    validation = run.predict(members, "validation", kinds)
    orders = run.refit_orders(choices, library) or members
    test = run.predict(orders, "test", kinds)
    record: dict[str, Any] = {"kinds": list(kinds)}
    for name, blend in choices.tta.items():
        columns = scores.columns(test, blend)
        record[name] = {
            "temperature": blend.temperature,
            "threshold": blend.threshold,
            "validation": run.validation_metrics(validation, blend),
            "test": point(columns),
        }
        if name == "ensemble":
            compared = intervals(columns, plain)["difference"]
            record["difference"] = compared  # of the ensemble: with minus without
    return record


def student_record(
    run: Finalizing, chosen: Chosen, scores: TestScores
) -> dict[str, Any] | None:
    """Return the record of the distilled network."""
    choices = chosen.choices
    if choices.student is None:
        return None
    (key,) = choices.student.weights
    member, outcome = chosen.library[key], chosen.outcomes[key]
    test = run.predict([run.order(member)], "test")
    columns = scores.columns(test, choices.student)
    return {
        **asdict(member),
        "epoch": run.best_epoch(member),
        "epochs": max(len(values) for values in outcome.history.values()),
        "temperature": choices.student.temperature,
        "threshold": choices.student.threshold,
        "validation": run.validation_metrics(chosen.validation, choices.student),
        "test": point(columns),
        "intervals": intervals(columns, columns)["ensemble"],
        "parameters": outcome.parameters,
        "seconds": outcome.seconds,
        "history": outcome.history,
    }


def refit_record(
    choices: Choices, plain: Predictions, scores: TestScores
) -> dict[str, Any]:
    """Return how long members were trained on train + validation, and what it did."""
    if not choices.refit_epochs:
        return {}
    return {
        "epochs": choices.refit_epochs,
        "test_before": {
            name: scores.judge.metrics(plain, blend)
            for name, blend in zip(
                BLENDS, (choices.ensemble, choices.best_single), strict=True
            )
        },
    }


def leaks_record(
    run: Finalizing, images: Any, columns: dict[str, Columns], scores: TestScores
) -> dict[str, Any]:
    """Return how many test images were also trained on, and the score without them."""
    seen = [run.data.open(split, run.study.task)[0] for split in SEEN_SPLITS]
    record: dict[str, Any] = {
        "copies": len(scores.copies),
        "near_copies": near_copies(images, seen),
    }
    if scores.copies:
        record["test_without_copies"] = {
            name: scores.without_copies(own) for name, own in columns.items()
        }
    return record
