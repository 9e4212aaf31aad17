"""Which of two classes is the positive one, by the usual words in their names."""

import re
from collections.abc import Sequence

POSITIVE_WORDS = frozenset(
    {
        "abnormal",
        "affected",
        "cancer",
        "cancerous",
        "carcinoma",
        "disease",
        "diseased",
        "ill",
        "infected",
        "lesion",
        "malignancy",
        "malignant",
        "metastasis",
        "metastatic",
        "neoplasm",
        "neoplastic",
        "pathologic",
        "pathological",
        "pos",
        "positive",
        "sick",
        "tumor",
        "tumoral",
        "tumors",
        "tumour",
        "tumoural",
        "tumours",
    }
)
"""Words for what is looked for. A name that holds one is a positive class's: `malignant`, `tumor_tissue`."""
NEGATIVE_WORDS = frozenset(
    {"benign", "control", "controls", "healthy", "neg", "negative", "none", "normal", "nothing", "unremarkable"}
)
"""Words for its absence: `benign`, `normal_mucosa`."""
POSITIVE_NAMES = frozenset({"1", "case", "cases", "present", "true", "y", "yes"})
"""What says so only as the whole name."""
NEGATIVE_NAMES = frozenset({"0", "false", "n"})
NEGATIONS = frozenset({"absent", "free", "no", "non", "not", "un", "without"})
"""Words, or beginnings of words, that turn the rest of a name: `no_tumor`, `cancer-free`, `unaffected`, `no`."""
SIGNS = {"+": 1, "-": -1, "\N{MINUS SIGN}": -1}
"""What a name ends with: `HER2+`, `HER2-`."""


def usual_positive(names: Sequence[str]) -> str | None:
    """Return the one of two classes that is usually the positive one; None where their names do not tell.

    It is the only one whose name says so, or else the other of the only one whose name says that it is negative.
    """
    senses = [tell_sense(name) for name in names]
    if len(names) != 2 or senses[0] == senses[1]:
        return None
    return names[senses.index(max(senses))]


def tell_sense(name: str) -> int:
    """1 for the name of a positive class, -1 for that of a negative one, 0 where it does not tell."""
    whole = name.strip().lower()
    if whole in POSITIVE_NAMES or whole in NEGATIVE_NAMES:
        return 1 if whole in POSITIVE_NAMES else -1
    if whole[-1:] in SIGNS:
        return SIGNS[whole[-1]]
    words = [part for word in _words(name) for part in _negated(word)]
    negated = any(word in NEGATIONS for word in words)
    found = {1 for word in words if word in POSITIVE_WORDS} | {-1 for word in words if word in NEGATIVE_WORDS}
    if len(found) > 1:
        return 0  # such as "benign tumour"
    named = found.pop() if found else int(negated)  # "no finding" denies something that is not known here
    return -named if negated else named


def _words(name: str) -> list[str]:
    """Return the words of a name in lower case, those of `CamelCase` and `snake_case`, too."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


def _negated(word: str) -> list[str]:
    """Return a word, or its negation and the rest of it where that is a word of the lists: non, cancerous."""
    for start in ("non", "un"):
        if word.startswith(start) and word.removeprefix(start) in POSITIVE_WORDS | NEGATIVE_WORDS:
            return [start, word.removeprefix(start)]
    return [word]
