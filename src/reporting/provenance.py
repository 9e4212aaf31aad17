"""The sections on where figures come from: examples, splits, notes, cells, commands, versions."""

import io
from collections.abc import Callable

import pandas as pd

from src.evaluation.text_tables import BAD, TextTable
from src.evaluation.wording import listed, number
from src.reporting.descriptions import is_windowed
from src.reporting.gathering import OF_CLASS, ReportedExample, ReportMaterial, Split
from src.reporting.sections import Block, Commands, Gallery, Heading, Picture, Section, Text
from src.reporting.typesetting import MISSING, command, counted, duration
from src.system.addresses import mask_passwords
from src.tracking import RunRecord

WIDTH = 1000
"""Pixels that an example is wide, at most."""
QUALITY = 80
ROWS = 20
"""Findings of an audit that are shown, at most."""
AUDITED = {
    "audit_patients": "Patients on both sides of a split",
    "audit_identical": "Identical images on both sides",
    "audit_near_identical": "Near-identical images on both sides",
    "audit_overlap": "Overlapping images on both sides",
    "audit_conflicts": "Alike images with different labels",
    "audit_unknown_patients": "Cases of unknown patients",
    "audit_estimated_patients": "Patients that are estimated, not known (data.patients=estimated)",
    "audit_not_compared": "Images that could not be compared",
}
ROLES = {"fit": "Learnt from", "stopping": "Stopped by", "unused": "Unused"}
KINDS = {
    "patient": "patient",
    "identical": "identical images",
    "near_identical": "near-identical images",
    "overlap": "overlapping images",
}
PRIVATE = ("tracking.", "workspace", "store", "name")
"""Params that say where and how a run was kept, not what it computed."""
DIGESTS = {
    "data": "digest of data",
    "splits": "digest of splits",
    "recipe": "digest of recipe",
    "digest": "digest of config",
}


def example_section(material: ReportMaterial) -> Section | None:
    """Return pictures of what the models look at, by cell."""
    if not material.examples:
        return None
    said = "For each class the case that was most confidently right, and the one most confidently wrong."
    if any(cell.method == "frozen" for cell in material.done):
        said += (
            " Below it, of frozen descriptors, the nearest images that its models learnt from: at a distance above 1 "
            "an image is unlike the known ones."
        )
    if any(cell.method == "frozen" and is_windowed(cell.params) for cell in material.done):
        said += (
            " Maps of frozen descriptors judge single windows, by a model that learnt from descriptors of many: "
            "they tell where a class is more likely than elsewhere, and need not average to the answer for the image."
        )
    if material.beyond:
        said += f" {counted(material.beyond, 'more example')} lie among the runs' artefacts (explanations/)."
    blocks: list[Block] = [Text(lines=[said])]
    for name in dict.fromkeys(example.cell for example in material.examples):
        own = [example_picture(example) for example in material.examples if example.cell == name]
        first = name == material.examples[0].cell
        blocks += [Heading(text=name)] if first else []
        blocks.append(Gallery(pictures=own, folded="" if first else f"{name}: {counted(len(own), 'example')}"))
    return Section(id="examples", title="What the models look at", blocks=blocks)


def example_picture(example: ReportedExample) -> Picture:
    """Return an example as a picture that is not wider than a page needs it."""
    from PIL import Image

    kind, _, name = example.name.removesuffix(".jpg").rpartition("/")
    with Image.open(io.BytesIO(example.content)) as image:
        image.thumbnail((WIDTH, 4 * WIDTH))
        file = io.BytesIO()
        image.save(file, "JPEG", quality=QUALITY)
        size = image.size
    smaller = min(example.content, file.getvalue(), key=len) if size[0] < WIDTH else file.getvalue()
    alt = f"{name}, predicted {kind}: the image, and beside it maps of what the model of {example.cell} looks at"
    return Picture(caption=f"{name}: {kind}", alt=alt, content=smaller, size=size, drawn=False)


def split_section(material: ReportMaterial) -> Section:
    """Return who is held out in which fold, and what stands on both sides of a split."""
    blocks: list[Block] = []
    for split in material.splits:
        if len(material.splits) > 1:
            blocks.append(Heading(text=split.title))
        blocks += [fold_sizes(split), audit_table(split)]
        if len(split.findings):
            blocks.append(finding_table(split))
    return Section(id="audit", title="Splits and leak audit", blocks=blocks)


