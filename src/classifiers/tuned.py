"""A classifier with the parameters that a study chose."""

import hashlib
import json
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from src import classifiers
from src.classifiers.classifier import Classifier, Features, Groups, Labels, Model, Parts
from src.system.next_commands import next_command
from src.system.subclasses import derived_classes, import_modules

TUNED, STUDY = "tuned", "study"
"""What the record of a study, and the tags of runs, say of the way and the name of tuning."""
NESTED, FLAGGED = "nested", "flagged"
"""The ways: within the training part of each fold, or on the held-out cases themselves."""
WHOLE = {"splits": "folds", "data": "images or labels"}
"""What a nested study and a run must have in common, and what it is."""


def optimistic_note(study: str) -> str:
    """Return the note on a study that knew what is held out."""
    return f"optimistic: study {study} chose the parameters on the held-out cases themselves (nested=false)"


def classifiers_by_name() -> dict[str, type[Classifier]]:
    """Return all classifiers: those of this folder, and a user's own that were imported."""
    import_modules(classifiers.__name__)
    return {kind.__name__: kind for kind in derived_classes(Classifier)}


@dataclass(kw_only=True)
class Tuned(Classifier):
    """The classifier of the study `study` (`python -m src.tune study=NAME`), in each fold with what was chosen there.

    The parameters of a nested study know the training part of their own fold: they are for runs on the same folds of
    the same data. Those of a flagged study (`nested=false`) know every case; they may be used, and a run notes that.
    Parameters of other operators that the study chose (`pool.p`) are not taken over: the run's own hold.
    """

    study: str
    folder: str = "mlruns/studies"
    """Where the studies' files are."""

    def fit(
        self,
        features: Features | Parts,
        labels: Labels,
        classes: int,
        fold: int,
        seeds: list[int],
        threads: int = 1,
        groups: Groups | None = None,
    ) -> list[Model]:
        """Return a model per seed with the parameters of the fold."""
        return self.of_fold(fold).fit(features, labels, classes, fold, seeds, threads, groups)

    def load(self, path: Path) -> Model:
        """Return a model that was saved, of whichever classifier was tuned: its study may be gone."""
        models = dict.fromkeys(kind.fits for kind in classifiers_by_name().values() if hasattr(kind, "fits"))
        reasons = []
        for model in models:
            if model.suffix == path.suffix:
                try:
                    return model.load(path)
                except ValueError as error:
                    reasons.append(error)
        raise reasons[0] if reasons else ValueError(f"{path} is of no classifier here")

    def digest(self) -> str:
        """Return the identity of what the study chose: it may be made anew under its name."""
        return hashlib.sha256(json.dumps(self.record, sort_keys=True).encode()).hexdigest()

    def check_tunable(self) -> None:
        """Raise `ValueError`: they were chosen by one."""
        raise ValueError(
            "classifier=tuned has parameters of another study, which knew the cases that are held out inside of folds: "
            "tune another, such as classifier=lightgbm"
        )

    def check(self, splits: str, data: str, patients: int = 0) -> list[str]:
        """Return what a reader has to know; `ValueError` where parameters may have seen what is held out."""
        chosen = self.record
        found = {"splits": splits, "data": data}
        differ = [what for name, what in WHOLE.items() if chosen[name] != found[name]]
        if chosen[TUNED] == NESTED and differ:
            raise ValueError(
                f"study {self.study} was nested in other {' and '.join(differ)} than this run's, so that its "
                f"parameters may have seen what is held out here: use the same data and protocol, or tune on these by "
                f"`{next_command('tune', 'study=OTHER')}`"
            )
        for fold in map(int, chosen["folds"]):
            self.of_fold(fold).check(splits, data)
        return [*self.flags(), *self.left(), *self.more(patients)]

    def flags(self) -> list[str]:
        """Return a note where the study knew what is held out."""
        return [] if self.record[TUNED] == NESTED else [optimistic_note(self.study)]

    def left(self) -> list[str]:
        """Return a note on parameters that are not a classifier's."""
        keys = {key for fold in self.record["folds"].values() for key in fold["parameters"]}
        others = sorted(key for key in keys if not key.startswith("classifier."))
        if not others:
            return []
        return [f"study {self.study} chose {', '.join(others)}, too, which classifier=tuned leaves as this run has it"]

    def more(self, patients: int) -> list[str]:
        """Return a note where the study knew more patients of a training part than models are to learn from."""
        known = int(self.record.get("training_patients", 0))
        if not patients or 0 < known <= patients:
            return []
        return [
            f"optimistic: study {self.study} chose the parameters by {known or 'all'} patients of each training part, "
            f"of which these models learn from {patients}"
        ]

    def of_fold(self, fold: int) -> Classifier:
        """Return the classifier of a fold."""
        folds = self.record["folds"]
        # A flagged study has one choice, whatever the folds are.
        chosen = folds.get(str(fold)) if self.record[TUNED] == NESTED else next(iter(folds.values()))
        if chosen is None:
            raise ValueError(f"study {self.study} has folds {', '.join(folds)}, but not {fold}")
        given = dict(chosen["classifier"])
        kind = classifiers_by_name()[given.pop("operator")]
        return kind(**{each.name: given[each.name] for each in fields(kind) if each.name in given})

    @cached_property
    def record(self) -> dict[str, Any]:
        """What the study chose; `ValueError` where there is none, or none of a classifier."""
        place = Path(self.folder)
        path = place / f"{self.study}.json"
        if not path.is_file():
            known = ", ".join(sorted(file.stem for file in place.glob("*.json"))) or "none"
            raise ValueError(
                f"no study {self.study!r} has ended in {place} (there: {known}); "
                f"`{next_command('tune', f'study={self.study}')}` makes one"
            )
        try:
            record: dict[str, Any] = json.loads(path.read_text())
            searched = {key for fold in record["folds"].values() for key in fold["parameters"]}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} holds no study ({error!r}): `{next_command('tune')}` makes one") from None
        if not any(key.startswith("classifier.") for key in searched):
            raise ValueError(f"study {self.study} chose {', '.join(sorted(searched))}, and nothing of a classifier")
        return record
