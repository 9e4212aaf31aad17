"""A sweep, or runs, as one HTML page that can be read anywhere. `python -m src.report --help`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from src.cli.command import command, is_given
from src.cli.terminal import say
from src.config import Report, build
from src.system.files import check_file, check_unwritten, check_writable, replace_file
from src.tracking import CELL, KIND, SWEEP, VALIDATION

if TYPE_CHECKING:
    from src.reporting.gathering import ReportMaterial
    from src.tracking import RunRecord, Tracking


def main(config: DictConfig) -> None:
    """Write the page, and where asked log it onto the sweep's run."""
    from src.reporting.composition import compose_page
    from src.reporting.files import write_files
    from src.reporting.page import render_page

    options: Report = build(config)
    if bool(options.sweep) == bool(options.runs):
        raise ValueError("give one of sweep=NAME_OR_ID or runs=[ID,...]")
    output = Path(options.output)
    check_file(output=options.output)
    if is_given("output"):  # what is nobody's name is made anew
        check_unwritten(options.overwrite, output=options.output)
    check_unwritten(options.overwrite, files=options.files)
    if options.files:
        check_writable(files=options.files)
    if output.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"a report is a page, output=FILE.html, but got output={output}; browsers print it as PDF")
    material = gather_material(options)
    page = compose_page(material)
    content = render_page(page).encode()
    replace_file(output, content)
    say(f"{material.title}: written to {output} ({len(content) / 1e6:.1f} MB)")
    if options.files:
        say(f"{write_files(page, Path(options.files))} files with its tables and figures: {options.files}")
    if options.track:
        options.tracking.attach(material.id, "report.html", content.decode())
        say(f"and as report.html onto run {material.id}")


def gather_material(options: Report) -> "ReportMaterial":
    """Return what the report is made of."""
    from src.reporting.gathering import gather_report
    from src.sweeps.fusion import finished_cells, given_view

    tracking = options.tracking
    tracking.bury()
    told: dict[str, Any] = {name: getattr(options, name) for name in ("reference", "primary", "slices", "projection")}
    if options.sweep:
        sweep = tracking.find(options.sweep, SWEEP)
        cells = tracking.children(sweep.id)
        binary = given_view(options.binary, finished_cells(cells))
        return gather_report(tracking, sweep, cells, sweep.swept, options.replicates, binary, **told)
    runs = [find_reported(tracking, name) for name in options.runs]
    binary = given_view(options.binary, finished_cells(runs))
    return gather_report(tracking, None, runs, (), options.replicates, binary, **told)


def find_reported(tracking: "Tracking", name: str) -> "RunRecord":
    """Return the run of a name or id, which may be a validation; `ValueError` where there is none."""
    run = tracking.by_id(name) or next(iter(tracking.search({KIND: VALIDATION}, name=name)[::-1]), None)
    return run if run is not None and run.kind == VALIDATION else tracking.find(name, CELL)


if __name__ == "__main__":
    command(main, "report")
