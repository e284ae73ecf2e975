"""What a report is made of: sections of plain blocks, free of any markup.

Both templates, HTML and Markdown, print the same blocks, so that they say the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from search.wording import duration, shown


@dataclass(frozen=True)
class Text:
    """A paragraph. `kind`: plain, question, lead (the answer) or note."""

    text: str
    kind: str = "plain"


@dataclass(frozen=True)
class Points:
    """A list of sentences."""

    texts: list[str]


@dataclass(frozen=True)
class Tile:
    """One number that stands out."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Tiles:
    """A row of numbers that stand out."""

    tiles: list[Tile]


@dataclass(frozen=True)
class Facts:
    """Terms and what they are."""

    pairs: list[tuple[str, str]]


@dataclass(frozen=True)
class Code:
    """Commands, one a line."""

    lines: list[str]


@dataclass(frozen=True)
class Column:
    """A column of a table. `kind`: text, number, code or long (text that wraps)."""

    name: str
    kind: str = "text"


@dataclass(frozen=True)
class Cell:
    """A value as printed.

    Attributes:
        order: what the column sorts by; None = by the text, absent values last.
        full: the value in full, where `text` is short.
        fraction: 0–1, drawn as a bar behind the number.
    """

    text: str
    order: float | None = None
    full: str | None = None
    fraction: float | None = None


@dataclass(frozen=True)
class Table:
    """Rows below named columns."""

    columns: list[Column]
    rows: list[list[Cell]]
    caption: str = ""


@dataclass(frozen=True)
class Panel:
    """One plot. `draw` takes matplotlib axes; `label` says in words what it shows."""

    label: str
    draw: Callable[[Any], None]


@dataclass(frozen=True)
class Picture:
    """A figure of one or more panels: one PNG, and on the page one SVG a panel.

    Attributes:
        name: of its PNG file, without the suffix.
        size: of one panel, (width, height) in inches.
        columns: of panels in the PNG.
        left, top, bottom: room for labels and titles of a panel, in inches.
        chart: the same to be pointed at, from `search.reporting.charts`.
    """

    name: str
    title: str
    caption: str
    panels: list[Panel]
    size: tuple[float, float] = (4.4, 3.0)
    columns: int = 2
    left: float = 0.6
    top: float = 0.1
    bottom: float = 0.48
    chart: dict[str, Any] | None = None


@dataclass(frozen=True)
class Pictures:
    """Figures that stand side by side where there is room."""

    pictures: list[Picture]


@dataclass(frozen=True)
class Image:
    """A PNG that a verb left beside its records: photographs with masks, say.

    Attributes:
        link: path relative to the report.
    """

    file: Path
    link: str
    title: str
    caption: str


Block = Text | Points | Tiles | Facts | Code | Table | Pictures | Image


@dataclass(frozen=True)
class Section:
    """A heading and what lies below it.

    Attributes:
        in_nav: whether the page's list of sections names it.
    """

    anchor: str
    title: str
    blocks: list[Block] = field(default_factory=list)
    in_nav: bool = True


def words(text: object) -> Cell:
    """Return a cell of text."""
    return Cell(str(text))


def score_cell(value: float | None) -> Cell:
    """Return a cell of a metric, with four digits."""
    return Cell(shown(value), value)


def count_cell(value: float | None) -> Cell:
    """Return a cell of a count."""
    return Cell("–" if value is None else f"{value:,.0f}", value)


def time_cell(seconds: float) -> Cell:
    """Return a cell of a duration."""
    return Cell(duration(seconds), seconds)


def hash_cell(text: str) -> Cell:
    """Return a cell of the first characters of a hash."""
    return Cell(text[:12], full=text)


def columns(text: Sequence[str], numbers: Sequence[str] = ()) -> list[Column]:
    """Return columns of text, then columns of numbers."""
    return [Column(name) for name in text] + [
        Column(name, "number") for name in numbers
    ]
