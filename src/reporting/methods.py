"""What was done, in words: in a sentence, and as the methods section of a paper, from what the runs recorded."""

from collections.abc import Callable, Mapping

from src.config import default_params
from src.evaluation.predictions import count_repeats
from src.evaluation.wording import listed, number
from src.reporting import descriptions
from src.reporting.gathering import ReportMaterial, Split
from src.reporting.participants import describe_data, different_data, without_bad
from src.reporting.results import main_group
from src.reporting.sections import Block, Heading, Section, Text
from src.reporting.typesetting import counted
from src.system.addresses import mask_passwords
from src.tracking import RunRecord
from src.tracking.run_record import parse_param

METHODS = {"frozen": "frozen descriptors and a classifier", "finetune": "a fine-tuned network"}
REFERENCES = {
    "Wilson 1927": "Wilson EB. Probable inference, the law of succession, and statistical inference. Journal of the "
    "American Statistical Association 1927;22:209-212.",
    "Kish 1965": "Kish L. Survey sampling. Wiley, 1965.",
    "Korn and Graubard 1998": "Korn EL, Graubard BI. Confidence intervals for proportions with small expected number "
    "of positive counts estimated from survey data. Survey Methodology 1998;24:193-201.",
    "Obuchowski 1997": "Obuchowski NA. Nonparametric analysis of clustered ROC curve data. Biometrics 1997;53:567-578.",
    "Newcombe 2006": "Newcombe RG. Confidence intervals for an effect size measure based on the Mann-Whitney "
    "statistic. Part 2: asymptotic methods and evaluation. Statistics in Medicine 2006;25:559-573.",
    "Zou and Donner 2008": "Zou GY, Donner A. Construction of confidence limits about effect measures: a general "
    "approach. Statistics in Medicine 2008;27:1693-1702.",
    "Lei 2018": "Lei J, G'Sell M, Rinaldo A, Tibshirani RJ, Wasserman L. Distribution-free predictive inference for "
    "regression. Journal of the American Statistical Association 2018;113:1094-1111.",
    "Youden 1950": "Youden WJ. Index for rating diagnostic tests. Cancer 1950;3:32-35.",
    "Nadeau and Bengio 2003": "Nadeau C, Bengio Y. Inference for the generalization error. Machine Learning "
    "2003;52:239-281.",
    "Bouckaert and Frank 2004": "Bouckaert RR, Frank E. Evaluating the replicability of significance tests for "
    "comparing learning algorithms. PAKDD 2004:3-12.",
    "Westfall and Young 1993": "Westfall PH, Young SS. Resampling-based multiple testing. Wiley, 1993.",
    "Guo 2017": "Guo C, Pleiss G, Sun Y, Weinberger KQ. On calibration of modern neural networks. ICML 2017:1321-1330.",
}
"""By how the text names them."""
PLACES = ("data.root", "data.path", "data.expected", "tracking", "workspace", "store", "name", "resume", "published")
MACHINES = ("executor", "examples", "method.workers", "method.device", "method.memory", "method.batch")
DESCRIBED = ("seeds", "encoder.label", "binary.positive", "slices", "inner_folds", "threshold", "recalibration")
UNTOLD = (*PLACES, *MACHINES, *DESCRIBED)
"""Params, or groups of them, that say where or how a run was made, or that stand elsewhere in the text."""
SHA_256 = 64
"""Signs of a digest, which what has no weights has none of."""
CHOICES = ("inner_folds", "threshold", "recalibration")
NOTHING = ("", "0", "none")
RULES = {"sensitivity": "Lei 2018", "specificity": "Lei 2018", "youden": "Youden 1950"}
MAPS = {"temperature": "Guo 2017"}
"""Whom the text cites for a rule, and for a map."""
SPLITS = {
    "kfold": "cross-validation stratified by class, with all cases of a patient in one fold",
    "image_kfold": "cross-validation stratified by class that ignored patients, so that these may stand on both sides "
    "of a split and figures are optimistic",
    "holdout": "one test part drawn by patient, stratified by class",
    "image_holdout": "one test part drawn by image, so that patients may stand on both sides of the split and "
    "figures are optimistic",
    "published": "the folds of a file that was given",
    "leave_one_group_out": "leaving one group out at a time",
}


