"""Options shared by several commands, and the common handling of errors and exit statuses."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from cli.console import Exit, Output
from shared.domain.errors import CelldropError, InternalError, InterruptedRunError
from shared.telemetry import configure

if TYPE_CHECKING:
    from shared.settings import Settings

log = logging.getLogger(__name__)

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, and nothing else there.")]
HomeOption = Annotated[
    Optional[Path],  # noqa: UP045  # typer reads this form on every Python
    typer.Option("--out", "--home", help="The folder of results and state.", show_default="celldrop-out"),
]
FileArgument = Annotated[Path, typer.Argument(help="An .h5ad file, or a 10x .h5.", show_default=False)]
ModelOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--model", help="NAME, NAME@VERSION, or the folder of a bundle."),
]
ModelsOption = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--model",
        help="NAME, NAME@VERSION, or the folder of a bundle. Repeat it for a consensus: the main model "
        "first, then at most four further ones.",
    ),
]
BatchOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--batch",
        metavar="NAME",
        help="For a scANVI model whose labels depend on the batch of a cell: the one that new cells are treated as.",
        show_default=False,
    ),
]
RerunFlag = Annotated[bool, typer.Option("--rerun", help="Annotate again, even if there are results.")]
IdArgument = Annotated[str, typer.Argument(help="From `celldrop status` or `submit`.", show_default=False)]
SetOption = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--set", metavar="KEY=VALUE", help="An option: tasks=7, scores=full, matrix=raw, … (may be repeated)."
    ),
]


def settings_for(home: Path | None) -> Settings:
    """Load the settings, with the home folder given on the command line."""
    from shared.settings import load_settings

    return load_settings(home=home) if home else load_settings()


def finish(output: Output, action: Callable[[], Exit]) -> None:
    """Run a command's action, print any error as text or JSON, and exit with its status."""
    configure("text", "ERROR")
    try:
        status = action()
    except CelldropError as error:
        status = output.error(error)
    except KeyboardInterrupt:
        output.error(InterruptedRunError("the run was stopped", hint="Run the same command again to continue."))
        raise typer.Exit(Exit.INTERRUPTED) from None
    except Exception as error:
        log.exception("unexpected error")
        hint = "Please report it with the lines above. Earlier results are not affected."
        status = output.error(InternalError(f"{type(error).__name__}: {error}", hint=hint))
    raise typer.Exit(int(status))
