"""The leaderboard of a sweep that planned itself, from its tracked runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from src.sweeps.fusion import read_inner, read_predictions, recorded_view, shared_cases
from src.sweeps.way_plan import Plan
from src.system.next_commands import next_command
from src.tracking import RunRecord, Tracking

if TYPE_CHECKING:
    from src.evaluation.leaderboard import Leaderboard

PLAN = "plan.json"
"""The artefact of a sweep with its plan."""


@dataclass(kw_only=True)
class PlannedBoard:
    """The leaderboard of a sweep, and the plan that it came from; `notes` are those of its cells' figures."""

    title: str
    board: "Leaderboard"
    plan: Plan
    notes: list[str]

    @property
    def times(self) -> Mapping[str, tuple[float, float]]:
        """Seconds to learn one model, and to predict an image, by way."""
        return {way.name: (way.learns, way.predicts) for way in self.plan.ways}


def read_plan(tracking: Tracking, sweep: RunRecord) -> Plan | None:
    """Return the plan of a sweep; None where it has none."""
    try:
        return Plan.of_json(tracking.artifact(sweep, PLAN).decode())
    except ValueError:
        return None


def leaderboard_of(
    tracking: Tracking, sweep: RunRecord, cells: list[RunRecord], replicates: int
) -> PlannedBoard | None:
    """Return the leaderboard of a sweep's finished cells; None where it has no plan, or no cells."""
    from src.evaluation.leaderboard import rank_ways

    plan = read_plan(tracking, sweep)
    if plan is None or not cells:
        return None
    read = read_predictions(tracking, cells)
    runs = dict(zip(read, cells, strict=True))
    tables, left_out = shared_cases(cells, read)
    inner = read_inner(tracking, runs)
    board = rank_ways(tables, inner, recorded_view(cells), plan.floor, replicates)
    return PlannedBoard(title=sweep.name, board=board, plan=plan, notes=left_out)


def describe_leaderboard(found: PlannedBoard) -> list[str]:
    """Return what a leaderboard says, and what may come next, in sentences."""
    from src.evaluation.leaderboard import answer, needed_line

    return [
        *answer(found.board),
        *found.notes,
        *next_steps(found),
        needed_line(found.board),
        plan_commands(found.board),
    ]


def next_steps(found: PlannedBoard) -> list[str]:
    """Return what was not tried, and how it is."""
    done = set(found.board.table["way"])
    rest = [way.name for way in found.plan.ways if way.name not in done]
    lines = [f"Not done: {', '.join(rest)}; the same command goes on with them."] if rest else []
    left = [name for name, why in found.plan.left.items() if why.startswith("takes ")]
    lines += [f"For want of time not tried: {', '.join(left)}; a larger budget= tries them."] if left else []
    absent = ", ".join(found.plan.absent)
    lines += [
        f"Encoders whose weights are not here: {absent}; encoder=NAME encoder.weights=PATH tries one that you have."
    ] * bool(absent)
    return lines


def plan_commands(board: "Leaderboard") -> str:
    """Return the command that reckons how many patients it takes, for other figures."""
    accuracy = float((board.honest or board.table.iloc[0]).get("accuracy", 0.5))
    given = [f"accuracy={min(max(accuracy - 0.05, 0.1), 0.9):.2f}", "difference=0.05", f"folds={board.folds}"]
    images = board.cases / board.patients
    given += [f"images={images:.1f}"] if images > 1 else []
    given += [f"comparisons=[{','.join(map(str, board.comparisons))}]"] if len(board.comparisons) > 1 else []
    return f"How many {board.unit} other differences take: {next_command('plan', *given)}"
