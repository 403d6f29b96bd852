"""Overwrites an object in forked children, the n-th of which is killed before its n-th step; run as a program.

Prints, as JSON, what the object held after each child, and which hidden files there were after the next write: the
drafts of writers, and the cards.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import google_crc32c

from shared.adapters.local.blobs import DirectoryBlobStore

STEPS = ("open", "fcntl.", "os.mkdir", "os.rename", "os.remove", "os.utime", "os.rmdir")


def main(root: Path) -> None:
    found: list[str] = []
    drafts, cards = list[int](), list[int]()
    finished = False
    while not finished:
        store = DirectoryBlobStore({"b": root})  # Another process, in effect: its first write removes drafts.
        store.write("b", "a/x", [b"old"], metadata={"of": "old"})
        drafts.append(_n_hidden(root, "drafts"))
        cards.append(_n_hidden(root, "cards"))
        finished = _survives(store, steps=len(found) + 1)
        found.append(_state(store))
    sys.stdout.write(json.dumps({"found": found, "drafts": drafts, "cards": cards}))


def _n_hidden(root: Path, kind: str) -> int:
    return sum(1 for path in (root / ".celldrop" / kind).rglob("*") if path.is_file())


def _survives(store: DirectoryBlobStore, steps: int) -> bool:
    child = os.fork()
    if child == 0:
        sys.addaudithook(_Killer(steps))
        store.write("b", "a/x", [b"ne", b"w"], metadata={"of": "new"})
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


class _Killer:
    def __init__(self, steps: int) -> None:
        self._left = steps

    def __call__(self, event: str, _: object) -> None:
        if event.startswith(STEPS):
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def _state(store: DirectoryBlobStore) -> str:
    (info,) = store.list("b")
    data = store.read(info.ref)
    whole = info.crc32c == google_crc32c.value(data) and info.size_bytes == len(data)
    return data.decode() if whole and info.metadata == {"of": data.decode()} else f"broken: {data!r} {info}"


main(Path(sys.argv[1]))
