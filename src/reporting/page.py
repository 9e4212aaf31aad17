"""The page itself: HTML that needs nothing beside it. The only place that knows Jinja."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from src.reporting.sections import ReportPage
from src.reporting.typesetting import typeset

if TYPE_CHECKING:
    from jinja2 import Template

HERE = Path(__file__).parent
NO_BREAK = "\N{NO-BREAK SPACE}"


def render_page(report: ReportPage) -> str:
    """Return a report as one HTML page: its style and pictures are in it, it has no script, and loads nothing.

    All texts are escaped: the names of runs and files are not ours.
    """
    return read_template().render(report=report, style=read_style())


@cache
def read_template() -> "Template":
    """Return the page's template."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"typeset": typeset, "unbroken": break_at_interval}
    return environment.get_template("template.html")


@cache
def read_style() -> str:
    """Return the page's style sheet, which is ours and thus is not escaped."""
    from markupsafe import Markup

    return Markup((HERE / "style.css").read_text(encoding="utf-8"))


def break_at_interval(text: str) -> str:
    """Return a figure with its interval so that a narrow table may break it between the two, and nowhere else."""
    return text.replace(" ", NO_BREAK).replace(f"{NO_BREAK}(", " (")