def fold_sizes(split: Split) -> TextTable:
    """Return what each fold holds out, and from how many cases its models learnt."""
    roles = split.folds.pivot(index="fold", columns="role", values="cases")
    known = [role for role in ROLES if role in roles]
    classes = [str(name) for name in split.held_out if str(name).startswith(OF_CLASS)]
    rows = []
    for row in split.held_out.to_dict("records"):
        sizes = [number(float(roles[role].get(row["fold"], float("nan"))), 0) for role in known]
        rows.append(
            [
                split.names.get(row["fold"], str(row["fold"])),
                *(str(row[name]) for name in ("cases", "patients", *classes)),
                *sizes,
            ]
        )
    names = [name.removeprefix(OF_CLASS) for name in classes]
    header = ["Fold", "Held out: cases", "patients", *names, *(ROLES[role] for role in known)]
    notes = [f"Folds of {listed(split.cells)}."]
    notes += [f"Cases learnt from are those of {split.cells[0]}."] if len(split.cells) > 1 and known else []
    return TextTable(caption=f"Folds: {split.title}", header=header, rows=rows, notes=notes)


def audit_table(split: Split) -> TextTable | Text:
    """Return the counts of the audit; what is not 0 stands out."""
    if not split.facts:
        return Text(lines=["These runs hold no audit."])
    found = {name: split.facts[name] for name in [*AUDITED, *split.facts] if name in split.facts}
    rows = [[AUDITED.get(name, name), str(count)] for name, count in found.items()]
    tones = {(place, 1): BAD for place, count in enumerate(found.values()) if count}
    return TextTable(caption=f"Leak audit: {split.title}", header=["Found", "Count"], rows=rows, tones=tones)


def finding_table(split: Split) -> TextTable:
    """Return the first rows of the audit."""
    columns = {
        "kind": "Kind",
        "first": "One",
        "fold_first": "Fold",
        "second": "Other",
        "fold_second": "Fold",
        "patient_first": "Patient",
        "distance": "Bits that differ",
        "overlap": "Overlap, %",
    }
    shown = split.findings.head(ROWS)
    present = [name for name in columns if name in shown]
    rows = [[str(row[name]) for name in present] for row in shown.to_dict("records")]
    rows = [[KINDS.get(row[0], row[0]), *row[1:]] for row in rows]
    left = len(split.findings) - len(shown)
    notes = [f"{left} more in audit.csv."] if left else []
    header = [columns[name] for name in present]
    return TextTable(
        caption=f"What the audit found: {split.title}", header=header, rows=rows, text=6, notes=notes, folded=True
    )


def note_section(material: ReportMaterial) -> Section:
    """Return what is noted on any of the cells, with the cells."""
    found: dict[str, list[str]] = {}
    for cell in material.cells:
        for note in filter(None, cell.notes.split("; ")):
            found.setdefault(note, []).append(cell.name)
    every = len(material.done)
    lines = [note if len(cells) == every else f"{note} ({listed(cells)})" for note, cells in found.items()]
    lines += [
        f"{cell.name} ended {cell.status}: {material.failures[cell.id] or 'no traceback'}"
        for cell in unfinished_cells(material)
    ]
    return Section(
        id="notes", title="Notes and warnings", blocks=[Text(lines=lines or ["Nothing was noted."], listed=True)]
    )


def unfinished_cells(material: ReportMaterial) -> list[RunRecord]:
    """Return the cells without results."""
    return [cell for cell in material.cells if not cell.finished]


def provenance_section(material: ReportMaterial) -> Section:
    """Return the cells, in what their configs differ, the commands, and the versions."""
    given = [material.command, *(cell.command for cell in material.cells)]
    commands = dict.fromkeys(filter(None, given))
    blocks: list[Block] = [cell_table(material)]
    blocks += [difference_table(material)] if len(material.cells) > 1 else []
    if commands:
        title = "Commands" if len(commands) > 1 else "Command"
        blocks.append(Commands(caption=title, lines=[command(line) for line in commands]))
    return Section(
        id="made", title="How it was made", blocks=[*blocks, version_table(material), shared_table(material)]
    )


