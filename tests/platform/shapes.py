"""What might be posted to a door: sixteen shapes that broke one, and whatever hypothesis makes of good ones."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from shared.access.cloud_events import BATCH, STRUCTURED
from shared.domain.submission import ObjectRef, submission_id
from tests.platform.doors import push, storage_event

SAMPLE = ObjectRef("inbox", "sample.h5ad", 1002)
"""The object that is in the house's inbox."""
JOB = {"schema_version": 1, "submission_id": submission_id(SAMPLE, {}), "kind": "job", "epoch": 1, "number": 0}
FRESH = "2999-01-01T00:00:00Z"
"""When all is sent: ingest retries what may pass for hours, so a fault of ours is answered 503 and not recorded."""
STORAGE = storage_event(SAMPLE.bucket, SAMPLE.name, SAMPLE.generation, FRESH)
PLAIN = "application/json"

RAW = {
    "@deep": b"[" * 50_000 + b"]" * 50_000,
    "@deep-object": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "@huge": b"9" * 6_000,
    "@huge-float": b"1e400",
    "@nan": b"NaN",
    "@infinity": b"-Infinity",
    "@surrogate": b'"\\ud800"',
    "@bytes": b'"\xff\xfe"',
    "@long": b'"' + b"x" * 70_000 + b'"',
}
"""What stands in the text where a value of that name was: no value of Python becomes it."""


@dataclass(frozen=True, slots=True)
class Posted:
    """One request.

    Attributes:
        metadata: What the sample's own metadata are by then.
    """

    body: bytes
    kind: str = STRUCTURED
    headers: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def all_headers(self) -> dict[str, str]:
        """With the content type."""
        return {**self.headers, **({"Content-Type": self.kind} if self.kind else {})}


def written(value: object) -> bytes:
    """As JSON, with what only text can say."""
    text = json.dumps(value).encode()
    for name, raw in RAW.items():
        text = text.replace(json.dumps(name).encode(), raw)
    return text


def changed(**attributes: object) -> bytes:
    """A good event but for these attributes."""
    return written({**STORAGE, **attributes})


NAMED: Mapping[str, Posted] = {
    "specversion is a list": Posted(changed(specversion=["1.0"])),
    "specversion is an object": Posted(changed(specversion={})),
    "specversion is a number": Posted(changed(specversion=1.0)),
    "type is null": Posted(changed(type=None)),
    "data is null": Posted(changed(data=None)),
    "the event is null": Posted(b"null"),
    "not UTF-8": Posted(b'{"specversion": "1.0", "type": "\xff\xfe"}'),
    "UTF-16": Posted(json.dumps(STORAGE).encode("utf-16")),
    "nested without end": Posted(changed(data="@deep")),
    "objects without end": Posted(changed(data="@deep-object")),
    "a generation of 6,000 digits": Posted(changed(data={"bucket": "inbox", "name": "a", "generation": "@huge"})),
    "a generation beyond 64 bits": Posted(changed(data={"bucket": "inbox", "name": "a", "generation": 2**63})),
    "extensions is a list": Posted(changed(extensions=[1, 2])),
    "extensions is a text": Posted(changed(extensions="x")),
    "data_base64 is no base64": Posted(written({**STORAGE, "data": None, "data_base64": "%%%"})),
    "half a character": Posted(changed(data={"bucket": "inbox", "name": "@surrogate", "generation": 1})),
}

# --- Generated ----------------------------------------------------------------------------------------------------

_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(sorted(RAW)),
    st.sampled_from(["", " ", "1.0", "2.0", "inbox", "sample.h5ad", "é" * 1024, "a\nb", "\0", "../..", "=", "null"]),
)
_JUNK = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
_ASKED = {"schema_version": 1, "bucket": "inbox", "name": "sample.h5ad", "correlation_id": "order-7", "options": {}}


