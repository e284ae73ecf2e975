"""The verb `report`: what a study found, as one HTML file and as Markdown.

It only reads records, so it can be run at any time, also while a search runs.
"""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from search.errors import InputError
from search.files import whole_file, write_text
from search.paths import StudyPaths
from search.reporting.answer import answer_section
from search.reporting.blocks import Section
from search.reporting.comparisons import comparisons_section
from search.reporting.costs import costs_section
from search.reporting.drawing import png_of
from search.reporting.final_sections import errors_section, extras_section
from search.reporting.overview import overview_page, short_overview_page
from search.reporting.page import Page, html_page, markdown_page
from search.reporting.records import StudyRecords, read_study_records
from search.reporting.search_sections import (
    failures_section,
    knobs_section,
    reproduce_section,
    search_section,
    trials_section,
)
from search.reporting.sections import (
    data_section,
    ensemble_section,
    exports_section,
    finalists_section,
    test_section,
)
from search.reporting.verification import Verification, verify
from search.reporting.verification_predictions import check_predictions

# The order of a report. To add a section: a function of the records, and a line here.
SECTIONS = (
    answer_section,
    data_section,
    search_section,
    knobs_section,
    costs_section,
    failures_section,
    comparisons_section,
    finalists_section,
    ensemble_section,
    extras_section,
    errors_section,
    exports_section,
    test_section,
    trials_section,
    reproduce_section,
)
# Every figure a report may make; one that is not made any more is removed.
FIGURES = (
    "best_so_far",
    "learning_curves",
    "rank_agreement",
    "knob_importance",
    "parallel_coordinates",
    "knobs",
    "cost_parameters",
    "cost_flops",
    "cost_latency_ms",
    "finalists",
    "exports",
    "reliability",
    "classes",
    "confusion",
)


def report(paths_list: Sequence[StudyPaths]) -> list[Path]:
    """Write the report of each study, and of several one of all.

    Returns:
        The files, the HTML pages first.

    Raises:
        InputError: no study, one that was never searched, or a damaged record.
    """
    refuse_none(paths_list)
    # Nothing is written before all records have been read.
    studies = [read_study_records(paths) for paths in paths_list]
    pages = [make_page(records) for records in studies]
    written: list[Path] = []
    for paths, page in zip(paths_list, pages, strict=True):
        written += write_page(paths.folder, page, page)
        remove_old_figures(paths.figures, written)
    if len(studies) > 1:
        whole, brief = (
            overview_page(studies, pages), short_overview_page(studies, pages),
        )  # fmt: skip
        written += write_page(paths_list[0].results_dir, whole, brief)
    return sorted(written, key=lambda file: file.suffix != ".html")


def verify_reports(paths_list: Sequence[StudyPaths]) -> dict[str, Verification]:
    """Recompute the numbers of each study's records; write nothing.

    Returns:
        Study -> what was recomputed and what differs; that a report is older than its
        records is a difference, too.

    Raises:
        InputError: as of `report`.
    """
    refuse_none(paths_list)
    found = {}
    for paths in paths_list:
        records = read_study_records(paths)
        result = verify(records, paths)
        check_predictions(result, records, paths)
        page, file = make_page(records), paths.folder / "report.md"
        if file.exists():
            is_current = file.read_text(encoding="utf-8") == markdown_page(page)
            what = f"{file} says what the records say"
            result.compare("reports", what, is_current, True)
        found[paths.name] = result
    return found


def refuse_none(paths_list: Sequence[StudyPaths]) -> None:
    """Raise InputError where there is no study."""
    if not paths_list:
        raise InputError(
            "a study that has been searched",
            "none",
            "Run `vision-tuner search STUDY` first, or pass --results-dir",
        )


def make_page(records: StudyRecords) -> Page:
    """Return the report of one study."""
    study = records.study
    sections: list[Section | None] = [make(records) for make in SECTIONS]
    return Page(
        study.name,
        f"Image {study.task} · data {study.dataset} · hypermodel {study.hypermodel} ·"
        f" tuner {study.tuner}",
        [section for section in sections if section is not None],
    )


def write_page(folder: Path, page: Page, brief: Page) -> list[Path]:
    """Write HTML, and Markdown with its figures, of one report.

    Args:
        brief: what Markdown says, where that is less.
    """
    figures = {folder / "figures" / f"{p.name}.png": png_of(p) for p in brief.pictures}
    for file, content in figures.items():
        with whole_file(file) as opened:
            opened.write(content)
    texts = {
        folder / "report.html": html_page(page),
        folder / "report.md": markdown_page(brief),
    }
    for file, text in texts.items():
        write_text(file, text)
    return [*texts, *figures]


def remove_old_figures(folder: Path, written: Sequence[Path]) -> None:
    """Remove the figures that a report may make and this one did not."""
    for name in FIGURES:
        if folder / f"{name}.png" not in written:
            (folder / f"{name}.png").unlink(missing_ok=True)


def print_verification(found: dict[str, Verification], console: Console) -> None:
    """Say what was recomputed, what could not be, and what differs."""
    for study, result in found.items():
        counts = [f"{kind} {count:,}" for kind, count in result.checked.items()]
        words = ", ".join(counts) or "nothing recorded"
        mark = f"{len(result.findings)} differ" if result.findings else "all agree"
        console.print(f"[bold]{study}[/bold]: {mark}; recomputed: {words}")
        for item in result.findings:
            text = f"  {item.what}: {item.recorded} on record, {item.recomputed} found"
            console.print(text, style="red", highlight=False, markup=False)
        for text in result.left_out:
            console.print(f"  not recomputed: {text}", highlight=False, markup=False)


def print_report(files: Sequence[Path], console: Console) -> None:
    """Say which files to open; figures are counted."""
    figures = [file for file in files if file.suffix == ".png"]
    for file in files:
        if file not in figures:
            size = f"{file.stat().st_size / 1e6:.2f} MB"
            console.print(f"{file}  {size}", highlight=False, soft_wrap=True)
    console.print(
        f"and {len(figures)} figures; the page opens from disk in any browser"
    )