def describe_methods(material: ReportMaterial) -> str:
    """Return the methods in a sentence or two, in the values that were used."""
    names = [METHODS.get(name, name) for name in param_values(material, "method")]
    parts = [
        ("encoder", different_descriptions(material, descriptions.encoder)),
        ("input", different_descriptions(material, descriptions.crops)),
        ("stain", param_values(material, "stain")),
        ("augmentation", different_descriptions(material, descriptions.augmentation, "frozen")),
        ("classifier", different_descriptions(material, descriptions.classifier, "frozen")),
        ("training", different_descriptions(material, descriptions.training, "finetune")),
        ("seeds", param_values(material, "seeds")),
    ]
    said = "; ".join(f"{name} {listed(found)}" for name, found in parts if found and found not in (["none"], ["[0]"]))
    return f"Method: {listed(names) or 'unknown'}{f' ({said})' if said else ''}."


def different_descriptions(
    material: ReportMaterial, what: Callable[[Mapping[str, str]], str], method: str = ""
) -> list[str]:
    """Return the different things that cells with results used, of those of one method where it is given."""
    cells = [cell for cell in material.done if not method or cell.method == method]
    return [text for text in dict.fromkeys(what(cell.params) for cell in cells) if text]


def param_values(material: ReportMaterial, key: str) -> list[str]:
    """Return the different values that a param has among the cells with results."""
    return [value for value in dict.fromkeys(cell.params.get(key, "") for cell in material.done) if value]


def method_section(material: ReportMaterial) -> Section:
    """Return the text, a paragraph for each part of a methods section, and whom it cites."""
    lines = [
        *(data_line(split, material) for split in different_data(material.splits)),
        *(protocol_line(split, material) for split in material.splits),
        learning_line(material),
        *choice_lines(material),
        *setting_lines(material),
        statistics_line(material),
        software_line(material.done),
    ]
    cited = [text for name, text in REFERENCES.items() if any(name in line for line in lines)]
    said = "A draft for a paper, from what the runs recorded. What only its authors know is not in it."
    blocks: list[Block] = [Text(lines=[said]), Text(lines=lines), Heading(text="Cited"), Text(lines=cited, listed=True)]
    return Section(id="methods", title="Methods, for a paper", blocks=blocks)


def data_line(split: Split, material: ReportMaterial) -> str:
    """Return what data were used, and what was left out of them."""
    names = [descriptions.dataset(cell) for cell in material.done if cell.name in split.cells]
    lines = [f"Data: {describe_data(split)} of the data set {names[0] or 'unknown'} were analysed."]
    if len(split.left_out):
        lines.append(f"{counted(len(split.left_out), 'file')} beside them could not be read as images of the data set.")
    if left := len(without_bad(split)):
        lines.append(f"{counted(left, 'image')} that could not be used {'was' if left == 1 else 'were'} left out.")
    if (split.judged["patient"] == "").any():
        lines.append("A case whose patient is unknown was taken for a patient of its own.")
    return " ".join(lines)


def protocol_line(split: Split, material: ReportMaterial) -> str:
    """Return how cases were split, and by which seed."""
    cells = [cell for cell in material.done if cell.name in split.cells]
    params, protocol = cells[0].params, cells[0].protocol
    folds = split.held_out["fold"].nunique()
    repeats = int(params.get("protocol.repeats", "1"))
    what = SPLITS.get(protocol, protocol)
    size = f"{folds // repeats}-fold " if "kfold" in protocol else ""
    again = f", repeated {repeats} times with other folds" if repeats > 1 else ""
    seed = f" (seed {params['protocol.seed']})" if "protocol.seed" in params else ""
    named = f" ({params['protocol.group']})" if "protocol.group" in params else ""
    return (
        f"Protocol: {size}{what}{named}{again}{seed}. Every case was predicted by models that had learnt neither from "
        "it nor from anything chosen on it."
    )


def learning_line(material: ReportMaterial) -> str:
    """Return the ways of learning, their encoders with the weights' digests, and how predictions were averaged."""
    digests = {descriptions.encoder(cell.params): cell.tags.get("weights", "") for cell in material.done}
    told = [f"{name}, SHA-256 {digest[:16]}..." for name, digest in digests.items() if len(digest) == SHA_256]
    seeds = {len(parse_param(cell.params.get("seeds", "[0]"))) for cell in material.done}
    averaged = f" Probabilities are means over {max(seeds)} models of different seeds." if max(seeds) > 1 else ""
    tuned = [cell.tuned for cell in material.done if cell.tuned]
    chosen = f" Parameters were chosen by {listed(list(dict.fromkeys(tuned)))}." if tuned else ""
    weights = f" Weights: {'; '.join(told)}." if told else ""
    cells = f" {len(material.done)} configurations were compared." if len(material.done) > 1 else ""
    return f"Learning: {describe_methods(material).removeprefix('Method: ')}{weights}{averaged}{chosen}{cells}"


