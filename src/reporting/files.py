"""A page's tables and figures as files for a paper: CSV and LaTeX, and SVG."""

import re
from collections.abc import Iterator
from pathlib import Path

from src.evaluation.text_tables import TextTable, to_csv, to_latex
from src.reporting.sections import Gallery, Picture, ReportPage, Section
from src.system.files import replace_file

LONGEST = 60
"""Letters of a caption that a file's name has, at most."""


def write_files(page: ReportPage, folder: Path) -> int:
    """Write every table and every drawn figure of a page into a folder; return how many files these are."""
    folder.mkdir(parents=True, exist_ok=True)
    files = list(page_files(page))
    for name, content in files:
        replace_file(folder / name, content)
    return len(files)


def page_files(page: ReportPage) -> Iterator[tuple[str, bytes]]:
    """Yield the names and contents of the files: named by section, place and caption, in the page's order."""
    for number, section in enumerate(page.sections, start=1):
        for place, block in enumerate(tables_and_figures(section), start=1):
            stem = f"{number:02d}-{section.id}-{place:02d}-{plain_name(block.caption)}"
            if isinstance(block, Picture):
                yield f"{stem}.svg", block.content
            else:
                yield f"{stem}.csv", to_csv(block).encode()
                yield f"{stem}.tex", to_latex(block).encode()


def tables_and_figures(section: Section) -> Iterator[TextTable | Picture]:
    """Yield the tables and the drawn figures of a section, those of galleries, too."""
    for block in section.blocks:
        for each in block.pictures if isinstance(block, Gallery) else [block]:
            if isinstance(each, TextTable) or (isinstance(each, Picture) and each.drawn):
                yield each


def plain_name(caption: str) -> str:
    """Return a caption as part of a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", caption.lower())[:LONGEST].strip("-")
