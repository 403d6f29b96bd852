"""Writes the pages of docs/reference that follow from the code; a test fails where they lag behind."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pyarrow as pa
import typer.main
from pydantic import BaseModel, TypeAdapter

from cli.console import Exit
from cli.main import app
from functions.status.problems import HTTP_CODES
from jobs.engine.kinds.table import KINDS
from jobs.inference.annotated.columns import OBS_COLUMNS
from jobs.inference.annotated.contents import BESIDE_OBS, IN_PSEUDOBULK, Element
from jobs.inference.merge.columns import COLUMNS, InObs
from jobs.inference.merge.consensus import columns_for
from jobs.inference.outputs.evidence_csv import COLUMNS as EVIDENCE_COLUMNS
from jobs.inference.outputs.manifest import Manifest
from shared.bundles.card import ModelCard
from shared.bundles.kinds import CARD_OF, AnyCard
from shared.domain.all_errors import all_errors
from shared.domain.errors import CelldropError
from shared.domain.options import PARSERS, UNSET, Options
from shared.domain.outputs import OUTPUTS
from shared.domain.submission import FINAL_STATES, State
from shared.h5ad.judge.cautions import WarningCode
from shared.records.messages import Accepted, AcceptedEvent, AnnotationRequest, Event, Outcome, OutcomeEvent
from shared.settings import Settings
from tools import deployment_docs
from tools.asyncapi_document import document

PAGES = Path(__file__).resolve().parent.parent / "docs" / "reference"
EXAMPLES = "../../tests/events"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
NOTE = "<!-- Made by `make docs` from the code; do not edit. -->"


def errors_page() -> str:
    """Every error code."""
    rows = [row(f"`{kind.code}`", _sentence(kind.__doc__), "yes" if kind.retryable else "no") for kind in _leaves()]
    head = (
        "Codes are stable and never reused. A message says what was found, what was expected and where; "
        "a hint says what to do. Over HTTP they are RFC 9457 problems."
    )
    return _page("Error codes", head, ["| code | situation | may work later, unchanged |", "|---|---|---|", *rows])


def warnings_page() -> str:
    """Every warning code of a verdict."""
    documented = _attribute_docs(Path(sys.modules[WarningCode.__module__].__file__ or ""))
    rows = [row(f"`{code.value}`", documented[code.name]) for code in WarningCode]
    head = (
        "A verdict lists what you should know about a file. A refusal has a code from [errors](errors.md), "
        "a warning has one of these codes."
    )
    return _page("Warnings", head, ["| code | meaning |", "|---|---|", *rows])


def settings_page() -> str:
    """Every setting."""
    rows = [
        row(f"`CELLDROP_{name.upper()}`", f"`{_default(field.default)}`", str(field.description))
        for name, field in Settings.model_fields.items()
    ]
    head = (
        "A setting is read from the environment. If it is not set there, it is read from an `.env` file: the file that "
        "`CELLDROP_ENV_FILE` names, or else the one in the working folder."
    )
    return _page("Settings", head, ["| variable | default | meaning |", "|---|---|---|", *rows])


def options_page() -> str:
    """Every option of a submission."""
    found = re.findall(r"^ {8}(\w+): (.+(?:\n {12}.+)*)$", Options.__doc__ or "", re.MULTILINE)
    described = {name: " ".join(words.split()).replace("``", "`") for name, words in found}
    rows = [row(f"`{name}`", parser.takes, _option(name), described[name]) for name, parser in PARSERS.items()]
    head = (
        "Options are given as `--set KEY=VALUE` on the command line, or as object metadata `celldrop-KEY` in a bucket "
        "(in upper or lower case). Models can also be given as path segments: `model=NAME/`, `consensus=NAME,NAME/`."
    )
    return _page("Options", head, ["| option | takes | default | meaning |", "|---|---|---|---|", *rows])


def _option(name: str) -> str:
    """The default of an option, as it would be written."""
    value = getattr(Options(), name)
    if value is None or value == ():
        return UNSET[name]
    return f"`{value}`" if not isinstance(value, bool) else f"`{'on' if value else 'off'}`"


def results_page() -> str:
    """Every file of a result, and every column of the annotations."""
    files = [row(f"`{output.name}`", output.what, "yes" if output.same_bytes else "no") for output in OUTPUTS]
    in_obs = {column.source: column.name for column in OBS_COLUMNS}
    columns = [
        row(
            f"`{column.name}`",
            _arrow_type(column.kind),
            "yes" if column.in_csv else "no",
            f"`{in_obs[column.name]}`" if column.name in in_obs else "",
            column.meaning,
        )
        for column in COLUMNS
    ]
    head = (
        "A result consists of these files. `scores.parquet` is written only with the option `scores=full`, "
        "`pseudobulk.h5ad` with `pseudobulk`, `consensus.csv.gz` with `consensus` "
        "([how it is made](../how-to/ask-several-models.md)), and the files for the client of Cellarium CAS with "
        "`cas=on` ([how to use them](../how-to/use-the-cas-client.md)). If a file could not be made, `manifest.json` "
        "names it and gives the reason; for example, a 10x `.h5` has no `annotated.h5ad`. *Same bytes* means that the "
        "same request on the same file always gives the same bytes, with one task or many, embedded or deployed."
    )
    told = ["| file | what it is | same bytes |", "|---|---|---|", *files, "", "## Columns of the annotations", ""]
    about = "There is one row per cell, in the order of `obs`. `celldrop_value_note` is left out if no cell has a note."
    table = ["| column | type | in the CSV | in obs of annotated.h5ad | meaning |", "|---|---|---|---|---|", *columns]
    lines = [
        *told,
        about,
        "",
        *table,
        "",
        *_consensus(in_obs),
        "",
        *_beside(),
        "",
        *_evidence_columns(),
        "",
        *_pseudobulk(),
    ]
    return _page("Results", head, lines)


def _consensus(in_obs: Mapping[str, str]) -> list[str]:
    about = (
        "With the option `consensus`, there is one row per cell. Model 1 is the model itself, model 2 the first "
        'further one, and so on: `consensus.models` in `manifest.json` and `uns["celldrop"]["consensus"]` name them in '
        "this order. Up to model 5, the columns are those of model 2. Those in `obs` are left out without the option."
    )
    rows = [
        row(
            f"`{column.name}`",
            _arrow_type(column.kind),
            f"`{in_obs[column.name]}`" if column.in_obs is not InObs.NO else "",
            column.meaning,
        )
        for column in columns_for(1)
    ]
    head = ["| column | type | in obs of annotated.h5ad | meaning |", "|---|---|---|---|"]
    return ["## Columns of consensus.csv.gz", "", about, "", *head, *rows]


def _beside() -> list[str]:
    about = "`annotated.h5ad` is the input with these columns in `obs`, and with:"
    return ["## What else is in annotated.h5ad", "", about, "", *_elements(BESIDE_OBS)]


def _evidence_columns() -> list[str]:
    about = (
        "For each label with five sampled cells or more, there is one row per gene that speaks for it: the 30 with "
        "the largest contributions by expression, 10 by absence, and those that are missing. At most 3,000 cells "
        "are sampled, evenly spaced in the file. [Models](../explanation/models.md#why-a-label) explains them."
    )
    rows = [row(f"`{column.name}`", str(column.kind), column.meaning) for column in EVIDENCE_COLUMNS]
    return ["## Columns of evidence.csv", "", about, "", "| column | type | meaning |", "|---|---|---|", *rows]


def _pseudobulk() -> list[str]:
    about = (
        "The option `pseudobulk=on` sums the counts by label, and by sample if the option `samples` names an obs "
        "column; `pseudobulk=COLUMN` sums them by label and that column. Values that are no whole counts are not "
        "rounded: their cells are left out, and counted. If no cell is left, there is no file, and `manifest.json` has "
        "the reason."
    )
    return ["## What is in pseudobulk.h5ad", "", about, "", *_elements(IN_PSEUDOBULK)]


def _elements(elements: tuple[Element, ...]) -> list[str]:
    rows = [row(f"`{one.place}`", one.kind, one.meaning) for one in elements]
    return ["| where | type | meaning |", "|---|---|---|", *rows]


def _arrow_type(kind: pa.DataType) -> str:
    if pa.types.is_dictionary(kind):
        return "category"
    return f"list of {kind.value_type}" if pa.types.is_list(kind) else str(kind)


def bundles_page() -> str:
    """What a bundle of each kind holds."""
    lines: list[str] = []
    for kind, mathematics in KINDS.items():
        own = set(CARD_OF[kind].model_fields) - set(ModelCard.model_fields)
        documented = dict(re.findall(r"^ {8}(\w+): (.+)$", CARD_OF[kind].__doc__ or "", re.MULTILINE))
        tensors = [
            row(f"`{name}`", " x ".join(tensor.axes), tensor.what) for name, tensor in mathematics.tensors.items()
        ]
        lines += [f"## {kind}", "", _sentence(CARD_OF[kind].__doc__), ""]
        lines += ["| tensor | shape | what it is |", "|---|---|---|", *tensors, ""]
        if own:
            fields = [row(f"`{name}`", documented[name]) for name in CARD_OF[kind].model_fields if name in own]
            lines += ["| field of the card | meaning |", "|---|---|", *fields, ""]
    head = (
        "A bundle is a folder `NAME/VERSION/` with `model.json`, its card ([schema](model-card.schema.json)), and "
        "`weights.safetensors`. Both are data: reading them runs no code. Tensors are float32 or float64. How models "
        "are made and how good ours are: [models](../explanation/models.md)."
    )
    return _page("Bundles", head, lines)


def states_page() -> str:
    """Every state of a submission."""
    rows = [row(f"`{state}`", "yes" if state in FINAL_STATES else "no") for state in State]
    head = "[The protocol](../explanation/protocol.md) shows how a submission moves from one state to another."
    return _page("States", head, ["| state | final |", "|---|---|", *rows])


def cli_page() -> str:
    """Every command and its options."""
    command = typer.main.get_command(app)
    documented = _attribute_docs(Path(sys.modules[Exit.__module__].__file__ or ""))
    statuses = [row(str(status.value), documented[status.name]) for status in Exit]
    lines = ["| exit status | meaning |", "|---|---|", *statuses, ""]
    return _page(
        "Command line",
        "Every command accepts `--help`. `celldrop --version` prints the version.",
        [*lines, *_commands(command, "celldrop")],
    )


def http_page() -> str:
    """The routes, and the codes that only HTTP has."""
    codes = [row(f"`{code}`", str(int(status)), f"{what}; {hint}") for status, (code, what, hint) in HTTP_CODES.items()]
    routes = [row(f"`{route}`", what) for route, what in ROUTES]
    lines = ["| route | gives |", "|---|---|", *routes, "", "| code | status | meaning |", "|---|---|---|", *codes]
    head = (
        "The HTTP API looks up, watches and cancels submissions. Embedded, `celldrop serve` provides it on loopback "
        "only. Bodies are JSON. Every error is an RFC 9457 problem (`application/problem+json`) with `code` and "
        "`hint`, and uses the codes of [errors](errors.md). Every user of a machine can reach its loopback address, so "
        "`celldrop serve` answers only requests with the key in `.celldrop/http-key`, a file that only its owner can "
        "read. The address that it prints passes the key to a browser. A program sends `Authorization: Bearer KEY`."
    )
    return _page("HTTP", head, lines)


ROUTES = (
    ("GET /healthz, GET /health", "200 while the function is running"),
    ("GET /v1/submissions?state=&limit=", "the latest submissions"),
    (
        "GET /v1/submissions/{id}?wait=&version=",
        "one submission; with `wait`, the answer comes when it differs from `version`, or after 30 s at most",
    ),
    ("POST /v1/submissions/{id}:cancel", "cancels the submission; 409 if it has already ended otherwise"),
    ("GET /v1/submissions/{id}/files/{name}", "one file of the committed result; range requests are supported"),
    ("GET /, GET /submissions/{id}", "the web page"),
    ("POST /submissions/{id}/cancel", "the web page's own way to cancel; sends the browser back to the page"),
    ("GET /assets/{name}", "the web page's style and script"),
)


def requests_page() -> str:
    """Every field of a request."""
    head = (
        "A request is a JSON document, sent as the data of a Pub/Sub message to the requests topic. Unknown fields are "
        "ignored. How to use it: [integrate over Pub/Sub](../how-to/integrate-over-pubsub.md). "
        f"[Schema](request.schema.json); examples: [full]({EXAMPLES}/request.json), "
        f"[minimal]({EXAMPLES}/request-minimal.json)."
    )
    return _page("Requests", head, _table(AnnotationRequest))


def events_page() -> str:
    """Every type of event, and every field."""
    told = [row(f"`{kind}`", what, f"[{name}.json]({EXAMPLES}/{name}.json)") for name, kind, what in _event_types()]
    head = (
        "Events are CloudEvents 1.0 in structured JSON mode. Deployed, they are messages of the events topic. Their "
        "attributes `ce-id` and `ce-type` repeat the event's id and type, so that a subscription can filter by them. "
        "Embedded, each event is a line of `.celldrop/events.jsonl`. Events are delivered at least once and in any "
        "order: an outcome may arrive before the accepted event. An event that is delivered again has the same `id` "
        "and the same bytes. Ignore unknown fields. How to use events: "
        "[integrate over Pub/Sub](../how-to/integrate-over-pubsub.md). Schemas: "
        "[event](event.schema.json), its data when [accepted](accepted.schema.json) and when "
        "[over](outcome.schema.json), [manifest](manifest.schema.json), [model card](model-card.schema.json); "
        "all topics: [AsyncAPI](asyncapi.json)."
    )
    lines = ["| type | when | example |", "|---|---|---|", *told]
    lines += ["", "## The event", "", *_table(OutcomeEvent)]
    lines += ["", "## Its data when accepted", "", *_table(Accepted)]
    lines += ["", "## Its data when over", "", *_table(Outcome)]
    return _page("Events", head, lines)


WHEN = {
    "accepted": "The submission is queued, or somebody joined it. It has the submission's id; the outcome follows.",
    "succeeded": "The results are ready under `result_prefix`; `manifest` lists them.",
    "failed": "The submission was accepted and cannot be finished; `code` and `hint` say why and what to do.",
    "cancelled": "Somebody cancelled the submission.",
    "rejected": "The submission was never accepted; `code` and `hint` say why and what to do.",
}


def deployment_page() -> str:
    """The Terraform module: variables, outputs, flavors, rights."""
    return _page("Deployment", deployment_docs.page(), [])


def _event_types() -> Iterator[tuple[str, str, str]]:
    for model in (AcceptedEvent, OutcomeEvent):
        for kind in get_args(model.model_fields["type"].annotation):
            name = kind.split(".")[2]
            yield name, kind, WHEN[name]


def _table(model: type[BaseModel]) -> list[str]:
    return ["| field | type | meaning |", "|---|---|---|", *_rows(model, "")]


def _rows(model: type[BaseModel], path: str) -> Iterator[str]:
    """Fields, and below each the fields of what it holds; an event's data has a table of its own."""
    for name, field in model.model_fields.items():
        held = [part for part in (field.annotation, *get_args(field.annotation)) if _is_model(part)]
        inner = held[0] if held else None
        many = "[]" if inner and inner is not field.annotation else ""
        if name == "type":
            yield row(f"`{path}{name}`", "text", "One of the above.")
        elif name == "data":
            yield row(f"`{path}{name}`", "object", "Below.")
        elif inner is not None:
            yield row(f"`{path}{name}`", "list of objects" if many else "object", _meaning(field, inner))
            yield from _rows(inner, f"{path}{name}{many}.")
        else:
            yield row(f"`{path}{name}`", _type(field), str(field.description))


