"""A sweep that plans itself: which ways of learning a budget bears, the cheap ones first, up to a leaderboard.

`experiment=which_way` has Hydra use both classes here. The callback makes the plan, which is kept with the sweep's run,
so that a sweep that is taken up has the same, whatever the machine has to do by then; the sweeper runs it.
"""

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from hydra import compose as hydra_compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from src.cli.arguments import values_of
from src.cli.terminal import console, print_table, say
from src.config import Experiment, build, settle_config
from src.encoders.encoder import Encoder
from src.evaluation.text_tables import TextTable, tabulate_leaderboard, to_csv, to_markdown
from src.evaluation.wording import spell_seconds
from src.executors.local import Local
from src.recipes import sweep_digest
from src.sweeps.callback import TrackedSweep, finish_sweep, swept_overrides
from src.sweeps.fusion import finished_cells
from src.sweeps.resume import current_sweep
from src.sweeps.run_cell import gather_inputs
from src.sweeps.sweep_leaderboard import PLAN, describe_leaderboard, leaderboard_of, read_plan
from src.sweeps.way_plan import Overrides, Plan, parse_budget, plan_ways, spell_budget
from src.sweeps.way_rates import Panel, Workbench
from src.tracking import RunRecord, Tracking

if TYPE_CHECKING:
    from src.evaluation.side_by_side import Group, SideBySide

CHOSEN = {"encoder": "encoders", "crop": "crops", "classifier": "heads", "finetune": "finetune"}
"""The groups whose options are tried, and the field of `Panel` that lists them."""
OWN = ("method", "crop.scale", "crop.count", "crop.sharing", "classifier.min_data_in_leaf")
"""Keys that the ways set besides."""
MEASURED = 0.2
"""The share of a budget after which no further encoder is measured."""
LAUNCHERS = ("Basic", "Joblib")
"""Those whose cells run on this machine, whose rates are measured."""
BEGUN = time.monotonic()
"""When this process began, so far as a budget goes."""


class PlannedSweep(TrackedSweep):
    """Called by Hydra around a sweep that plans itself."""

    def prepare(self, config: DictConfig) -> None:
        """Plan the ways, or take over the plan of an earlier try, and begin."""
        budget, panel = parse_budget(str(config.budget)), asked_panel(config)
        asked = {each.name: list(map(str, listed(getattr(panel, each.name)))) for each in fields(Panel)}
        digest = sweep_digest(config, asked | {"budget": [str(budget)]})
        found = self.earlier(config, digest)
        plan = read_plan(self.tracking, found) if found else make_plan(config, panel, budget)
        assert plan is not None
        self.expected = len(plan.ways)
        names = {point_of(way.overrides): way.name for way in plan.ways}
        self.begin(config, plan.varied(), digest, found, names)
        if found is None:
            self.tracking.attach(self.sweep, PLAN, plan.to_json())
        tell_plan(plan)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Fuse the cells on the parent run, and show the leaderboard."""
        self.close()
        begun = len(self.tracking.children(self.sweep))

        def show(groups: "list[Group]", together: "SideBySide | None", title: str) -> None:
            conclude(self.tracking, self.sweep, config.replicates)

        finish_sweep(self.tracking, self.sweep, begun, None, config.replicates, show)


class PlannedSweeper(Sweeper):
    """Runs the ways of a sweep's plan one after the other, or so many at once as a launcher has processes."""

    def __init__(self, **_: Any) -> None:
        """Take nothing: what may be tried is in the plan."""
        self.launcher: Launcher | None = None
        self.config: DictConfig | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take the config, and what launches cells."""
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Run the ways; none begins when the budget is used up. Ended early, it has a leaderboard of what is done."""
        sweep, config, launcher = current_sweep(), self.config, self.launcher
        assert sweep is not None
        assert config is not None
        assert launcher is not None
        tracking: Tracking = build(config.tracking)
        plan = read_plan(tracking, tracking.find(sweep.run))
        assert plan is not None
        typed = common_overrides(config)
        together = int(getattr(launcher, "n_jobs", 1))
        try:
            for first in range(0, len(plan.ways), together):
                if time.monotonic() - BEGUN > plan.budget:
                    say(
                        f"the budget of {spell_budget(plan.budget)} is used up: {len(plan.ways) - first} ways of the "
                        "plan are not begun; the same command goes on with them"
                    )
                    break
                ways = plan.ways[first : first + together]
                launcher.launch([[*typed, *as_overrides(way.overrides)] for way in ways], first)
        except (KeyboardInterrupt, SystemExit):
            conclude(tracking, sweep.run, config.replicates)
            raise
        return []