def _deliveries(inner: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A message of the bus, as both of its ways push it."""
    plain = push(json.dumps(inner).encode(), sent_at=FRESH)
    return [
        plain,
        {
            "specversion": "1.0",
            "id": "7",
            "type": "google.cloud.pubsub.topic.v1.messagePublished",
            "source": "s",
            "data": plain,
        },
    ]


_GOOD: list[dict[str, Any]] = [
    STORAGE,
    push(json.dumps(_ASKED).encode(), sent_at=FRESH),
    *_deliveries(JOB),
    *_deliveries(_ASKED),
]


def _places(value: object, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something could be changed."""
    if not isinstance(value, dict):
        return []
    return [(*at, key) for key in value] + [place for key in value for place in _places(value[key], (*at, key))]


def _put(value: dict[str, Any], place: tuple[Any, ...], new: object, *, drop: bool) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(value))
    at = copy
    for key in place[:-1]:
        at = at[key]
    at.pop(place[-1], None)
    if not drop:
        at[place[-1]] = new
    return copy


@st.composite
def _mutated(draw: st.DrawFn, good: list[dict[str, Any]]) -> dict[str, Any]:
    value: dict[str, Any] = draw(st.sampled_from(good))
    for _ in range(draw(st.integers(0, 2))):
        places = _places(value)
        if places:
            value = _put(value, draw(st.sampled_from(places)), draw(_JUNK), drop=draw(st.booleans()))
    if draw(st.booleans()):
        value = {**value, draw(st.sampled_from(["extensions", "data_base64", "time", "subject", "x"])): draw(_JUNK)}
    return value


@st.composite
def _inside(draw: st.DrawFn) -> dict[str, Any]:
    """A good push of a message that is not: what stands in its data is a text of JSON in base64."""
    inner = draw(_mutated([JOB, _ASKED]))
    data = base64.b64encode(draw(_spoilt(written(inner)))).decode()
    message = {"data": data, "messageId": draw(st.sampled_from(["7", "8", ""])), "publishTime": FRESH}
    return {**push(b""), "message": message}


@st.composite
def _spoilt(draw: st.DrawFn, text: bytes) -> bytes:
    """Bytes of a text, perhaps cut, or with others put in."""
    how: Callable[[bytes, int], bytes] = draw(
        st.sampled_from(
            [
                *[lambda text, _: text] * 8,
                lambda text, at: text[:at],
                lambda text, at: text[:at] + b"\xff\x00" + text[at:],
                lambda text, _: b"\xef\xbb\xbf" + text,
                lambda text, _: text.decode(errors="replace").encode("utf-16"),
            ]
        )
    )
    return how(text, draw(st.integers(0, len(text))))


_ODD_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30) | st.sampled_from(
    [
        "sample.h5ad",
        "a\nb",
        "\0",
        "é" * 700,
        "../../x",
        "model=../x/a.h5ad",
        "a//b",
        ".",
        "=cmd()",
        "x" * 256,
        "folder/",
    ]
)
_REQUESTS = st.fixed_dictionaries(
    {"bucket": st.just("inbox") | _ODD_TEXT, "name": _ODD_TEXT, "correlation_id": _ODD_TEXT},
    optional={
        "generation": st.none() | st.integers(0, 2**63 - 1) | st.just(SAMPLE.generation),
        "options": st.dictionaries(
            st.sampled_from(["model", "top_k", "tasks", "matrix"]) | _ODD_TEXT, _ODD_TEXT, max_size=3
        ),
        "source": _ODD_TEXT,
        "rerun": _ODD_TEXT,
    },
)
"""Of the right types, and so taken: whatever they say."""
_OBJECTS = st.builds(storage_event, st.just("inbox") | _ODD_TEXT, _ODD_TEXT, st.integers(0, 2**63 - 1), st.just(FRESH))


def _number(value: object) -> int:
    """One of its own for each content, so that events of other content are other events."""
    return zlib.crc32(written(value))


def _pushed(asked: Mapping[str, Any]) -> dict[str, Any]:
    return push(json.dumps(asked).encode(), f"message-{_number(asked)}", FRESH)