def _is_model(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _meaning(field: Any, inner: type[BaseModel]) -> str:
    return field.description or _sentence(inner.__doc__)


def _type(field: Any) -> str:
    annotation = field.annotation
    if get_origin(annotation) is Literal:
        return " or ".join(f"`{value}`" for value in get_args(annotation))
    if get_origin(annotation) is dict:
        return "object"
    words = {str: "text", int: "whole number", type(None): "null"}
    return " or ".join(words[part] for part in (get_args(annotation) or (annotation,)))


def _schema(kind: Any, mode: Literal["validation", "serialization"] = "serialization") -> str:
    schema = {"$schema": DIALECT, **TypeAdapter(kind).json_schema(mode=mode)}
    return _json(schema)


def _json(document: Any) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _commands(command: Any, path: str) -> Iterator[str]:
    children = getattr(command, "commands", {})
    if not children:
        yield f"## `{path}`"
        yield ""
        yield (command.help or "").strip()
        yield ""
        yield from (_parameter(parameter) for parameter in command.params if not getattr(parameter, "hidden", False))
        yield ""
    for name, child in children.items():
        yield from _commands(child, f"{path} {name}")


def _parameter(parameter: Any) -> str:
    default = parameter.default
    known = default not in {None, "", ()} and not isinstance(default, bool | list | tuple) and not callable(default)
    words = f"{getattr(parameter, 'help', '') or ''}{f' Default: `{default}`.' if known else ''}"
    return f"- `{_usage(parameter)}` {words}".rstrip()


def _usage(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return (parameter.name or "").upper()
    return ", ".join(parameter.opts)


def _leaves() -> list[type[CelldropError]]:
    first: dict[str, type[CelldropError]] = {}
    for kind in all_errors()[1:]:  # all but their base
        first.setdefault(kind.code, kind)
    return sorted(first.values(), key=lambda kind: kind.code)


def row(*cells: str) -> str:
    """A row of a table. A bar within a cell would end it."""
    escaped = [re.sub(r"(?<!\\)\|", r"\\|", cell) for cell in cells]
    return f"| {' | '.join(escaped)} |"


def _sentence(text: str | None) -> str:
    return " ".join((text or "").split("\n\n")[0].split())


def _default(value: object) -> str:
    text = str(value)
    return "models" if text.endswith("/models") else text


def _attribute_docs(path: Path) -> dict[str, str]:
    found = re.findall(r'^ {4}([A-Z0-9_]+) = .*?\n {4}"""(.+?)"""', path.read_text(), re.MULTILINE | re.DOTALL)
    return {name: " ".join(text.split()) for name, text in found}


def _page(title: str, head: str, lines: list[str]) -> str:
    return "\n".join([f"# {title}", "", NOTE, "", head, "", *lines]).rstrip() + "\n"


ALL: dict[str, Callable[[], str]] = {
    "errors.md": errors_page,
    "warnings.md": warnings_page,
    "settings.md": settings_page,
    "options.md": options_page,
    "results.md": results_page,
    "states.md": states_page,
    "command-line.md": cli_page,
    "http.md": http_page,
    "deployment.md": deployment_page,
    "bundles.md": bundles_page,
    "events.md": events_page,
    "requests.md": requests_page,
    "asyncapi.json": lambda: _json(document()),
    "request.schema.json": lambda: _schema(AnnotationRequest, "validation"),
    "event.schema.json": lambda: _schema(Event),
    "accepted.schema.json": lambda: _schema(Accepted),
    "outcome.schema.json": lambda: _schema(Outcome),
    "manifest.schema.json": lambda: _schema(Manifest),
    "model-card.schema.json": lambda: _schema(AnyCard),
}


def main() -> None:
    """Write every page."""
    PAGES.mkdir(parents=True, exist_ok=True)
    for name, make in ALL.items():
        (PAGES / name).write_text(make())
        print(PAGES / name)


if __name__ == "__main__":
    main()
