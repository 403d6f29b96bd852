"""Whether a local file was changed: a number for each of its states.

The kernel's own time of change is part of it. A program can set a file's modification time back, but not that one.
"""

from __future__ import annotations

import hashlib
import os

IDENTITY_BIT = 1 << 52
"""Marks a generation made from a file's identity. All stay below 2**53, up to which JavaScript numbers are exact."""


def identity_generation(status: os.stat_result) -> int:
    """A number for one state of a file, made from its size, both times of change and inode.

    The device is left out: many file systems get another number at each start of the machine.
    """
    identity = f"{status.st_size}/{status.st_mtime_ns}/{status.st_ino}/{touched_ns(status)}"
    digest = hashlib.blake2b(identity.encode(), digest_size=8).digest()
    return IDENTITY_BIT | int.from_bytes(digest, "big") % IDENTITY_BIT


def touched_ns(status: os.stat_result) -> int:
    """The kernel's time of change of a file with one name; 0 for one that has several.

    Whoever gives a file another name, as workflow engines do for each task, changes that time and nothing else.
    """
    return status.st_ctime_ns if status.st_nlink == 1 else 0
