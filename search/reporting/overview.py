"""Several studies on one page: a table across them, then each study in full."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from search.pictures.style import BLUE, ORANGE
from search.reporting.answer import test_interval
from search.reporting.blocks import (
    Block,
    Cell,
    Column,
    Panel,
    Picture,
    Pictures,
    Points,
    Section,
    Table,
    Text,
    columns,
    count_cell,
    score_cell,
    words,
)
from search.reporting.drawing import legend_above, short
from search.reporting.final_sections import bounded_cell
from search.reporting.page import Page
from search.reporting.records import StudyRecords
from search.wording import counted, duration

ROW_INCHES = 0.42


def overview_page(studies: Sequence[StudyRecords], pages: Sequence[Page]) -> Page:
    """Return the table across studies and all their sections.

    Args:
        pages: of the same studies, in the same order.
    """
    sections = [across_section(studies)]
    for records, page in zip(studies, pages, strict=True):
        sections += [
            replace(
                section,
                anchor=f"{records.study.name}-{section.anchor}",
                title=f"{records.study.name} · {section.title}",
                blocks=[own_block(records.study.name, b) for b in section.blocks],
                in_nav=number == 0,
            )
            for number, section in enumerate(page.sections)
        ]
    names = ", ".join(records.study.name for records in studies)
    return Page(f"{counted(len(studies), 'study')} compared", names, sections)


def short_overview_page(studies: Sequence[StudyRecords], pages: Sequence[Page]) -> Page:
    """Return the same for Markdown: each study's answer, and where the rest lies."""
    sections = [across_section(studies)]
    for records, page in zip(studies, pages, strict=True):
        name = records.study.name
        blocks = [b for b in page.sections[0].blocks if not isinstance(b, Pictures)]
        more: list[Block] = [Text(f"In full: {name}/report.md", "note")]
        sections.append(Section(name, name, [*blocks, *more]))
    return Page(f"{counted(len(studies), 'study')} compared", "", sections)


def own_block(study: str, block: Block) -> Block:
    """Return a block whose figures and links no other study has."""
    if not isinstance(block, Pictures):
        return block
    return Pictures([replace(p, name=f"{study}-{p.name}") for p in block.pictures])


def across_section(studies: Sequence[StudyRecords]) -> Section:
    """Return a row a study, and the test scores side by side."""
    scores = ["best validation", "ensemble, test", "best single, test"]
    heads = columns(["study", "data", "hypermodel", "tuner", "score"], scores)
    heads += columns([], ["trials", "epochs", "training time"])
    heads.append(Column("commit", "code"))
    note = (
        "In brackets 95 % intervals of the test scores. Studies differ in more than one"
        " thing: what a single choice changes is told by comparisons only. Scores of"
        " different data sets or image sizes cannot be compared."
    )
    blocks: list[Block] = [Table(heads, [study_row(s) for s in studies], note)]
    told = [
        f"{records.study.name}: {text}"
        for records in studies
        for comparison in records.comparisons.values()
        for text in comparison.verdicts
    ]
    if told:
        blocks.append(Points(told))
    scored = [s for s in studies if s.ensemble is not None]
    metrics = dict.fromkeys(records.metric for records in scored)
    pictures = [
        studies_picture(metric, [s for s in scored if s.metric == metric])
        for metric in metrics
    ]
    if pictures:
        blocks.append(Pictures(pictures))
    return Section("studies", "All studies", blocks)


def study_row(records: StudyRecords) -> list[Cell]:
    """Return one study as a row."""
    study, ensemble, metric = records.study, records.ensemble, records.metric
    best = records.best[0].score if records.best else None
    test: list[Cell] = [words("–"), words("–")]
    if ensemble is not None:
        models = {"ensemble": ensemble.test, "best_single": ensemble.best_single.test}
        test = [
            bounded_cell(values.get(metric), test_interval(records, model, values))
            for model, values in models.items()
        ]
    commit = records.about.get("environment", {}).get("commit")
    return [
        words(study.name),
        words(study.dataset),
        words(study.hypermodel),
        words(study.tuner),
        words(records.objective),
        score_cell(best),
        *test,
        count_cell(records.tried),
        count_cell(records.epochs),
        Cell(duration(records.seconds), records.seconds),
        words(commit or "–"),
    ]


def studies_picture(metric: str, studies: Sequence[StudyRecords]) -> Picture:
    """Return the test scores of studies with the same metric, with intervals."""

    def draw(axes: Any) -> None:
        for place, records in enumerate(studies):
            ensemble = records.ensemble
            assert ensemble is not None, "only scored studies are drawn"
            for model, values, colour, shift in (
                ("ensemble", ensemble.test, BLUE, -0.12),
                ("best_single", ensemble.best_single.test, ORANGE, 0.12),
            ):
                interval = test_interval(records, model, values)
                height = place + shift
                if interval is not None:
                    axes.plot(interval, [height, height], color=colour)
                name = model.replace("_", " ") if place == 0 else None
                axes.plot(values.get(metric), height, "o", color=colour, label=name)
        names = [short(records.study.name, 24) for records in studies]
        axes.set_yticks(range(len(studies)), names)
        axes.set_ylim(len(studies) - 0.5, -0.5)
        axes.margins(x=0.1)
        axes.set_xlabel(f"test {metric}, 95 % interval")
        legend_above(axes)

    return Picture(
        f"studies_{metric}",
        f"Test {metric} of every study",
        f"n = {counted(len(studies), 'study')}; intervals tell the chance in drawing"
        " the test images.",
        [Panel(f"test {metric} of every study", draw)],
        size=(6.4, 1.1 + ROW_INCHES * len(studies)),
        left=1.9,
        top=0.3,
    )
