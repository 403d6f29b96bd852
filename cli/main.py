"""The command line: one function per command. The other modules of this package do the work."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Optional

import typer

from cli.console import Output
from cli.models import models
from cli.options import (
    FileArgument,
    HomeOption,
    IdArgument,
    JsonFlag,
    ModelsOption,
    RerunFlag,
    SetOption,
    finish,
    settings_for,
)
from cli.shards import shards
from jobs.inference.process.memory import begin_process
from shared.lifeline import leave

app = typer.Typer(
    help="Drop an AnnData file, get its cells annotated.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(models, name="models")
app.add_typer(shards, name="shards")


def _say_version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"celldrop {version('celldrop')}")
        raise typer.Exit


@app.callback()
def main_options(
    *,
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_say_version)
    ] = False,
) -> None:
    """Drop an AnnData file, get its cells annotated."""


@app.command()
def run(  # one parameter an option
    file: FileArgument,
    *,
    model: ModelsOption = None,
    out: HomeOption = None,
    set_: SetOption = None,
    rerun: RerunFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Annotate one file on this machine; writes a report, annotated.h5ad and tables."""
    from cli.running import read_options
    from cli.running import run as run_file

    output = Output(as_json)
    finish(
        output,
        lambda: run_file(
            settings_for(out), file, model=None, wanted=read_options(set_ or [], model), rerun=rerun, output=output
        ),
    )


@app.command()
def reproduce(
    manifest: Annotated[Path, typer.Argument(help="The manifest.json of a result, or its folder.", show_default=False)],
    file: FileArgument,
    *,
    model: ModelsOption = None,
    out: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Annotate a file again with a result's own model and options, and compare the bytes."""
    from cli.reproducing import reproduce as annotate_again

    output = Output(as_json)
    finish(output, lambda: annotate_again(settings_for(out), manifest, file, models=model or [], output=output))


@app.command()
def validate(
    file: FileArgument,
    *,
    model: ModelsOption = None,
    set_: SetOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Check a file without annotating it: its contents, the matrix that would be used and why, and any problems."""
    from cli.validating import validate_file

    output = Output(as_json)
    finish(output, lambda: validate_file(settings_for(None), file, models=model or [], pairs=set_ or [], output=output))


@app.command()
def serve(
    *,
    out: HomeOption = None,
    port: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="Of the web page, which only this machine can open.", show_default="8080"),
    ] = None,
) -> None:
    """Watch an inbox folder and annotate files dropped there, with an HTTP API and a web page on loopback."""
    from cli.serve import serve_forever

    output = Output()
    finish(output, lambda: serve_forever(settings_for(out), port, output))


@app.command()
def submit(
    file: FileArgument,
    *,
    model: ModelsOption = None,
    out: HomeOption = None,
    set_: SetOption = None,
    rerun: RerunFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Submit a file to a running `celldrop serve` with the same folder, or to a deployed pipeline; prints the id."""
    from cli.remote import Asked, submit_file

    output = Output(as_json)
    finish(output, lambda: submit_file(settings_for(out), Asked(file, model or [], set_ or [], rerun), output))


@app.command()
def status(
    submission_id: Annotated[Optional[str], typer.Argument(help="Lists the latest submissions when left out.")] = None,  # noqa: UP045
    *,
    out: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Show the state of a submission, or list the latest submissions."""
    from cli.remote import show_status

    output = Output(as_json)
    finish(output, lambda: show_status(settings_for(out), submission_id, output))


@app.command()
def watch(
    submission_id: IdArgument,
    *,
    out: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Follow a submission until it ends, in a running `celldrop serve` or a deployed pipeline."""
    from cli.remote import watch_submission

    output = Output(as_json)
    finish(output, lambda: watch_submission(settings_for(out), submission_id, output))


@app.command()
def cancel(
    submission_id: IdArgument,
    *,
    out: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Cancel a submission."""
    from cli.remote import cancel_submission

    output = Output(as_json)
    finish(output, lambda: cancel_submission(settings_for(out), submission_id, output))


@app.command()
def doctor(*, out: HomeOption = None, as_json: JsonFlag = False) -> None:
    """Check this installation, or the deployed pipeline that the settings name, and say how to fix what is wrong."""
    from cli.doctor.examining import examine

    output = Output(as_json)
    finish(output, lambda: examine(settings_for(out), output))


@app.command()
def demo(*, out: HomeOption = None, as_json: JsonFlag = False) -> None:
    """Annotate the 700 real PBMC that come with scanpy, and compare the result with the labels in the file."""
    from cli.demo import run_demo

    output = Output(as_json)
    finish(output, lambda: run_demo(settings_for(out), output))


def main() -> None:
    """The `celldrop` command. Exit status: 0 done, 1 internal error, 2 usage, 3 input refused, 130 interrupted."""
    begin_process()
    try:
        app()
    except SystemExit as end:
        if isinstance(end.code, str):
            raise
        leave(end.code or 0)


if __name__ == "__main__":
    main()
