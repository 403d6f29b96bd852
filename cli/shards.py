"""`celldrop shards …`: the commands plan, annotate and gather, for workflow engines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.console import Output
from cli.options import FileArgument, JsonFlag, SetOption, finish
from shared.domain.plan import Accelerator

shards = typer.Typer(help="Annotate one file in three steps, for workflow engines.", no_args_is_help=True)

BundlesOption = Annotated[
    list[Path],
    typer.Option(
        "--model",
        help="The folder of a bundle. For a consensus: that of the main model, then of at most four further ones.",
        show_default=False,
    ),
]
PlanOption = Annotated[Path, typer.Option("--plan", help="The plan that `plan` wrote.", show_default="plan.json")]
PLAN = Path("plan.json")


@shards.command()
def plan(
    file: FileArgument,
    *,
    model: BundlesOption,
    plan_file: Annotated[Path, typer.Option("--plan", help="The plan to write.", show_default="plan.json")] = PLAN,
    set_: SetOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Validate a file and split it into shards; `--set tasks=N` sets how many."""
    from cli.running import read_pairs
    from cli.sharding import Given, plan_shards
    from shared.settings import load_settings

    output = Output(as_json)
    finish(output, lambda: plan_shards(load_settings(), Given(plan_file, file, model), read_pairs(set_ or []), output))


@shards.command()
def annotate(  # noqa: PLR0913  # one parameter an option
    file: FileArgument,
    *,
    index: Annotated[int, typer.Option(help="Which shard, from 0.", show_default=False)],
    model: BundlesOption,
    part: Annotated[Path, typer.Option(help="The part to write, with its receipt beside it.", show_default=False)],
    plan_file: PlanOption = PLAN,
    accelerator: Annotated[Accelerator, typer.Option(help="What to compute on.")] = Accelerator.CPU,
    as_json: JsonFlag = False,
) -> None:
    """Annotate one shard."""
    from cli.sharding import Given, annotate_shard

    output = Output(as_json)
    finish(output, lambda: annotate_shard(Given(plan_file, file, model), index, part, accelerator, output))


@shards.command()
def gather(  # one parameter an option
    file: FileArgument,
    parts: Annotated[
        list[Path], typer.Argument(help="Every part, each with its receipt beside it.", show_default=False)
    ],
    *,
    model: BundlesOption,
    out: Annotated[Path, typer.Option(help="The folder of results.", show_default=False)],
    plan_file: PlanOption = PLAN,
    as_json: JsonFlag = False,
) -> None:
    """Merge the parts, and write report, annotated.h5ad and tables."""
    from cli.sharding import Given, gather_shards

    output = Output(as_json)
    finish(output, lambda: gather_shards(Given(plan_file, file, model), parts, out, output))
