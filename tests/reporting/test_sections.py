"""From tracked runs to a report's content."""

import io
import re
from dataclasses import replace

import pandas as pd
import pytest
from PIL import Image

from src.evaluation.fold_tables import mark_correct
from src.evaluation.predictions import average_by_case
from src.evaluation.text_tables import BAD, TextTable
from src.reporting import results
from src.reporting.composition import compose_page
from src.reporting.gathering import ReportMaterial, gather_report, spread_evenly
from src.reporting.provenance import WIDTH
from src.reporting.results import cell_blocks, main_group, verdict_table
from src.reporting.sections import Block, Commands, Gallery, ReportPage, Section, Text
from src.tracking import Tracking
from tests.support.tracked_sweep import CLASSES, INJECTED, MODELS, leave

VGG = f"VGG-8 {INJECTED}"
Kept = tuple[Tracking, str]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    return leave(tmp_path_factory.mktemp("sections"))


@pytest.fixture(scope="module")
def material(kept: Kept) -> ReportMaterial:
    tracking, parent = kept
    return gather_report(
        tracking, tracking.find(parent), tracking.children(parent), ["encoder", "protocol"], replicates=30
    )


@pytest.fixture(scope="module")
def report(material: ReportMaterial) -> ReportPage:
    return compose_page(material)


def section(report: ReportPage, name: str) -> Section:
    return next(section for section in report.sections if section.id == name)


def table(blocks: list[Block], caption: str) -> TextTable:
    return next(block for block in blocks if isinstance(block, TextTable) and block.caption.startswith(caption))


class TestResult:
    def test_patient_level_folds_are_read_first(self, material: ReportMaterial, report: ReportPage) -> None:
        group = main_group(material)
        assert group.title == "kfold"
        mean = group.evaluation.table.loc["Model fusion", "mean"]
        assert report.facts[0].value == f"{mean:.1f} %"
        assert f"(kfold) is right in {mean:.1f} % of the cases" in report.result[0]
        assert "would be right in 50.0 %" in report.result[0]

    def test_the_best_cell_is_named_as_picked(self, report: ReportPage) -> None:
        assert f"best single cell is {VGG}" in report.result[1]
        assert "best of 2" in report.result[1]

    def test_the_gap_of_image_level_folds(self, material: ReportMaterial, report: ReportPage) -> None:
        gap = material.together.gaps.set_index("model").loc["Model fusion", "gap"]
        assert gap > 0
        assert f"differs by {gap:+.1f} points (95 % interval " in report.result[2]

    def test_what_is_missing_is_said_first(self, report: ReportPage) -> None:
        assert report.warnings[0] == "Without results: broken (FAILED) and 1 that did not begin."
        assert any(warning.startswith("image_kfold: patients stand on both sides") for warning in report.warnings)
        assert report.facts[-1].detail == "of 6: see the warning"

    def test_a_positive_class_that_nobody_chose_is_noted(self, report: ReportPage) -> None:
        said = f"The positive class is {CLASSES[1]}, by its name: binary.positive=[...] chooses it."
        assert said in report.warnings

    def test_the_most_frequent_class_stands_beside_the_accuracy(self, report: ReportPage) -> None:
        assert [fact.label for fact in report.facts[:2]] == ["Accuracy", "Always the most frequent class"]
        assert (report.facts[1].value, report.facts[1].detail) == ("50.0 %", CLASSES[0])

    def test_a_sweep_that_goes_on_says_so(self, material: ReportMaterial) -> None:
        running = compose_page(replace(material, status="RUNNING"))
        assert "The sweep itself is RUNNING: cells may be missing." in running.warnings


