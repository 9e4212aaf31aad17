"""From a report's content to its page: what is not ours is text, and nothing is loaded."""

import re
from dataclasses import replace
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from src.evaluation.text_tables import BAD, TextTable
from src.reporting.page import break_at_interval, render_page
from src.reporting.sections import (
    Commands,
    Fact,
    Gallery,
    Heading,
    Part,
    Picture,
    ReportPage,
    Section,
    Text,
)

VOID = {"meta", "img", "br", "link", "input"}
SVG = b"<svg xmlns='http://www.w3.org/2000/svg' width='10' height='10'/>"


def report(name: str) -> ReportPage:
    """A report in which a name that is not ours stands wherever one can."""
    table = TextTable(caption=name, header=[name, name], rows=[[name, name]], tones={(0, 1): BAD}, notes=[name])
    folded = TextTable(caption=name, header=[name], rows=[[name]], folded=True)
    picture = Picture(caption=name, alt=name, content=SVG, size=(1000, 10))
    blocks = [
        *(Heading(text=name), Text(lines=[name]), Text(lines=[name], listed=True), table, folded, picture),
        *(Gallery(pictures=[picture]), Gallery(pictures=[picture], folded=name), Commands(caption=name, lines=[name])),
    ]
    sections = [Section(id="one", title=name, blocks=blocks)]
    facts = [Fact(label=name, value=name, detail=name)]
    return ReportPage(
        title=name,
        kind=name,
        done=[name],
        result=[name],
        facts=facts,
        warnings=[name],
        parts=[Part(title=name, sections=sections)],
    )


class Tags(HTMLParser):
    """The elements of a page with the names of their attributes, in order; fails where one is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(name for name, _ in attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' autofocus onfocus=alert(1) x='",
    "</style><b>",
    "{{ 7 * 7 }}",
    "javascript:alert(1)",
]
PRINTABLE = st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), min_size=1)


@given(st.sampled_from(HOSTILE) | PRINTABLE)
def test_whatever_a_name_is_the_page_has_the_same_elements(name: str) -> None:
    assert Tags(render_page(report(name))).found == Tags(render_page(report("a name"))).found


def test_an_expression_in_a_name_is_not_evaluated() -> None:
    assert "{{ 7 * 7 }}" in render_page(report("{{ 7 * 7 }}"))


def test_nothing_is_loaded() -> None:
    text = render_page(report("a name"))
    addresses = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert len(addresses) > 4
    assert all(address.startswith(("data:image/", "#")) for address in addresses)
    assert "default-src 'none'" in text
    assert "@import" not in text
    assert "url(" not in text


def test_a_figure_breaks_before_its_interval_only() -> None:
    assert break_at_interval("+1.5 (+0.2 to +2.0)").split(" ") == [
        "+1.5",
        "(+0.2\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}+2.0)",
    ]
    assert " " not in break_at_interval("81.2 ± 0.3")


def test_figures_stand_to_the_right_in_the_signs_of_print_and_words_to_the_left_as_they_are() -> None:
    cells = ["a +- -1", "b -1", "-1.5 (-2.0 to +0.5)", "7 +- 1"]
    table = TextTable(header=["name", "word", "figure", "note"], rows=[cells], text=2, last=1)
    content = replace(
        report("a name"), parts=[Part(title="p", sections=[Section(id="one", title="t", blocks=[table])])]
    )
    minus, space = "\N{MINUS SIGN}", "\N{NO-BREAK SPACE}"
    found = re.findall(r'<t[hd] (?:scope="row"|class="(\w+)")><span>(.*?)</span>', render_page(content))
    assert found == [
        ("", "a +- -1"),
        ("word", "b -1"),
        ("figure", f"{minus}1.5 ({minus}2.0{space}to{space}+0.5)"),
        ("word", "7 ± 1"),
    ]
