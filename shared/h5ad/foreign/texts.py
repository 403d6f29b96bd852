"""What a file is that holds text: tables, web pages, error messages, pointers, sequencing reads."""

from __future__ import annotations

import codecs
import re
from dataclasses import replace

from shared.domain.words import cut
from shared.h5ad.foreign import kinds
from shared.h5ad.foreign.kinds import Foreign

_LOOKED_AT = 8192
_SAID = 120
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_READS = r"@\S.*\r?\n[ACGTUN.acgtun]+\r?\n\+"
_STARTS = (
    (r"%%MatrixMarket", kinds.MATRIX_MARKET),
    (r"version https://git-lfs", kinds.LFS),
    (r"(\.\./)*\.?(git/annex|/annex)/objects/|outs:\s*\n- md5:", kinds.ANNEX),
    (r"-----BEGIN PGP", kinds.ENCRYPTED),
    (r"\[InternetShortcut\]|(?:https?|ftp|gs|s3)://\S+\s*$", kinds.ADDRESS),
    (_READS, replace(kinds.READS, what="FASTQ: raw sequencing reads, not counts")),
    (r">\S.*\r?\n[A-Za-z*-]+\r?\n", replace(kinds.READS, what="FASTA: sequences, not counts")),
    (r"@(HD|SQ|RG)\t", replace(kinds.READS, what="a SAM file: aligned reads, not counts")),
    (r"##fileformat=VCF", replace(kinds.READS, what="a VCF file: variants, not counts")),
    (r"A\r?\n\d+\r?\n\d+\r?\n\d+\r?\n", kinds.RDS),
    (r"RD[AX]\d\r?\nA\r?\n", kinds.RDATA),
    (r"c[\w.]+\n\w+\n|\([dl]p\d+\n", kinds.PICKLE),
)
_COMMENT = re.compile(r"\s*<!--.*?-->", re.DOTALL)
_HTML = re.compile(r"\s*<(!doctype\s+html|html|head|body)\b", re.IGNORECASE)
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_UNSEEN = re.compile(r"<(script|style|head)\b.*?</\1>|<[^>]*>", re.IGNORECASE | re.DOTALL)
_XML_ERROR = re.compile(r"<Code>([^<]{1,200})</Code>(?:\s*<Message>([^<]{1,500}))?", re.IGNORECASE)
_JSON_ERROR = re.compile(r'"(?:message|error_description|error|detail|msg)"\s*:\s*"((?:[^"\\]|\\.){1,500})"')
_ENSEMBL = re.compile(r"\"?ENS[A-Z]{0,4}G\d{11}")
_NUMBER = re.compile(r"[\s,;]\d+(\.\d+)?([\s,;]|$)")
_BARCODE = re.compile(r"[ACGT]{10,}(-\d+)?$")
_PLAIN_ERROR = re.compile(
    r"(\d{3}:? )?(access ?denied|forbidden|not ?found|entry not found|unauthori[sz]ed|invalid|error|bad request)",
    re.IGNORECASE,
)


def decoded(head: bytes) -> str | None:
    """The head as text; None where it is none."""
    data = head[:_LOOKED_AT]
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = data.decode("utf-16", "replace")
    else:
        text = codecs.getincrementaldecoder("utf-8")("replace").decode(data.removeprefix(codecs.BOM_UTF8))
    if "\ufffd" in text:
        text = data.decode("latin-1")
        if 2 * sum(sign.isalnum() or sign.isspace() for sign in text if sign < "\x7f") < len(text):
            return None
    return text if text.strip() and not _CONTROLS.search(text) else None


def recognise_text(text: str) -> Foreign:
    """The kind of file that starts so."""
    for pattern, kind in _STARTS:
        if re.match(rf"\s*(?:{pattern})", text):
            return kind
    return _page(text) or _message(text) or _table(text) or _other(text)


def _page(text: str) -> Foreign | None:
    comment = _COMMENT.match(text)
    if not _HTML.match(text, comment.end() if comment else 0):
        return None
    title = _TITLE.search(text)
    says = _said(title.group(1) if title else _UNSEEN.sub(" ", text))
    return Foreign(f"a web page (HTML){f' that says {says}' if says else ''}, not the data", kinds.WEB_HINT)


def _message(text: str) -> Foreign | None:
    """XML and JSON: metadata of zarr, or what a server answers in place of a file."""
    start = text.lstrip()[:1]
    if start == "<":
        error = _XML_ERROR.search(text)
        says = _said(": ".join(part for part in error.groups() if part)) if error else ""
        return _answer("an XML document", says)
    if start not in {"{", "["}:
        return None
    if '"zarr_format"' in text or '"zarr_consolidated_format"' in text:
        return kinds.ZARR_PIECE
    found = _JSON_ERROR.search(text)
    return _answer("a JSON document", _said(found.group(1)) if found else "")


def _answer(document: str, says: str) -> Foreign:
    if not says:
        return Foreign(document)
    return Foreign(f"a server's error message ({document}), which says {says}", kinds.REFUSED_HINT)


def _table(text: str) -> Foreign | None:
    lines = [line for line in text.splitlines() if line.strip()]
    lines = lines[: max(1, len(lines) - 1)][:20]  # The last one may be cut.
    if all(_BARCODE.match(line.strip()) for line in lines):
        return kinds.BARCODES
    if all(_ENSEMBL.match(line) and not _NUMBER.search(line) for line in lines):
        return kinds.FEATURES
    for sign, kind in (("\t", kinds.TSV), (",", kinds.CSV), (";", kinds.SEMICOLONS)):
        if all(line.count(sign) for line in lines):
            return replace(kind, what=f"{kind.what} that starts {_said(lines[0])}")
    return None


def _other(text: str) -> Foreign:
    says = _said(text)
    if _PLAIN_ERROR.match(text.strip()) and len(text) < 1000:
        return Foreign(f"a server's error message, which says {says}", kinds.REFUSED_HINT)
    return Foreign(f"a text file that starts {says}")


def _said(text: str) -> str:
    """Words of a file, in quotes: on one line, printable, and few."""
    return f"\u201c{words}\u201d" if (words := cut(text, _SAID)) else ""
