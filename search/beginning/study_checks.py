"""Whether the settings of a study make sense, by themselves and together."""

from math import inf
from pathlib import Path

import hypermodels
from search.errors import InputError, as_input_error
from search.machine.backend import load_keras
from search.oracles import check_tuner
from search.studies import PRECISIONS, Study
from search.wording import suggestion

# NumPy takes 32 bits; the seeds of finalists and comparisons follow the study's.
LARGEST_SEED = 2**31 - 1


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


def check_weights(weights: str) -> None:
    """Raise InputError where a file of pretrained weights is not there."""
    if weights not in ("imagenet", "none") and not Path(weights).is_file():
        raise InputError(
            "--weights imagenet, none or the path of a weights file",
            repr(weights),
            "Check the path, or put the file back",
        )


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
        if value is not None and not 1 <= value < inf:  # JSON has no infinity
            raise InputError(
                f"{option} of at least 1, and finite", value, f"Choose another {option}"
            )
    latency = study.max_latency_ms
    if latency is not None and not 0 < latency < inf:
        remedy = "Choose another --max-latency-ms"
        raise InputError("--max-latency-ms above 0, and finite", latency, remedy)
    if not 0 <= study.seed <= LARGEST_SEED:
        raise InputError(
            f"--seed from 0 to {LARGEST_SEED}", study.seed, "Choose another --seed"
        )
    if study.precision not in PRECISIONS:
        raise InputError(
            f"--precision {', '.join(PRECISIONS[:-1])} or {PRECISIONS[-1]}",
            repr(study.precision),
            "Choose one of them",
        )
    check_weights(study.weights)
    check_hypermodel(study.hypermodel)
    check_tuner(study.tuner)
    return study


def refuse_what_does_nothing(study: Study) -> None:
    """Raise InputError for an option that would change nothing of this study."""
    is_own_weights = study.weights not in ("imagenet", "none")
    has_no_pretrained = hypermodels.is_from_scratch(study.hypermodel)
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
