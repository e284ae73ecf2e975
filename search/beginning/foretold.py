"""What a search or a comparison will cost, said before it starts."""

from rich.console import Console

from search.beginning.preparation import Beginning
from search.bookkeeping.state import read_state
from search.driving.executors import Workers
from search.machine.devices import SECONDS_TO_BUILD, cpu_epoch_seconds
from search.oracles import entry_of, full_plan, planned
from search.paths import StudyPaths
from search.studies import Study, unlike_usual
from search.training.limits import millions
from search.wording import counted, duration


def predicted_seconds(
    begun: Beginning, paths: StudyPaths, crew: Workers
) -> float | None:
    """Predict the time of what is left to train, or None where nothing tells it.

    From the wall time of the search so far; before its first epoch, on a CPU, from the
    FLOPs of the default network and what building one takes.
    """
    plan = planned(begun.study)
    if plan is None:
        return None
    most = plan[1]
    state = read_state(paths)[0]
    done = sum(trial.epochs for trial in state.trials) if state else 0
    if state and done:
        return max(0, most - done) * state.seconds / done
    if crew.have_gpus():
        return None
    epochs = most * cpu_epoch_seconds(begun.default_flops(), begun.train_images())
    full = full_plan(begun.study)
    share = plan[1] / full[1] if full else 1.0  # of the plan that --total-epochs leaves
    builds = plan[0] * share * SECONDS_TO_BUILD
    return (epochs + builds) / max(1, crew.number())


def announce(
    study: Study,
    paths: StudyPaths,
    crew: Workers,
    seconds: float | None,
    console: Console,
    *,
    known: Study | None,
    verb: str | None = None,
) -> None:
    """Say what the search will cost before it starts.

    Args:
        known: the study as it was on record before, None where it was not.
    """
    plan = planned(study)
    count = crew.number()
    cost = f"at most {counted(study.epochs, 'epoch')} a trial"
    if plan is not None:
        may_be_fewer = (
            entry_of(study.tuner).may_end_early or plan[1] == study.total_epochs
        )
        most = "up to " if may_be_fewer else ""
        cost = (
            f"{most}{counted(plan[0], 'trial')}, {counted(plan[1], 'epoch')} in all"
            f" (at most {study.epochs} each)"
        )
    processes = "worker process" if count == 1 else "worker processes"
    where = f"{count} {processes}" if count else "this process"
    if crew.cluster is not None:
        where = f"a Ray cluster, {count} trials at a time"
    parts = [study.tuner, cost, f"on {where}"]
    if study.total_epochs is not None and plan is None:
        parts.append(f"no more than {counted(study.total_epochs, 'epoch')}")
    if seconds is not None:
        parts.append(f"about {duration(seconds)}")
    if study.budget_seconds is not None:
        parts.append(f"for at most {duration(study.budget_seconds)} over all runs")
    if study.max_flops is not None:
        console.print(
            f"networks above {millions(study.max_flops)} MFLOPs an image are infeasible"
            " (--max-flops)",
            highlight=False,
        )
    verb = verb or ("Going on with" if paths.oracle.exists() else "Searching")
    kept = unlike_usual(known) if known is not None else ""
    if kept:
        console.print(
            f"as it was begun: {kept} (another --name begins afresh)",
            highlight=False,
            markup=False,
        )
    console.print(f"{verb} [bold]{study.name}[/bold]: {', '.join(parts)}")
    console.print(f"records in {paths.folder}/, TensorBoard runs in {paths.logs}/")


def time_of(begun: Beginning, epochs: int, workers: int, have_gpus: bool) -> str:
    """Return about how long so many epochs take, from the default network's FLOPs.

    Nothing where there are GPUs, of which FLOPs do not tell it.
    """
    if have_gpus:
        return ""
    each = cpu_epoch_seconds(begun.default_flops(), begun.train_images())
    return f", about {duration(epochs * each / max(1, workers))} on this CPU"
