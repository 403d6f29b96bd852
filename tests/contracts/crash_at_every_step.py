"""Overwrites an object in forked children, the n-th of which is killed before its n-th step; run as a program.

Prints, as JSON, what the object held after each child, and what a sweep then left hidden.
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
    store = DirectoryBlobStore({"b": root})
    found: list[str] = []
    hidden: list[int] = []
    finished = False
    while not finished:
        store.write("b", "a/x", [b"old"], metadata={"of": "old"})
        finished = _survives(store, steps=len(found) + 1)
        found.append(_state(store))
        store.sweep("b")
        hidden.append(
            sum(1 for path in (root / ".celldrop").rglob("*") if path.is_file() and path.parent.name != "locks")
        )
    sys.stdout.write(json.dumps({"found": found, "hidden": hidden}))


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
