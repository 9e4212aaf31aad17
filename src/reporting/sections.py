"""What a page holds, as plain data: sections of texts, tables, pictures and commands. Knows neither runs nor HTML."""

import base64
from dataclasses import dataclass

from src.evaluation.text_tables import TextTable


@dataclass(kw_only=True)
class Heading:
    """A heading within a section."""

    text: str


@dataclass(kw_only=True)
class Text:
    """Paragraphs, or with `listed` the items of a list."""

    lines: list[str]
    listed: bool = False


@dataclass(kw_only=True)
class Picture:
    """A drawn figure (SVG) or a photograph (JPEG). `alt` says in words what it shows; `size` is in pixels."""

    caption: str
    alt: str
    content: bytes
    size: tuple[int, int]
    drawn: bool = True

    @property
    def address(self) -> str:
        """The picture itself as a data URI."""
        media = "image/svg+xml" if self.drawn else "image/jpeg"
        return f"data:{media};base64,{base64.b64encode(self.content).decode()}"

    @property
    def wide(self) -> bool:
        """Whether it has to keep its size on a narrow screen to be read."""
        return self.size[0] > 600 or not self.drawn


@dataclass(kw_only=True)
class Gallery:
    """Pictures beside each other as far as there is room; those with a name in `folded` are closed until asked for."""

    pictures: list[Picture]
    folded: str = ""


@dataclass(kw_only=True)
class Commands:
    """Lines as they were typed."""

    caption: str
    lines: list[str]


Block = Heading | Text | TextTable | Picture | Gallery | Commands


@dataclass(kw_only=True)
class Section:
    """A part of the page with a name of its own, to which the contents lead."""

    id: str
    title: str
    blocks: list[Block]


@dataclass(kw_only=True)
class Part:
    """Sections that the contents name together."""

    title: str
    sections: list[Section]


@dataclass(kw_only=True)
class Fact:
    """A figure that is read first: what it is, its value, and what goes with it, such as an interval."""

    label: str
    value: str
    detail: str = ""


@dataclass(kw_only=True)
class ReportPage:
    """A page: what was done and what came out first, with the warnings; then the sections."""

    title: str
    kind: str
    done: list[str]
    result: list[str]
    facts: list[Fact]
    warnings: list[str]
    parts: list[Part]

    @property
    def sections(self) -> list[Section]:
        """The sections of all parts, in order."""
        return [section for part in self.parts for section in part.sections]
