"""The verb `report`: what a study found, as one HTML file and as Markdown.

It only reads records, so it can be run at any time, also while a search runs.
"""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from search.errors import InputError
from search.files import whole_file, write_text
from search.paths import StudyPaths
from search.report_blocks import Section
from search.report_comparisons import comparisons_section
from search.report_drawing import png_of
from search.report_final_sections import errors_section, extras_section
from search.report_page import Page, html_page, markdown_page
from search.report_records import StudyRecords, read_study_records
from search.report_search_sections import (
    failures_section,
    knobs_section,
    reproduce_section,
    search_section,
    trials_section,
)
from search.report_sections import (
    answer_section,
    data_section,
    ensemble_section,
    exports_section,
    finalists_section,
    test_section,
)

# The order of a report. To add a section: a function of the records, and a line here.
SECTIONS = (
    answer_section,
    data_section,
    search_section,
    knobs_section,
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
    "finalists",
)


def report(paths_list: Sequence[StudyPaths]) -> list[Path]:
    """Write the report of each study; return the files, the HTML pages first.

    Raises:
        InputError: no study, one that was never searched, or a damaged record.
    """
    if not paths_list:
        raise InputError(
            "a study that has been searched",
            "none",
            "Run `vision-tuner search STUDY` first, or pass --results-dir",
        )
    # Nothing is written before all records have been read.
    pages = [(paths, make_page(read_study_records(paths))) for paths in paths_list]
    written = [file for paths, page in pages for file in write_page(paths, page)]
    return sorted(written, key=lambda file: file.suffix != ".html")


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


def write_page(paths: StudyPaths, page: Page) -> list[Path]:
    """Write figures, Markdown and HTML of one report."""
    figures = {paths.figures / f"{p.name}.png": png_of(p) for p in page.pictures}
    for file, content in figures.items():
        with whole_file(file) as opened:
            opened.write(content)
    for name in FIGURES:
        if paths.figures / f"{name}.png" not in figures:
            (paths.figures / f"{name}.png").unlink(missing_ok=True)
    texts = {
        paths.folder / "report.html": html_page(page),
        paths.folder / "report.md": markdown_page(page),
    }
    for file, text in texts.items():
        write_text(file, text)
    return [*texts, *figures]


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