def cell_table(material: ReportMaterial) -> TextTable:
    """Return the runs, those that failed, too."""
    rows = [
        [cell.name, cell.status, f"{cell.start:%Y-%m-%d %H:%M}", duration(cell.seconds), cell.id]
        for cell in material.cells
    ]
    tones = {(place, 1): BAD for place, cell in enumerate(material.cells) if not cell.finished}
    header = ["Cell", "Status", "Began (UTC)", "Took", "Run"]
    return TextTable(caption="Runs", header=header, rows=rows, text=5, tones=tones)


def difference_table(material: ReportMaterial) -> TextTable:
    """Return the params in which cells differ, a row per cell, or if these are more, a row per param."""
    cells = configured_cells(material)
    differ = [key for key in computing_params(material) if len({cell.params.get(key) for cell in cells}) > 1]
    # What hangs on an option that differs, such as the mean and the scale of an encoder, is said by the option.
    keys = [key for key in differ if key in material.keys or key.split(".")[0] not in differ or "." not in key]
    hidden = dict.fromkeys(key.split(".")[0] for key in differ if key not in keys)
    table = pd.DataFrame(
        [[mask_passwords(cell.params.get(key, MISSING)) for key in keys] for cell in cells],
        index=pd.Index([cell.name for cell in cells]),
        columns=pd.Index(keys, name="Cell"),
    )
    if len(keys) > len(cells):
        table = table.T.rename_axis(columns="Key")
    rows = [[str(name), *map(str, values)] for name, values in zip(table.index, table.to_numpy(), strict=True)]
    header = [str(table.columns.name), *map(str, table.columns)]
    notes = [] if keys else ["The configs of the cells do not differ."]
    notes += [f"What hangs on {listed(list(hidden))} stands in the runs' config.yaml."] if hidden else []
    return TextTable(caption="In what the configs differ", header=header, rows=rows, text=len(header), notes=notes)


def shared_table(material: ReportMaterial) -> TextTable:
    """Return the params that all cells share."""
    cells = configured_cells(material)
    keys = [key for key in computing_params(material) if len({cell.params.get(key) for cell in cells}) == 1]
    rows = [[key, mask_passwords(cells[0].params[key])] for key in sorted(keys)]
    caption = "The config" if len(cells) == 1 else "The config that all cells share"
    return TextTable(caption=caption, header=["Key", "Value"], rows=rows, text=2, folded=True)


def configured_cells(material: ReportMaterial) -> list[RunRecord]:
    """Return the cells that came so far as to record their config."""
    return [cell for cell in material.cells if cell.params]


def computing_params(material: ReportMaterial) -> list[str]:
    """Return the keys of the params that say what a run computed."""
    keys = dict.fromkeys(key for cell in material.cells for key in cell.params)
    return sorted((key for key in keys if not key.startswith(PRIVATE)), key=lambda key: "." in key)


def version_table(material: ReportMaterial) -> TextTable:
    """Return code, libraries and digests; where cells differ, all of them."""
    names = dict.fromkeys(name for cell in material.cells for name in cell.tags)
    libraries = sorted(name for name in names if name.startswith("version."))
    rows = [["code (git commit)", " / ".join(dict.fromkeys(map(code_version, material.cells)))]]
    titles = {name: name.removeprefix("version.") for name in ("python", *libraries)} | DIGESTS
    for name, title in titles.items():
        values = dict.fromkeys(cell.tags[name] for cell in material.done if name in cell.tags)
        if values:
            rows.append([title, " / ".join(value[:12] if name in DIGESTS else value for value in values)])
    return TextTable(caption="Versions and digests", header=["What", "Version"], rows=rows, text=2)


def code_version(cell: RunRecord) -> str:
    """Return the code's commit, and whether it was changed after that."""
    changed = " with changes" if cell.tags.get("git_dirty") == "true" else ""
    return cell.tags.get("git_commit", "unknown")[:12] + changed


SECTIONS: list[Callable[[ReportMaterial], Section | None]] = [
    example_section,
    split_section,
    note_section,
    provenance_section,
]
