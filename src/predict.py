"""Predict new images by a run's, a sweep's or a registered model. `python -m src.predict --help`."""

import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from src.cli.command import command
from src.cli.progress import TerminalProgress
from src.cli.terminal import print_table, say
from src.config import COPIES, Predict, build, rebuild_operator
from src.evaluation.predictions import class_names
from src.evaluation.text_tables import TextTable
from src.evaluation.two_classes import NEGATIVE, POSITIVE
from src.system.files import check_file, check_unwritten, replace_file

if TYPE_CHECKING:
    import pandas as pd

    from src.data.reader import Reader
    from src.models.prediction import Prediction
    from src.tracking import Tracking


def main(config: DictConfig) -> None:
    """Write a row per case, and show what was found."""
    options: Predict = build(config)
    check_outputs(options)
    from src.data.new_images import list_images
    from src.data.sets.bach import check_submission, make_submission
    from src.data.summary import describe_manifest
    from src.models.prediction import fuse_thresholds, predict_new
    from src.models.saved import load_all_fitted
    from src.storage.store import Store
    from src.tracking.model_registry import locate_model

    store = Store(options.store, Path(options.workspace) / COPIES) if options.store else None
    if store is not None:
        store.check()
    options.executor.check()
    listing = list_images(Path(options.input))
    for line in describe_manifest(listing.images, listing.left_out):
        say(f"input: {line}")
    with tempfile.TemporaryDirectory(prefix="tenfold-") as place:
        located = locate_model(options.tracking, options.model, Path(place))
        members = load_all_fitted(located.folders, rebuild_operator, options.weights)
        for member in members:
            member.run_on(options.workers, options.device, options.executor)
            member.cell = replace(member.cell, data=reader_of(member.cell.data, options))
        if options.format == "bach":
            check_submission(members[0].classes, listing.images["case"].drop_duplicates().tolist())
        models = sum(len(member.models) for member in members)
        say(f"{located.title}: {models} fitted models of {', '.join(member.name for member in members)}")
        threshold, names = fuse_thresholds(members), name_contents(options.tracking, options.model)
        prediction = predict_new(members, listing.images, listing.root, TerminalProgress(), store, threshold, names)
    if options.members:
        write_table(prediction.members, options.members)
    show_prediction(prediction)
    write_table(make_submission(prediction.table) if options.format == "bach" else prediction.table, options.output)
    say(f"written to {options.output}")
    if (prediction.table["reason"] != "").all():
        raise ValueError(f"no case could be predicted; {options.output} holds the reasons")


def name_contents(tracking: "Tracking", model: str) -> dict[str, str]:
    """Return the samples of the runs that made a model, by the digests of their bytes; of runs that are gone none."""
    from src.sweeps.fusion import read_table
    from src.tracking.model_registry import runs_of_model

    found: dict[str, str] = {}
    with suppress(ValueError):
        for run in runs_of_model(tracking, model):
            manifest = read_table(tracking, run, "manifest.csv").sort_values("sample", ascending=False)
            found |= dict(zip(manifest["content"], manifest["sample"], strict=True))
    return found


def reader_of(data: "Reader", options: Predict) -> "Reader":
    """Return the reader of a run with what is asked for beside it."""
    return replace(data, convert=data.convert or options.convert, bits=options.bits or data.bits)


def check_outputs(options: Predict) -> None:
    """Raise `ValueError` where what is asked for cannot be written, before any work."""
    check_file(output=options.output, members=options.members)
    for name, file in (("output", options.output), ("members", options.members)):
        if file and Path(file).absolute() == Path(options.input).absolute():
            raise ValueError(f"{name}={file} would overwrite the input")
    check_unwritten(options.overwrite, output=options.output, members=options.members)
    if options.members and Path(options.members).absolute() == Path(options.output).absolute():
        raise ValueError(f"output and members are two tables, but both are {options.output}")


def write_table(table: "pd.DataFrame", file: str) -> None:
    """Write a table as CSV, whole or not at all."""
    replace_file(Path(file), table.to_csv(index=False).encode())


def show_prediction(prediction: "Prediction") -> None:
    """Print the cases of each label, and what a reader has to know."""
    table, rows = prediction.table, []
    for name in class_names(table):
        part = table[table["label"] == name]
        agreement = f"{part['agreement'].mean():.2f}" if len(part) else ""
        rows.append([name, str(len(part)), agreement, str(part["unlike"].sum())])
    header = ["label", "cases", "mean agreement", "unlike the known"]
    print_table(TextTable(header=header, rows=rows, text=len(header)))
    for line in prediction_notes(prediction):
        say(line)


def prediction_notes(prediction: "Prediction") -> list[str]:
    """Return what a reader has to know of predictions."""
    table, lines = prediction.table, threshold_lines(prediction)
    bad = table[table["reason"] != ""]
    lines += [f"{row.case}: {row.outcome}: {row.reason}" for row in bad.head(10).itertuples()]
    lines += [f"... and {len(bad) - 10} more, named in the table"] if len(bad) > 10 else []
    if unlike := table["unlike"].sum():
        lines.append(
            f"{unlike} of {len(table)} cases are unlike the images that the models know (distance above 1; about 5 % "
            "of cases like them are, too): do not trust their probabilities"
        )
    if prediction.copies:
        lines.append(
            f"{prediction.copies} images are copies of images of the run: models that learnt from them predict them "
            "here, so these are not the run's figures (members=FILE.csv tells the models apart)"
        )
    return lines


def threshold_lines(prediction: "Prediction") -> list[str]:
    """Return a line on the threshold of the models and what it calls, where they have one."""
    chosen = prediction.threshold
    if chosen is None:
        return []
    counts = prediction.table["called"].value_counts()
    found = ", ".join(f"{counts.get(side, 0)} {side}" for side in (POSITIVE, NEGATIVE))
    return [
        f"called ({' + '.join(chosen.positive)}: positive): {found}, by score > {chosen.value:.4f}, the mean of the "
        f"folds' thresholds that {chosen.rule} chose"
    ]


if __name__ == "__main__":
    command(main, "predict")