def choice_lines(material: ReportMaterial) -> list[str]:
    """Return what was chosen on predictions of the training parts, and how these were made; none where nothing was."""
    inner, rules, maps = ([each for each in param_values(material, key) if each not in NOTHING] for key in CHOICES)
    if not inner:
        return []
    made = f"each fold's training part was itself predicted out of fold, by {listed(inner)} inner folds of its patients"
    by = [f"{rule} ({RULES[name]})" if (name := rule.partition(":")[0]) in RULES else rule for rule in rules]
    mapped = [f"{kind} ({MAPS[kind]})" if kind in MAPS else kind for kind in maps]
    used = [f"a threshold was chosen by {listed(by)}"] * bool(by)
    used += [f"probabilities were recalibrated by {listed(mapped)}"] * bool(mapped)
    on_these = f" On these predictions {' and '.join(used)}, and applied to the cases held out." if used else ""
    return [f"Chosen within training parts: {made}.{on_these}"]


def setting_lines(material: ReportMaterial) -> list[str]:
    """Return the parameters that are not the defaults of the options chosen, of all cells and of some; what varied."""
    told = [changed_params(cell.params) for cell in material.done]
    every = [text for text in told[0] if all(text in other for other in told)]
    lines = [f"Parameters other than the defaults: {'; '.join(every)}."] if every else []
    varied: dict[str, list[str]] = {}
    for text in dict.fromkeys(text for other in told for text in other if text not in every):
        key, _, value = text.partition(" = ")
        varied.setdefault(key, []).append(value)
    if varied:
        lines.append(f"Of some alone: {'; '.join(f'{key} = {listed(found, 8)}' for key, found in varied.items())}.")
    return lines


def changed_params(params: Mapping[str, str]) -> list[str]:
    """Return the params that are not what the options chosen say by themselves, in the order of their keys."""
    usual = default_params(params)
    return [
        f"{key} = {mask_passwords(value)}"
        for key, value in sorted(params.items())
        if "." in key or key not in usual
        if usual.get(key) != value and not any(f"{key}.".startswith(f"{name}.") for name in UNTOLD)
    ]


def statistics_line(material: ReportMaterial) -> str:
    """Return how intervals and tests are computed."""
    group = main_group(material)
    lines = [
        "Statistics: intervals are at 95 % and take patients for clusters. Those of proportions (accuracy, "
        "sensitivity, specificity, predictive values) are Wilson's (Wilson 1927) at the effective number of cases "
        "(Kish 1965; Korn and Graubard 1998), and of their means over classes the sum of squares of these (Zou and "
        "Donner 2008); those of areas under the ROC curve are score intervals (Newcombe 2006) "
        "by the variance of clustered data (Obuchowski 1997); those of macro F1 and calibration error are a percentile "
        "bootstrap over patients."
    ]
    repeats = count_repeats(group.predictions)
    if repeats > 1:
        lines.append(
            f"Figures are means over {repeats} repeats of the cross-validation; intervals also hold what training anew "
            "would change (Nadeau and Bengio 2003; Bouckaert and Frank 2004)."
        )
    if group.predictions["model"].nunique() > 1:
        lines.append(
            "Ways of learning were compared in pairs, on the same cases and folds, by a t-test over folds"
            + (", corrected for the overlap of training sets (Nadeau and Bengio 2003)," if repeats > 1 else "")
            + " and by a test over patients that turns signs, of which the larger p counts; p values were corrected "
            "for all comparisons (Westfall and Young 1993), and a difference was called shown at 0.05 or less."
        )
    if group.evaluation.set_points is not None and len(group.evaluation.set_points):
        points = listed([number(each, 2) for each in group.evaluation.set_points["threshold"]])
        lines.append(f"Two classes: {group.evaluation.view}; called positive above {points}.")
    return " ".join(lines)


def software_line(cells: list[RunRecord]) -> str:
    """Return the code, the versions of what it stands on, and the seeds."""
    libraries = sorted({name for cell in cells for name in cell.tags if name.startswith("version.")})
    said = [
        f"{name.removeprefix('version.')} {listed(different([cell.tags.get(name, '') for cell in cells]))}"
        for name in ("python", *libraries)
    ]
    commits = listed(different([cell.tags.get("git_commit", "")[:12] for cell in cells])) or "unknown"
    seeds = different([cell.params.get("seeds", "[0]").strip("[]") for cell in cells])
    return f"Software: Tenfold (commit {commits}), {', '.join(said)}. Seeds of models: {listed(seeds)}."


def different(texts: list[str]) -> list[str]:
    """Return the different texts, without those that are empty."""
    return [text for text in dict.fromkeys(texts) if text]
