"""Whether the settings of a study make sense, by themselves and together."""

from pathlib import Path

import hypermodels
from search.backend import load_keras
from search.errors import InputError, as_input_error
from search.oracles import check_tuner
from search.studies import PRECISIONS, Study
from search.wording import suggestion


def check_hypermodel(name: str) -> None:
    """Raise InputError where there is no such hypermodel; imports one that is own."""
    if name in hypermodels.HYPERMODELS:
        return
    known = hypermodels.known()
    if name not in known and ":" not in name:
        raise InputError(
            f"a hypermodel ({', '.join(known)}) or module:Class",
            repr(name),
            suggestion(name, known) + "Choose another --hypermodel",
        )
    load_keras()
    try:
        hypermodels.load(name)
    except ValueError as error:
        raise as_input_error(error, "docs/own-hypermodel.md shows one") from error


def check_study(study: Study) -> Study:
    """Return the study where its numbers, its weights and its own code make sense.

    Raises:
        InputError: names the option that does not.
    """
    for option, value in (
        ("--epochs", study.epochs),
        ("--trials", study.trials),
        ("--limit-train", study.limit_train),
        ("--image-size", study.image_size),
        ("--max-flops", study.max_flops),
        ("--max-parameters", study.max_parameters),
        ("--total-epochs", study.total_epochs),
        ("--augmented-passes", study.augmented_passes),
        ("--patience", study.patience),
    ):
        if value is not None and value < 1:
            raise InputError(
                f"{option} of at least 1", value, f"Choose a larger {option}"
            )
    if study.max_latency_ms is not None and not study.max_latency_ms > 0:
        raise InputError(
            "--max-latency-ms above 0", study.max_latency_ms, "Choose a larger one"
        )
    if study.seed < 0:
        raise InputError("--seed of at least 0", study.seed, "Choose another --seed")
    if study.precision not in PRECISIONS:
        raise InputError(
            f"--precision {', '.join(PRECISIONS[:-1])} or {PRECISIONS[-1]}",
            repr(study.precision),
            "Choose one of them",
        )
    if study.weights not in ("imagenet", "none") and not Path(study.weights).is_file():
        raise InputError(
            "--weights imagenet, none or the path of a weights file",
            repr(study.weights),
            "Check the path",
        )
    check_hypermodel(study.hypermodel)
    check_tuner(study.tuner)
    return study


def refuse_what_does_nothing(study: Study) -> None:
    """Raise InputError for an option that would change nothing of this study."""
    is_own_weights = study.weights not in ("imagenet", "none")
    has_no_pretrained = study.hypermodel in hypermodels.FROM_SCRATCH
    needs = "a hypermodel with a pretrained part"
    for option, is_useless, expected in (
        ("--balance-classes", study.balance_classes and study.task != "classification",
         "a data set of classes"),
        ("--weights", is_own_weights and has_no_pretrained, needs),
        ("--augmented-passes", study.augmented_passes and has_no_pretrained, needs),
    ):  # fmt: skip
        if is_useless:
            raise InputError(
                f"{expected} with {option}",
                f"{study.hypermodel} on {study.dataset}",
                f"Leave {option} out",
            )
