"""The sections on the search itself: curves, knobs, rungs, failures, every trial."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from search.records import Trial, Value
from search.reporting.blocks import (
    Block,
    Cell,
    Code,
    Column,
    Facts,
    Pictures,
    Section,
    Table,
    Text,
    columns,
    count_cell,
    score_cell,
    time_cell,
    words,
)
from search.reporting.figures import (
    best_so_far_picture,
    learning_curves_picture,
    ranks_picture,
)
from search.reporting.knob_figures import (
    importance_picture,
    knobs_picture,
    parallel_picture,
)
from search.reporting.knobs import varied_knobs
from search.reporting.records import StudyRecords
from search.reporting.settings import budget_text, further_settings, pretrained_weights
from search.reporting.statistics import (
    FEWEST_FOR_RANKS,
    knob_importance,
    rank_agreements,
)
from search.scoring.pareto import COSTS, direction_of, front, value_of
from search.spaces import part_text
from search.wording import counted, values_text

# How the message of an infeasible trial names the limit.
LIMIT = re.compile(r"--max-[a-z-]+")


def search_section(records: StudyRecords) -> Section | None:
    """Return how the search went."""
    if records.is_comparison_only:
        return None
    study = records.study
    patience = study.patience
    stopped = "never" if patience is None else f"after {counted(patience, 'epoch')}"
    facts = Facts(
        [
            ("Tuner", study.tuner),
            ("Objective", f"{records.objective}, {study.direction}imised"),
            *further_facts(records),
            ("Budget", budget_text(study)),
            ("Stopped without gain", stopped),
            ("Pretrained weights", pretrained_weights(study)),
            ("Seed", str(study.seed)),
            ("Fixed knobs", values_text(study.fixed) or "none"),
            *narrowed_fact(study.narrowed),
            *further_settings(study),
            ("Trials by state", states(records.trials)),
        ]
    )
    if not any(trial.score is not None for trial in records.best):
        return Section("search", "Search", [facts, Text("No trial has a score yet.")])
    figures = Pictures([best_so_far_picture(records), learning_curves_picture(records)])
    blocks: list[Block] = [facts, figures, *rank_blocks(records)]
    return Section("search", "Search", blocks)


def further_facts(records: StudyRecords) -> list[tuple[str, str]]:
    """Return the further objectives and the trials no other beats in all of them."""
    study = records.study
    if not study.further_objectives:
        return []
    named = [f"{n}, {direction_of(n)}imised" for n in study.further_objectives]
    on_front = ", ".join(front(records.trials, study)) or "none yet"
    return [("Further objectives", "; ".join(named)), ("On the front", on_front)]


def states(trials: list[Trial]) -> str:
    """Return how many trials are in each state."""
    found = [trial.state for trial in trials]
    counts = [f"{found.count(s)} {s.lower()}" for s in dict.fromkeys(sorted(found))]
    return ", ".join(counts) or "none yet"


def rank_blocks(records: StudyRecords) -> list[Block]:
    """Return whether the order of trials at a rung holds at the next."""
    found = rank_agreements(records)
    if not found:
        return []
    rows = [
        [
            words(f"{a.lower} → {counted(a.upper, 'epoch')}"),
            count_cell(len(a.scores)),
            Cell(
                "–" if a.correlation is None else f"{a.correlation:.2f}", a.correlation
            ),
        ]
        for a in found
    ]
    note = (
        "Only promoted trials have a score at the upper rung: among all trials the"
        f" agreement would differ. ρ is given from {FEWEST_FOR_RANKS} trials on."
    )
    blocks: list[Block] = [
        Text("Trials were compared at rungs. Does the order at one rung hold later?"),
        Table(columns(["rungs"], ["trials", "Spearman's ρ"]), rows, note),
    ]
    known = [agreement for agreement in found if agreement.correlation is not None]
    if known:
        blocks.append(Pictures([ranks_picture(known, records.objective)]))
    return blocks


def knobs_section(records: StudyRecords) -> Section | None:
    """Return what each knob has to do with the score."""
    picture = knobs_picture(records)
    if picture is None:
        return None
    found = knob_importance(records)
    blocks: list[Block] = []
    if isinstance(found, str):
        blocks.append(Text(found, "note"))
    else:
        parallel = parallel_picture(found, records)
        blocks.append(Pictures([importance_picture(found, records)]))
        blocks += [Pictures([parallel])] if parallel else []
    blocks.append(Pictures([picture]))
    constant = constant_knobs(records)
    if constant:
        blocks.append(Text(f"With one value only: {constant}.", "note"))
    return Section("knobs", "Knobs", blocks)


def constant_knobs(records: StudyRecords) -> str:
    """Return the knobs with one value, as words."""
    varied = {knob.name for knob in varied_knobs(records.best)}
    values = {k: v for trial in records.best for k, v in trial.values.items()}
    return values_text({k: v for k, v in values.items() if k not in varied})


def failures_section(records: StudyRecords) -> Section | None:
    """Return what failed and why, equal messages together."""
    if records.is_comparison_only:
        return None
    too_large = infeasible_text(records)
    if not records.failures:
        return Section("failures", "Failures", [Text("No trial failed."), *too_large])
    groups: dict[tuple[str, str], list[str]] = {}
    for trial in records.failures:
        reason = (trial.failure or trial.state.lower(), trial.message or "no message")
        groups.setdefault(reason, []).append(trial.trial_id)
    rows = [
        [words(kind), count_cell(len(ids)), words(message), words(", ".join(ids))]
        for (kind, message), ids in sorted(groups.items(), key=lambda g: -len(g[1]))
    ]
    heads = [Column("kind"), Column("trials", "number")]
    heads += [Column("message", "long"), Column("which", "long")]
    failed = counted(len(records.failures), "trial")
    text = f"{failed} of {records.tried:,} failed; the search went on without them."
    blocks: list[Block] = [Text(text), Table(heads, rows), *too_large]
    return Section("failures", "Failures", blocks)


def infeasible_text(records: StudyRecords) -> list[Block]:
    """Say how many networks cost more than the study allows, and by which options."""
    if not records.infeasible:
        return []
    large = counted(len(records.infeasible), "network")
    found = [LIMIT.findall(trial.message or "") for trial in records.infeasible]
    options = ", ".join(sorted({option for own in found for option in own}))
    named = f" ({options})" if options else ""
    return [
        Text(
            f"{large} drawn from the space: more than the study allows{named}, so not"
            " trained; others were drawn instead."
        )
    ]


def trials_section(records: StudyRecords) -> Section | None:
    """Return every trial, best first, then those without a score."""
    if records.is_comparison_only:
        return None
    if not records.trials:
        return Section("trials", "Every trial", [Text("No trial was begun.")])
    best = {trial.trial_id for trial in records.best}
    rest = [trial for trial in records.trials if trial.trial_id not in best]
    varied = {knob.name for knob in varied_knobs(records.trials)}
    further = [n for n in records.study.further_objectives if n != "parameters"]
    on_front = front(records.trials, records.study)
    rows = [
        trial_row(trial, varied, further, trial.trial_id in on_front)
        for trial in [*records.best, *rest]
    ]
    numbers = [records.objective, *further, "best epoch", "epochs", "time"]
    numbers.append("parameters")
    heads = [
        *columns(["trial", "state"], numbers),
        Column("values and message", "long"),
    ]
    caption = "Knobs that are the same in every trial are left out."
    if on_front:
        caption += " * on the front: no other trial is as good in every objective."
    return Section("trials", "Every trial", [Table(heads, rows, caption)])


def trial_row(
    trial: Trial, varied: set[str], further: list[str], is_on_front: bool
) -> list[Cell]:
    """Return one trial as a row."""
    values = values_text({k: v for k, v in trial.values.items() if k in varied})
    kind = f"{trial.failure}: " if trial.failure else ""
    message = f" — {kind}{trial.message}" if trial.message else ""
    return [
        words(trial.trial_id + "*" * is_on_front),
        words(trial.state),
        score_cell(trial.score),
        *(objective_cell(name, value_of(trial, name)) for name in further),
        count_cell(trial.best_epoch),
        count_cell(trial.epochs),
        time_cell(trial.seconds),
        count_cell(trial.parameters),
        words(values + message),
    ]


def objective_cell(name: str, value: float | None) -> Cell:
    """Return a cell of a further objective: a cost has no four digits after a point."""
    if name == "latency_ms" and value is not None:
        return Cell(f"{value:.3g}", value)
    return count_cell(value) if name in COSTS else score_cell(value)


def reproduce_section(records: StudyRecords) -> Section:
    """Return the commands, the commit and the versions."""
    about, name = records.about, records.study.name
    lines = [str(about.get("command", "")), *about.get("later_commands", [])]
    if records.looks and records.looks[-1]["asked"]:
        look = records.looks[-1]
        pairs = [member.rpartition("-seed") for member in look["asked"]]
        top, seeds = (len({pair[part] for pair in pairs}) for part in (0, 2))
        lines.append(
            f"vision-tuner finalize {name} --top {top} --seeds {seeds}"
            + "".join(flag(*option) for option in look.get("options", {}).items())
        )
    if records.exports:
        formats = ",".join(dict.fromkeys(item.format for item in records.exports))
        lines.append(f"vision-tuner export {name} --format {formats}")
    lines.append(f"vision-tuner report {name}")
    later = about.get("later_environments", [])
    facts = Facts(
        [
            *environment_facts(about.get("environment", {})),
            *(
                ("Run again with", "; ".join(" ".join(f) for f in environment_facts(e)))
                for e in later
            ),
            ("Study fingerprint", str(about.get("fingerprint", ""))[:16]),
            (
                "Data fingerprint",
                str(about.get("data", {}).get("fingerprint", ""))[:16],
            ),
        ]
    )
    text = (
        "The first line is as recorded; the others are derived from what was made."
        " Every number on this page comes from the JSON records beside it."
    )
    return Section(
        "reproduce", "How to reproduce", [Code(lines), facts, Text(text, "note")]
    )


def environment_facts(environment: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what a study was run with, as far as it is on record."""
    packages = environment.get("packages", {})
    return [
        ("Commit", str(environment.get("commit") or "not recorded")),
        ("Python", str(environment.get("python", "not recorded"))),
        ("Machine", machine_of(environment)),
        ("Packages", ", ".join(f"{k} {v}" for k, v in packages.items())),
    ]


def narrowed_fact(
    narrowed: Mapping[str, str | Sequence[Value]],
) -> list[tuple[str, str]]:
    """Return which parts of their ranges knobs were searched in, if in parts."""
    parts = [f"{name}={part_text(part)}" for name, part in narrowed.items()]
    return [("Narrowed knobs", "; ".join(parts))] if parts else []


def flag(option: str, value: Any) -> str:
    """Return an option of finalize as it is typed, nothing where it was not given."""
    words = f" --{option.replace('_', '-')}"
    if isinstance(value, list):
        words += f" {','.join(value)}"
    return words if value else ""


def machine_of(environment: Mapping[str, Any]) -> str:
    """Return machine and device in one line, as far as they are on record."""
    parts = [environment.get("machine", "not recorded"), environment.get("device")]
    return ", ".join(str(part) for part in parts if part)
