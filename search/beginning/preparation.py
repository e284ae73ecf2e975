"""What every verb that trains begins with: data, space, size limit and study.json."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from hypermodels.errors import ImageSizeError, WeightsError
from search.beginning.inputs import (
    code_hashes,
    described,
    prepared_data,
    weights_hash,
    with_data_dir,
)
from search.beginning.leaks import refuse_copies
from search.beginning.study_checks import check_study, refuse_what_does_nothing
from search.beginning.study_record import (
    as_compared,
    fingerprint,
    record_study,
    refuse_changes,
)
from search.datasets import PreparedDataset, check_foreground
from search.datasets.splits import limited
from search.environment import COMMAND
from search.errors import InputError, as_input_error
from search.machine.backend import load_keras
from search.machine.devices import cpu_flops, gpus, have_bfloat16
from search.paths import StudyPaths
from search.records import Values
from search.scoring.pareto import COSTS, objectives_of
from search.spaces import declare_space, default_values
from search.studies import Study, is_recorded, open_study
from search.training.loop import make_hypermodel
from search.wording import suggestion

# What the loss itself depends on.
LOSS_KNOBS = ("loss", "label_smoothing")


@dataclass(frozen=True)
class Beginning:
    """A study that can run: checked, its data prepared, its space declared."""

    study: Study
    data: PreparedDataset
    space: Any
    mark: str
    default_flops: Callable[[], float]
    baselines: dict[str, Values]

    def train_images(self) -> int:
        """Return how many images an epoch trains on."""
        return self.data.trained_on(self.study.limit_train)

    def record(self, paths: StudyPaths) -> None:
        """Write study.json."""
        data = described(self.data)
        record_study(paths, self.study, data, self.mark, COMMAND.get())


def begin(
    study: Study,
    paths: StudyPaths,
    data_dir: Path | None,
    say: Callable[[str], None],
    have_gpus: bool | None = None,
    meanwhile: Callable[[], None] | None = None,
) -> Beginning:
    """Check a study, prepare its data and declare its space; records nothing.

    A study that has changed since it was recorded is refused.

    Args:
        have_gpus: whether workers get GPUs; None = where this machine has any.
        meanwhile: called before Keras is imported, when all but the space is checked.

    Raises:
        InputError: the input cannot be used; nothing has been written then.
    """
    study = with_data_dir(check_study(study), data_dir)
    study = replace(study, precision=precision_of(study, paths))
    data = prepared_data(study, data_dir, say)
    check_limit(study, data)
    if not is_recorded(paths):  # finalize would refuse the search's work
        refuse_copies(data)
        check_foreground(data)
        refuse_what_does_nothing(study)
    if meanwhile is not None:
        meanwhile()
    load_keras()
    have_gpus = bool(gpus()) if have_gpus is None else have_gpus
    with suited():
        hypermodel = make_hypermodel(study, data, study.epochs)
        check_objectives(study, hypermodel)
        space = declare_space(hypermodel, study.fixed, study.narrowed)
        for note in unlike_losses(study, space):
            say(note)
        flops = cache(default_flops(hypermodel, space))
        study = sized(study, paths, data, flops, have_gpus)
    if is_recorded(paths):
        like = as_compared(study, paths)
        refuse_changes(paths, like, mark_of(like, data), data.fingerprint)
    mark = mark_of(study, data)
    return Beginning(study, data, space, mark, flops, hypermodel.baselines)


def mark_of(study: Study, data: PreparedDataset) -> str:
    """Return the hash of everything that decides the outcome, files included."""
    files = weights_hash(study.weights), code_hashes(study)
    return fingerprint(study, data.fingerprint, *files)


def check_limit(study: Study, data: PreparedDataset) -> None:
    """Raise InputError where --limit-train leaves a class without an image."""
    count = data.trained_on(study.limit_train)
    if study.task == "classification" and count < data.sizes["train"]:
        limited(data.open("train", study.task)[1], count, study.seed)


@contextmanager
def suited() -> Iterator[None]:
    """Raise InputError where weights or the size of the images suit no network.

    So are weights that cannot be fetched.
    """
    try:
        yield
    except (ConnectionError, WeightsError) as error:
        remedy = "Pass --weights FILE, an .h5 without its top, or --weights none"
        raise as_input_error(error, remedy) from error
    except ImageSizeError as error:
        raise as_input_error(error, "Choose another --image-size") from error


def check_objectives(study: Study, hypermodel: Any) -> None:
    """Raise InputError where a metric to search by is none that the network has."""
    known = [*names_of_metrics(hypermodel), "val_loss", *COSTS]
    for name in objectives_of(study):
        if name not in known:
            raise InputError(
                f"--objective {', '.join(known)}",
                repr(name),
                suggestion(name, known) + "Name what the network is measured by",
            )


def names_of_metrics(hypermodel: Any) -> list[str]:
    """Return `val_accuracy` and so on; what the metrics count in is not made.

    On a GPU that would take the memory which its workers are to have.
    """
    import keras

    try:
        with keras.StatelessScope(initialize_variables=False):
            made = hypermodel.make_metrics()
    except Exception:  # one of the user's own that sets a value at once
        made = hypermodel.make_metrics()
    finally:
        keras.utils.clear_session(free_memory=False)  # nothing waits to be made
    return [f"val_{metric.name}" for metric in made]


def unlike_losses(study: Study, space: Any) -> Iterator[str]:
    """Yield a line for each knob that makes losses incomparable that are compared."""
    if "val_loss" not in objectives_of(study):
        return
    for knob in space.space:
        if knob.name in LOSS_KNOBS and type(knob).__name__ != "Fixed":
            yield (
                f"val_loss is something else under each {knob.name}, and the smallest"
                f" wins: --fix {knob.name}={knob.default} makes trials comparable"
            )


def precision_of(study: Study, paths: StudyPaths) -> str:
    """Return the precision of a study; one that was begun keeps its own."""
    if study.precision != "auto":
        return study.precision
    if is_recorded(paths):
        return open_study(paths).precision
    return "mixed_bfloat16" if have_bfloat16() else "float32"


def default_flops(hypermodel: Any, space: Any) -> Callable[[], float]:
    """Return what builds and counts the default network, forward, one image."""

    def count() -> float:
        import keras
        import keras_tuner

        from hypermodels.cost import forward_flops

        hp = keras_tuner.HyperParameters()
        hp.values = default_values(space)
        flops = forward_flops(hypermodel.build(hp))
        keras.utils.clear_session(free_memory=False)
        return flops

    return count


def sized(
    study: Study,
    paths: StudyPaths,
    data: PreparedDataset,
    default_flops: Callable[[], float],
    have_gpus: bool,
) -> Study:
    """Return the study with the size limit of CPUs, where none was chosen and no GPU.

    The default network is always within it. A study that was begun keeps its own
    limit, wherever it goes on.
    """
    if study.max_flops is not None:
        return study
    if is_recorded(paths):
        return replace(study, max_flops=open_study(paths).max_flops)
    if have_gpus:
        return study
    limit = max(cpu_flops(data.trained_on(study.limit_train)), default_flops())
    return replace(study, max_flops=limit)
