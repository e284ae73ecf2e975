"""Print the sections of a report as one HTML file and as Markdown."""

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from search.reporting.blocks import Block, Panel, Picture, Pictures, Section
from search.reporting.drawing import svg_of

TEMPLATES = Path(__file__).parent / "templates"
# Apache ECharts 6.1.0 as released on npm: dist/echarts.min.js.
LIBRARY = Path(__file__).parent / "vendored" / "echarts.min.js"


@dataclass(frozen=True)
class Page:
    """A report: heading and sections."""

    title: str
    subtitle: str
    sections: list[Section]

    @property
    def pictures(self) -> list[Picture]:
        """Return all figures, in order."""
        return [
            picture
            for section in self.sections
            for block in section.blocks
            if isinstance(block, Pictures)
            for picture in block.pictures
        ]

    @property
    def has_charts(self) -> bool:
        """Return whether any figure can be pointed at."""
        return any(picture.chart for picture in self.pictures)


def html_page(page: Page) -> str:
    """Return the report as one file that needs no other and no network."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "kind": block_kind,
        "svg": panel_svg,
        "data": data_address,
        "clean": printable,
        "chart": chart_json,
        "digest": digest_of,
    }
    files = [*([LIBRARY] if page.has_charts else []), TEMPLATES / "report.js"]
    return environment.get_template("report.html.jinja").render(
        page=page,
        style=Markup((TEMPLATES / "report.css").read_text()),
        scripts=[Markup(file.read_text().strip()) for file in files],
    )


def markdown_page(page: Page) -> str:
    """Return the report as Markdown, with links to the PNG files in figures/."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"kind": block_kind, "md": markdown_text, "clean": printable}
    text = environment.get_template("report.md.jinja").render(page=page)
    text = re.sub(r"[ \t]+\n", "\n", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def block_kind(block: Block) -> str:
    """Return the name by which a template knows a block."""
    return type(block).__name__.lower()


def panel_svg(panel: Panel, picture: Picture, number: int) -> Markup:
    """Return a panel as SVG; matplotlib escapes the texts in it."""
    return Markup(svg_of(panel, picture, f"{picture.name}-{number}"))


def chart_json(option: dict[str, Any]) -> Markup:
    """Return a chart's option as JSON that cannot end the element it stands in."""
    text = json.dumps(option, separators=(",", ":"), ensure_ascii=False)
    return Markup(printable(text).replace("<", "\\u003c").replace("&", "\\u0026"))


def digest_of(script: str) -> str:
    """Return the hash by which a page permits a script."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def data_address(file: Path) -> str:
    """Return a PNG file as an address that holds it."""
    return "data:image/png;base64," + base64.b64encode(file.read_bytes()).decode()


def printable(text: str) -> str:
    """Return text without the signs that control a terminal or break a page."""
    return "".join(
        sign if sign.isprintable() else " " if sign.isspace() else "�" for sign in text
    )


def markdown_text(text: str) -> str:
    """Return text that Markdown shows as it is, on one line, also in a table."""
    return re.sub(r"([\\`*\[\]<>|&#])", r"\\\1", printable(text))
