"""What `compare` prints: the scores of each value, or the steps of the path."""

from statistics import fmean

from rich.console import Console
from rich.table import Table

from search.comparing.comparisons import AblationPath, Comparison, shared_seeds
from search.comparing.variants import label
from search.scoring.paired import EACH_FOR_ITSELF
from search.wording import shown


def print_comparison(record: Comparison | AblationPath, console: Console) -> None:
    """Print the scores of each value and what they show, or the steps of the path."""
    if isinstance(record, AblationPath):
        console.print(path_table(record))
        return
    console.print(scores_table(record))
    texts = [*record.verdicts, *remarks(record)]
    if len(record.values) > 2 and any(d.low is not None for d in record.differences):
        texts.append(EACH_FOR_ITSELF)
    for text in texts:
        console.print(text, highlight=False)


def remarks(record: Comparison) -> list[str]:
    """Say what means and intervals of a comparison are of, and what is not in them."""
    said = []
    shared = shared_seeds(record)
    if len(shared) < len(record.seeds):
        said.append(
            f"Means are over the {len(shared)} of {len(record.seeds)} seeds with which"
            " every value finished that finished at all."
        )
    if any(found.low is not None for found in record.differences):
        said.append(
            "Intervals are over seeds; which validation images were drawn is not in"
            " them."
        )
    return said


def scores_table(record: Comparison) -> Table:
    """Return a row a value: mean and range of its scores, parameters and time.

    Means are over `shared_seeds`.
    """
    shared = shared_seeds(record)
    table = Table(box=None, pad_edge=False)
    table.add_column(record.knob)
    headings = (record.objective, "lowest", "highest", "seeds", "parameters", "s/epoch")
    for heading in headings:
        table.add_column(heading, justify="right")
    for value in record.values:
        runs = [run for run in record.runs if run.value == value]
        pairs = [(run.seed, run.score) for run in runs if run.score is not None]
        scores = [score for _, score in pairs]
        alike = [score for seed, score in pairs if seed in shared]
        epochs = sum(run.epochs for run in runs)
        seconds = sum(run.seconds for run in runs)
        table.add_row(
            value,
            shown(fmean(alike) if alike else None),
            shown(min(scores, default=None)),
            shown(max(scores, default=None)),
            f"{len(scores)}/{len(runs)}",
            f"{runs[0].parameters or 0:,}",
            f"{seconds / epochs:.1f}" if epochs else "–",
        )
    return table


def path_table(record: AblationPath) -> Table:
    """Return a row a step of an ablation path."""
    table = Table(box=None, pad_edge=False)
    for heading in ("step", "knob", "from", "to"):
        table.add_column(heading)
    for heading in (record.objective, "gain", "95 % interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    for number, step in enumerate(record.steps):
        is_known = step.low is not None and step.high is not None
        table.add_row(
            str(number),
            step.knob or "start",
            "" if step.before is None else label(step.before),
            "" if step.after is None else label(step.after),
            shown(step.score),
            "" if step.gain is None else f"{step.gain:+.4f}",
            f"{step.low:+.4f} … {step.high:+.4f}" if is_known else "",
        )
    return table