def asked_panel(config: DictConfig) -> Panel:
    """Return what may be tried: of a group whose options were typed these, else what the experiment lists.

    `ValueError` for what a plan has no place for, before any work.
    """
    launcher = str(config.hydra.launcher.get("_target_", "")).rpartition(".")[2].removesuffix("Launcher")
    if launcher not in LAUNCHERS:
        raise ValueError("experiment=which_way measures this machine: leave hydra/launcher out, or take joblib")
    given = swept_overrides(config)
    for key, override in given.items():
        if key in OWN:
            raise ValueError(
                f"experiment=which_way gives {key} to each way that it tries: leave {override.input_line} out"
            )
        if override.is_discrete_sweep() and key not in CHOSEN:
            raise ValueError(
                f"experiment=which_way varies {', '.join(CHOSEN)} alone, but got {override.input_line}: give one value"
            )
    own = {each.name: config.hydra.sweeper[each.name] for each in fields(Panel)}
    typed = {
        field: [value.partition("=")[2] for value in values_of(given[key])]
        for key, field in CHOSEN.items()
        if key in given
    }
    own["grey"] = [] if "encoders" in typed else own["grey"]
    values: dict[str, Any] = {
        name: list(value) if OmegaConf.is_config(value) else value for name, value in (own | typed).items()
    }
    return Panel(**values)


def listed(value: Any) -> Sequence[Any]:
    """Return a value as a list."""
    return value if isinstance(value, list) else [value]


def common_overrides(config: DictConfig) -> list[str]:
    """Return what was typed that holds for all ways."""
    return [line for key, each in swept_overrides(config).items() if key not in CHOSEN for line in values_of(each)]


def as_overrides(values: Overrides) -> list[str]:
    """Return values as they are typed."""
    return [f"{key}={value}" for key, value in values.items()]


def point_of(values: Overrides) -> str:
    """Return the tag of a cell that says where it is in its sweep (`src.sweeps.run_cell.position_tags`)."""
    return " ".join(sorted(as_overrides(values)))


def make_plan(config: DictConfig, panel: Panel, budget: float) -> Plan:
    """Return the plan: look at the data, measure, and choose."""
    loader, typed = GlobalHydra.instance().config_loader(), common_overrides(config)

    def compose(values: Overrides) -> Experiment:
        cell = loader.load_sweep_config(config, [*typed, *as_overrides(values)])
        with open_dict(cell):
            del cell["hydra"]
        experiment: Experiment = build(settle_config(cell))
        return experiment

    def encoder(name: str) -> Encoder:
        # Of the group alone, in a third of the time; Hydra wants `_self_` in what it takes for a command's config.
        with warnings.catch_warnings(action="ignore"):
            found: Encoder = build(hydra_compose(f"encoder/{name}", own).encoder)
        return found

    own = [line for line in typed if line.startswith("encoder.")]
    base = compose({"encoder": "handcrafted"})
    if not isinstance(base.executor, Local):
        raise ValueError("experiment=which_way measures this machine: leave executor out")
    say(f"plan: what can be tried on {base.data.root} in {spell_budget(budget)}")
    bench = Workbench(
        compose=compose, encoder=encoder, inputs=gather_inputs(base), panel=panel, deadline=BEGUN + MEASURED * budget
    )
    for line in bench.facts():
        say(f"plan: {line}")
    candidates, sources = bench.candidates()
    plan = plan_ways(candidates, sources, budget, time.monotonic() - BEGUN, panel.ways)
    unmeasured = dict.fromkeys(bench.unmeasured, "takes longer than to be measured")
    return replace(plan, left=plan.left | unmeasured, absent=bench.absent)


def tell_plan(plan: Plan) -> None:
    """Show what is going to be tried, and how long it takes."""
    rows = [[way.name, spell_seconds(way.seconds)] for way in plan.ways]
    notes = [
        f"{told}: {by_reason(found)}"
        for told, found in (("left out", plan.left), ("not to be had here", plan.absent))
        if found
    ]
    print_table(TextTable(caption="the plan, in this order", header=["way", "about"], rows=rows, notes=notes))
    say(
        f"plan: {len(plan.ways)} ways, about {spell_seconds(plan.seconds)} of a budget of {spell_budget(plan.budget)}, "
        f"{spell_seconds(plan.spent)} of which went into looking and measuring"
    )


def by_reason(reasons: Mapping[str, str]) -> str:
    """Return names with why, those of the same reason together."""
    grouped: dict[str, list[str]] = {}
    for name, why in reasons.items():
        grouped.setdefault(why, []).append(name)
    return "; ".join(f"{', '.join(names)} ({why})" for why, names in grouped.items())


def conclude(tracking: Tracking, sweep: str, replicates: int) -> None:
    """Show the leaderboard of what is finished, and keep it with the sweep's run."""
    parent = tracking.find(sweep)
    cells = finished_cells(tracking.children(sweep))
    found = leaderboard_of(tracking, parent, cells, replicates)
    if found is None:
        return
    table = tabulate_leaderboard(found.board, found.times, found.title)
    lines = describe_leaderboard(found)
    print_table(table, no_wrap=True)
    for line in lines:
        console().print(line, soft_wrap=True)  # commands are copied
    tracking.attach(sweep, "leaderboard.csv", to_csv(table))
    tracking.attach(sweep, "leaderboard.md", "\n\n".join([to_markdown(table), *lines, ""]))
    say_times(found.plan, cells)


def say_times(plan: Plan, cells: list[RunRecord]) -> None:
    """Say what the plan thought it would take, and what it took."""
    names = {cell.name for cell in cells}
    thought = plan.spent + sum(way.seconds for way in plan.ways if way.name in names)
    took = plan.spent + sum(cell.seconds for cell in cells)
    say(f"{len(cells)} of {len(plan.ways)} ways: estimated {spell_seconds(thought)}, took {spell_seconds(took)}")
