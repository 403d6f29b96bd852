"""Recognises files that are not HDF5 by their first bytes. Of compressed ones, the start is decompressed."""

from __future__ import annotations

import re
from dataclasses import replace

from shared.h5ad.foreign import kinds
from shared.h5ad.foreign.archives import names_in_tar, names_in_zip, recognise_names
from shared.h5ad.foreign.compressed import Packing, packing_of, unpacked
from shared.h5ad.foreign.kinds import Foreign
from shared.h5ad.foreign.texts import decoded, recognise_text
from shared.h5ad.source import RangeSource
from shared.ports.blobs import ByteRange

SIGNATURE = b"\x89HDF\r\n\x1a\n"
HEAD_BYTES = 64 * 1024
_LAYERS = 3
_ZARR_PIECE = re.compile(r"(^|/)([^/]+\.(?:zarr|spatialdata))/", re.IGNORECASE)
_MANGLED = re.compile(
    rb"\x89HDF(\n\x1a\n|\r\r\n)|(\xc2\x89|\xef\xbf\xbd|\?|\x09)HDF\r?\n\x1a\r?\n|\x89HDF\r\n(?!\x1a\n)"
)
_MAGIC: tuple[tuple[int, bytes, Foreign], ...] = (
    (0, b"PAR1", kinds.PARQUET),
    (0, b"ARROW1", kinds.ARROW),
    (0, b"FEA1", kinds.ARROW),
    (0, b"\xff\xff\xff\xff", replace(kinds.ARROW, what="an Arrow stream")),
    (0, b"\x93NUMPY", kinds.NPY),
    (0, b"X\n\x00\x00\x00", kinds.RDS),
    (0, b"B\n\x02\x00\x00\x00", kinds.RDS),
    (0, b"B\n\x03\x00\x00\x00", kinds.RDS),
    (0, b"RDX", kinds.RDATA),
    (0, b"RDA", kinds.RDATA),
    (0, b"RDB", kinds.RDATA),
    (0, b"\x0b\x0e\x0a", kinds.QS),
    (0, b"BAM\x01", replace(kinds.READS, what="a BAM file: aligned reads, not counts")),
    (0, b"CRAM", replace(kinds.READS, what="a CRAM file: aligned reads, not counts")),
    (0, b"BCF\x02", replace(kinds.READS, what="a BCF file: variants, not counts")),
    (0, b"NCBI.sra", replace(kinds.READS, what="an SRA archive: raw sequencing reads, not counts")),
    (0, b"%PDF", kinds.PDF),
    (0, b"\x89PNG", kinds.IMAGE),
    (0, b"\xff\xd8\xff", kinds.IMAGE),
    (0, b"GIF8", kinds.IMAGE),
    (0, b"II*\x00", kinds.IMAGE),
    (0, b"II+\x00", kinds.IMAGE),
    (0, b"MM\x00*", kinds.IMAGE),
    (0, b"MATLAB ", kinds.MATLAB),
    (0, b"SQLite format 3", kinds.SQLITE),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", kinds.OLD_EXCEL),
    (0, b"crypt4gh", kinds.ENCRYPTED),
    (0, b"Salted__", kinds.ENCRYPTED),
    (0, b"\x00\x05\x16\x07", kinds.COMPANION),
    (0, b"CDF\x01", Foreign("a NetCDF file")),
    (0, b"CDF\x02", Foreign("a NetCDF file")),
    (0, b"7z\xbc\xaf\x27\x1c", Foreign("a 7-Zip archive", "Unpack it, and send the .h5ad inside.")),
    (0, b"Rar!\x1a\x07", Foreign("a RAR archive", "Unpack it, and send the .h5ad inside.")),
)


def recognise(source: RangeSource, name: str = "") -> Foreign:
    """What a file without an HDF5 signature is.

    Args:
        name: The object's name, where there is one: pieces of a zarr store are told by it alone.
    """
    if not source.size_bytes:
        return kinds.EMPTY
    head = source.read(ByteRange(0, HEAD_BYTES))
    if head.startswith(b"PK"):
        tail = source.read(ByteRange(max(0, source.size_bytes - HEAD_BYTES), HEAD_BYTES))
        return recognise_names(names_in_zip(head, tail), "zip archive", head)
    store = _ZARR_PIECE.search(name)
    return replace(kinds.ZARR_PIECE, what=f"a piece of the zarr store {store.group(2)}") if store else _by_head(head)


def _by_head(head: bytes, layers: int = _LAYERS) -> Foreign:
    packing = packing_of(head)
    if packing is not None:
        return _inside(head, packing, layers)
    found = next((kind for place, magic, kind in _MAGIC if head.startswith(magic, place)), None)
    return found or _mangled(head) or _python(head) or _tar(head) or _text(head)


def _inside(head: bytes, packing: Packing, layers: int) -> Foreign:
    inside = unpacked(head, packing) if layers else None
    if inside is None:
        return Foreign(f"a file compressed with {packing.title}", f"Decompress it first ({packing.command} FILE).")
    if not inside:
        return Foreign(f"a damaged file, compressed with {packing.title}", kinds.AGAIN)
    if inside.startswith(SIGNATURE):
        hint = f"Decompress it ({packing.command} FILE) and send the .h5ad inside: HDF5 is compressed in itself."
        return Foreign(f"an HDF5 file compressed with {packing.title} as a whole", hint)
    if inside.startswith(b"PK"):
        return recognise_names(names_in_zip(inside, b""), "zip archive", inside).packed(packing.adjective)
    return _by_head(inside, layers - 1).packed(packing.adjective)


def _mangled(head: bytes) -> Foreign | None:
    """An HDF5 signature that was changed, or stands where none may be."""
    if _MANGLED.match(head):
        return kinds.MANGLED
    place = head.find(SIGNATURE)
    if place > 0:
        hint = "Send the file without them: they come from how it was uploaded or saved."
        return Foreign(f"an HDF5 file with {place:,} bytes put before it", hint)
    if not head.strip(b"\0"):
        return kinds.ZEROS
    return None


def _python(head: bytes) -> Foreign | None:
    """Pickles, by what they name; nothing is loaded."""
    if re.match(rb".{7}\x00\{\"", head, re.DOTALL) and b'"dtype"' in head:
        return kinds.SAFETENSORS
    if not re.match(rb"\x80[\x02-\x05]", head):
        return None
    if head[2:14] == b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19":
        return kinds.TORCH
    if b"sklearn." in head or b"celltypist" in head:
        return kinds.CELLTYPIST
    return kinds.PICKLED_ANNDATA if b"anndata" in head and b"AnnData" in head else kinds.PICKLE


def _tar(head: bytes) -> Foreign | None:
    names = names_in_tar(head)
    return recognise_names(names, "tar archive", head) if names else None


def _text(head: bytes) -> Foreign:
    text = decoded(head)
    if text is not None:
        return recognise_text(text)
    return Foreign(f"a file of an unknown kind, whose first bytes are {head[:8].hex(' ')}")