class TestTables:
    def test_ours_and_the_published_one_by_fold(self, report: ReportPage) -> None:
        blocks = section(report, "folds").blocks
        ours, published = table(blocks, "Accuracy by fold, %: kfold"), table(blocks, "Published accuracy by fold")
        assert ours.header == published.header == ["Model", "f1", "f2", "f3", "mean", "std"]
        assert [row[0] for row in ours.rows] == ["AlexNet-8", VGG, "std over models", "Model fusion"]
        assert published.rows[0] == ["AlexNet-8", "80.0", "81.0", "82.0", "81.0", "0.8"]
        beside = table(blocks, "Published, and ours")
        assert beside.header[2:] == ["published", "image_kfold", "kfold"]
        assert beside.rows[0][4].startswith(f"{ours.rows[0][4]} +- ")  # of folds, and the interval

    def test_each_cell_has_its_figures_and_classes(self, material: ReportMaterial, report: ReportPage) -> None:
        blocks = section(report, "errors").blocks
        folded = [block for block in blocks if isinstance(block, Gallery) and block.folded]
        assert [each.folded for each in folded] == [
            "ROC and confusion of each of 2 cells: kfold",
            "ROC and confusion of each of 2 cells: image_kfold",
        ]
        names = [f"{kind} of {name}" for name in MODELS for kind in ("ROC", "Confusion")]
        assert [picture.caption for picture in folded[0].pictures] == names
        against = f"{CLASSES[1]} (positive) against {CLASSES[0]}"
        points = table(blocks, f"Two classes: {against}, by cell: kfold")
        assert [row[:2] for row in points.rows] == [[name, at] for name in MODELS for at in ("0.33", "0.50")]
        assert against in folded[0].pictures[0].alt
        by_cell = table(section(report, "classes").blocks, "Each class, by cell: kfold")
        assert [row[:2] for row in by_cell.rows] == [[name, each] for name in MODELS for each in CLASSES]

    def test_of_very_many_cells_the_first_are_drawn(
        self, material: ReportMaterial, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(results, "DRAWN", 1)
        gallery, *rest = cell_blocks(main_group(material), 20)
        assert isinstance(gallery, Gallery)
        assert gallery.folded == "ROC and confusion of the first 1 of 2 cells: kfold"
        first = next(iter(MODELS))
        assert [picture.caption for picture in gallery.pictures] == [f"ROC of {first}", f"Confusion of {first}"]
        assert {row[0] for row in table(rest, "Two classes").rows} == set(MODELS)

    def test_all_misclassified_cases_are_listed(self, material: ReportMaterial, report: ReportPage) -> None:
        group = main_group(material)
        listed = table(section(report, "errors").blocks, "Misclassified by the fusion of 2 cells: ")
        cases = average_by_case(group.predictions).set_index("case")
        wrong = cases.index[~mark_correct(cases.reset_index()).to_numpy()]
        assert {row[0] for row in listed.rows} == set(wrong)
        assert len(listed.rows) == len(wrong) > 0
        assert f": {len(wrong)} of 48 cases: kfold" in listed.caption
        confidence = [float(row[5]) for row in listed.rows]
        assert confidence == sorted(confidence, reverse=True)
        for row in listed.rows:
            assert (row[2], row[3]) == (cases.loc[row[0], "label"], next(name for name in CLASSES if name != row[2]))
            assert row[7] in ("1 of 2", "2 of 2")
            assert float(row[6]) <= 0.5 <= float(row[5])

    def test_every_row_is_as_long_as_its_header(self, report: ReportPage) -> None:
        tables = [block for each in report.sections for block in each.blocks if isinstance(block, TextTable)]
        assert len(tables) > 20
        for each in tables:
            assert {len(row) for row in each.rows} <= {len(each.header)}, each.caption

    def test_a_verdict_for_each_metric(self, report: ReportPage) -> None:
        found = table(section(report, "comparison").blocks, "Each cell against AlexNet-8: kfold")
        assert [row[1] for row in found.rows] == ["Accuracy, points", "Balanced accuracy, points", "AUC"]
        assert {row[2] for row in found.rows} <= {"better", "worse", "not shown"}
        for row in found.rows:
            assert re.fullmatch(r"S \(S to S\)".replace("S", r"[+-][\d.]+"), row[3])

    def test_of_a_comparison_a_page_shows_what_the_verdict_hangs_on(self) -> None:
        figures = {"value": 0.5, "reference_value": 0.625, "difference": -0.125, "low": -0.25, "high": -0.0001}
        p = {"p_adjusted": 0.0004, "p": 0.0001, "p_mcnemar": float("nan"), "p_resampled_t": 0.04}
        row = {"model": "A", "metric": "binary_accuracy", "verdict": "worse", "smallest": 0.1} | figures | p
        found = verdict_table(pd.DataFrame([row]), "caption", ["a note"])
        assert dict(zip(found.header, found.rows[0], strict=True)) == {
            "Cell": "A",
            "Metric": "Two-class accuracy, points",
            "Verdict": "worse",
            "Difference (95 %)": "-12.5 (-25.0 to 0.0)",
            "p": "<0.001",
            "p, adjusted": "<0.001",
            "Could be shown": "10.0",
            "p, McNemar": "-",
        }
        assert (found.tones, found.notes) == ({(0, 2): BAD}, ["a note"])

    def test_the_reference_can_be_chosen(self, material: ReportMaterial) -> None:
        blocks = section(compose_page(replace(material, reference=VGG)), "comparison").blocks
        assert table(blocks, f"Each cell against {VGG}").rows[0][0] == "AlexNet-8"

    def test_the_audit_by_split(self, report: ReportPage) -> None:
        blocks = section(report, "audit").blocks
        assert ["Patients on both sides of a split", "24"] in table(blocks, "Leak audit: demo image_kfold").rows
        assert table(blocks, "Leak audit: demo kfold").tones == {}
        found = table(blocks, "What the audit found: demo image_kfold")
        assert len(found.rows) == 20
        assert found.notes == ["4 more in audit.csv."]
        assert table(blocks, "Folds: demo kfold").rows[0] == ["1", "16", "8", "8", "8", "32"]

    def test_where_the_configs_differ(self, report: ReportPage) -> None:
        blocks = section(report, "made").blocks
        differences, shared = table(blocks, "In what the configs differ"), table(blocks, "The config that all")
        assert differences.header == ["Cell", "protocol", "encoder.label"]
        assert ["crop.size", "64"] in shared.rows
        assert not any(row[0].startswith("tracking") for row in shared.rows)

    def test_a_cell_that_failed_is_told_with_its_reason(self, report: ReportPage) -> None:
        runs = table(section(report, "made").blocks, "Runs")
        assert [row[1] for row in runs.rows].count("FAILED") == 1
        said = section(report, "notes").blocks[0]
        assert isinstance(said, Text)
        assert "broken ended FAILED: ValueError: no memory left for <i>this</i>" in said.lines

    def test_commands_are_shown_once_and_without_passwords(self, report: ReportPage) -> None:
        typed = next(block for block in section(report, "made").blocks if isinstance(block, Commands))
        assert typed.lines.count("python -m src.run -m tracking.uri=http://***@server") == 1
        assert "secret" not in str(typed.lines)


class TestPictures:
    def test_photographs_are_no_wider_than_they_are_shown(self, report: ReportPage) -> None:
        galleries = [block for block in section(report, "examples").blocks if isinstance(block, Gallery)]
        pictures = [picture for gallery in galleries for picture in gallery.pictures]
        assert len(pictures) == 8
        for picture in pictures:
            with Image.open(io.BytesIO(picture.content)) as image:
                assert image.size == picture.size == (WIDTH, WIDTH // 2)

    def test_those_of_patient_level_folds_come_first(self, material: ReportMaterial) -> None:
        cells = [example.cell.rpartition("=")[2] for example in material.examples]
        assert cells == ["kfold"] * 4 + ["image_kfold"] * 4

    @pytest.mark.slow
    def test_they_are_the_same_again(self, material: ReportMaterial, report: ReportPage) -> None:
        assert compose_page(material) == report

    def test_examples_are_spread(self) -> None:
        assert spread_evenly(list("abcdefgh"), 4) == list("aceg")
        assert spread_evenly(list("ab"), 4) == list("ab")


def test_a_single_run_has_no_comparison(kept: Kept) -> None:
    tracking, parent = kept
    first = tracking.children(parent)[:1]
    report = compose_page(gather_report(tracking, None, first, replicates=20))
    assert (report.kind, report.title) == ("Run", first[0].name)
    assert not {"comparison", "groups"} & {section.id for section in report.sections}
    labels = ["Accuracy", "Always the most frequent class", "Balanced accuracy", "AUC", "Calibration error"]
    assert [fact.label for fact in report.facts] == labels


def test_an_unknown_reference_is_refused(kept: Kept) -> None:
    tracking, parent = kept
    runs = [run for run in tracking.children(parent) if run.params.get("protocol") == "kfold"]
    with pytest.raises(ValueError, match="must be one of AlexNet-8.*, VGG-8 .*, but got reference=ResNet"):
        gather_report(tracking, None, runs, replicates=5, reference="ResNet")


def test_runs_without_results_are_refused(kept: Kept) -> None:
    tracking, _ = kept
    with pytest.raises(ValueError, match="broken has no finished cells to report"):
        gather_report(tracking, None, [tracking.find("broken")])