_PUSHED = _REQUESTS.map(_pushed)
_ODD = st.one_of(_PUSHED, _OBJECTS)
_EVENTS = st.one_of(_mutated(_GOOD), _inside(), _ODD)
_BODIES = st.one_of(
    *[_EVENTS.map(written).flatmap(_spoilt)] * 5,
    *[st.lists(st.one_of(_EVENTS, _JUNK), max_size=4).map(written)] * 2,
    _JUNK.map(written),
    st.binary(max_size=200),
)
_KINDS = st.sampled_from(
    [STRUCTURED, STRUCTURED, BATCH, PLAIN, f"{STRUCTURED}; charset=utf-16", "text/plain", "", "multipart/form-data"]
)
_HEADER_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12) | st.sampled_from(
    ["1.0", "0.3", "9", "%ff%00", STORAGE["type"], STORAGE["time"], "=?utf-8?q?x?="]
)
_CE_HEADERS = st.dictionaries(
    st.sampled_from(["ce-specversion", "ce-type", "ce-id", "ce-source", "ce-time", "ce-extensions", "CE-Type"]),
    _HEADER_TEXT,
)
_NEARLY_RIGHT = st.builds(Posted, _BODIES, _KINDS, st.one_of(st.just({}), st.just({}), _CE_HEADERS))

# --- Past the first checks ----------------------------------------------------------------------------------------

_NUMERALS = [
    "1",
    "7",
    "+3",
    " 7 ",
    "1_0",
    "007",
    "\u0663",
    "0",
    "-1",
    "0x10",
    "1e400",
    "9" * 5_000,
    "nan",
    "inf",
    "-0.0",
]
_SPELT: Mapping[str, list[str]] = {
    "model": ["m", "m@1", "m@", "@1", "m@1@1", "sha256:", f"sha256:{'0' * 64}", "../m"],
    "matrix": ["X", "raw", "layers/counts", "layers/", "layers/../X", "x"],
    "scores": ["top", "full", "TOP", " full"],
    "tasks": _NUMERALS,
    "objective": ["cheapest", "fastest", "deadline", "Fastest"],
    "top_k": _NUMERALS,
    "min_score": ["0.5", ".5", "5e-1", *_NUMERALS],
    "map": ["on", "off", "ON", "true"],
}
"""Good values of every option, nearly good ones, and what a number is read from without being one."""
_VALUES = {name: st.one_of(*[st.sampled_from(values)] * 4, _ODD_TEXT) for name, values in _SPELT.items()}
_PAIRS = st.sampled_from(sorted(_SPELT)).flatmap(lambda name: st.tuples(st.just(name), _VALUES[name]))
_OPTIONS = st.lists(_PAIRS, min_size=1, max_size=3).map(dict)
_SPELLINGS = st.sampled_from(["celldrop-{}", "Celldrop-{}", "celldrop_{}", "x-goog-meta-celldrop-{}"])
_METADATA = st.builds(
    lambda spelling, options, more: {**{spelling.format(name): text for name, text in options.items()}, **more},
    _SPELLINGS,
    _OPTIONS,
    st.just({}) | st.dictionaries(st.just("celldrop-rerun") | _ODD_TEXT, _ODD_TEXT, max_size=2),
)
_FOR_THE_SAMPLE = st.fixed_dictionaries(
    {
        "bucket": st.just(SAMPLE.bucket),
        "name": st.just(SAMPLE.name),
        "correlation_id": _ODD_TEXT,
        "generation": st.sampled_from([None, SAMPLE.generation]),
        "options": _OPTIONS,
    },
    optional={"source": _ODD_TEXT, "rerun": _ODD_TEXT},
)
_ASKING = _FOR_THE_SAMPLE.map(lambda asked: Posted(written(_pushed(asked)), PLAIN))
_DROPPING = _METADATA.map(
    lambda metadata: Posted(changed(data={**STORAGE["data"], "metageneration": _number(metadata)}), metadata=metadata)
)
POSTED = st.one_of(_NEARLY_RIGHT, _ASKING, _DROPPING)
"""Requests: most are nearly right, and the others differ only in what they say of a file that is there."""
