"""Downloads files over https: limited in size, checked, and continued where an earlier download was cut off."""

from __future__ import annotations

import errno
import fcntl
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import requests

from jobs.modeling.addresses import absolute
from jobs.modeling.sources import sha256_of
from shared.domain.errors import CelldropError, DiskFullError, ModelDownloadError, SettingsError, UnavailableError

Told = Callable[[int, int | None], None]
"""Called with the bytes so far, and the bytes of the whole if they are known."""

CONNECT_S, SILENCE_S = 10.0, 60.0
"""Seconds for a connection, and seconds without a byte, after which a server is given up."""
_CHUNK_BYTES = 2**16
"""What is lost, at most, of what arrived before a connection was cut."""
_MOST_REDIRECTS = 5
_AGAIN = "Run the same command again: it goes on where it stopped."
_TOO_LARGE = "Check that it is the model that you want, then raise CELLDROP_MAX_MODEL_BYTES."
_NOT_SMALL = "It is no index of models and no card: check the address."
_PARTIAL, _OUT_OF_RANGE, _BUSY = 206, 416, frozenset({408, 425, 429})


def read_small(address: str, most_bytes: int) -> bytes:
    """Download a small file into memory.

    Raises:
        ModelDownloadError: The server refuses, or the file is larger than that, or the address cannot be used.
        UnavailableError: The server does not answer, or the connection was cut.
    """
    data = bytearray()
    with _asked("GET", address, {}) as answer:
        total = _total_of(answer)
        _check_size(total or 0, most_bytes, address, _NOT_SMALL)
        for chunk in _chunks(answer, address):
            data += chunk
            _check_size(len(data), most_bytes, address, _NOT_SMALL)
    _check_whole(len(data), total, address)
    return bytes(data)


def size_of(address: str) -> int | None:
    """The size of a file, in bytes; None if the server does not say.

    Raises:
        ModelDownloadError: The server refuses.
        UnavailableError: The server does not answer.
    """
    with _asked("HEAD", address, {}) as answer:
        return _total_of(answer)


def download(address: str, path: Path, *, most_bytes: int, sha256: str = "", told: Told = lambda *_: None) -> None:
    """Download a file to a path, where an earlier download may have left a part of it.

    Only what is missing is asked for, on the condition that the file is still the one that the part is of (``If-Range``
    with its strong ETag, kept beside the part). If it is not, or the server does not send parts, all of it is.

    Raises:
        ModelDownloadError: The server refuses, or the file is too large, or not the one with that checksum.
        UnavailableError: The server does not answer, or the connection was cut; the part is kept.
        DiskFullError, SettingsError: The file cannot be written.
    """
    with _writing(path), path.open("ab") as file:
        _lock(file, path)
        _Transfer(address, path, file, most_bytes, told).run()
    if sha256 and (found := sha256_of(path)) != sha256:
        _forget(path)
        raise ModelDownloadError(
            f"a file with sha256 {found}",
            expected=f"{sha256}, as the catalogue says",
            where=address,
            hint="Run the same command once more. If it fails again, tell whoever keeps the catalogue.",
        )


# --- A part and the rest of it --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Transfer:
    """One download into an open file, which holds a part already or is empty."""

    address: str
    path: Path
    file: BinaryIO
    most_bytes: int
    told: Told

    def run(self) -> None:
        if self._continue():
            return
        with _asked("GET", self.address, {}) as answer:
            self._receive(answer)

    def _continue(self) -> bool:
        """Get what is missing of a part; False if the whole must be got."""
        size, tag = self.file.seek(0, os.SEEK_END), _tag_of(self.path)
        if not size or not tag:
            return False
        with _asked("GET", self.address, {"Range": f"bytes={size}-", "If-Range": tag}) as answer:
            span = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", answer.headers.get("Content-Range", ""))
            start, total = (_number(span[1]), _number(span[2])) if span else (None, None)
            if answer.status_code == _OUT_OF_RANGE:
                return total == size  # Nothing is missing.
            if answer.status_code != _PARTIAL:
                self._receive(answer)
                return True
            if start != size or answer.headers.get("ETag", tag) != tag:
                return False
            self._append(answer, size, total)
        return True

    def _receive(self, answer: requests.Response) -> None:
        """Write the whole file that the server sends, in place of what was there."""
        total = _total_of(answer)
        _check_size(total or 0, self.most_bytes, self.address)
        self.file.truncate(0)
        tag = answer.headers.get("ETag", "")
        if re.fullmatch(r'"[\x21\x23-\x7e]*"', tag):  # A weak one does not promise the same bytes.
            _tag_path(self.path).write_text(tag)
        else:
            _tag_path(self.path).unlink(missing_ok=True)
        self._append(answer, 0, total)

    def _append(self, answer: requests.Response, done: int, total: int | None) -> None:
        _check_size(total or 0, self.most_bytes, self.address)
        self.told(done, total)
        for chunk in _chunks(answer, self.address):
            _check_size(done + len(chunk), self.most_bytes, self.address)
            self.file.write(chunk)
            done += len(chunk)
            self.told(done, total)
        self.file.flush()
        _check_whole(done, total, self.address)


def _tag_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.etag")


def _tag_of(path: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        return _tag_path(path).read_text()
    return ""


def _forget(path: Path) -> None:
    for one in (path, _tag_path(path)):
        one.unlink(missing_ok=True)


def _lock(file: BinaryIO, path: Path) -> None:
    """Let only one process write a part. The lock ends with the process."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        hint = "Wait until it has ended, then run this one again."
        raise UnavailableError("another command is downloading this file", where=str(path), hint=hint) from error


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Translate the operating system's errors in this context."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        kind = DiskFullError if error.errno in {errno.ENOSPC, errno.EDQUOT} else SettingsError
        raise kind(
            f"the download cannot be written: {error.strerror or error}",
            where=str(path.parent),
            hint="Set CELLDROP_ADDED_MODELS_DIR to a folder that you may write to, and that has room.",
        ) from error


# --- The server -----------------------------------------------------------------------------------------------------


@contextmanager
def _asked(method: str, address: str, headers: Mapping[str, str]) -> Iterator[requests.Response]:
    """The server's answer, which is neither an error nor a redirect; 206 and 416 only where a range was asked for."""
    with requests.Session() as session:
        session.headers["Accept-Encoding"] = "identity"
        with _translated(address):
            answer = _followed(session, method, address, headers)
        with answer:
            _check_status(answer, address, {200, _PARTIAL, _OUT_OF_RANGE} if "Range" in headers else {200})
            yield answer


def _followed(session: requests.Session, method: str, address: str, headers: Mapping[str, str]) -> requests.Response:
    here = _usable(address)
    for _ in range(_MOST_REDIRECTS + 1):
        answer = session.request(
            method, here, headers=dict(headers), stream=True, timeout=(CONNECT_S, SILENCE_S), allow_redirects=False
        )
        if not answer.is_redirect:
            return answer
        answer.close()
        target = _usable(answer.headers["Location"], here)
        if target.partition(":")[0] != here.partition(":")[0]:
            raise _refused("the server sends on to an address of another kind", target[:200])
        here = target
    raise _refused(f"the server sends on more than {_MOST_REDIRECTS} times", address)


def _usable(address: str, base: str = "") -> str:
    try:
        return absolute(address, base)
    except ValueError as error:
        raise _refused(str(error), address if address.isprintable() else ascii(address)) from error


def _check_status(answer: requests.Response, address: str, taken: set[int]) -> None:
    status = answer.status_code
    if status >= 500 or status in _BUSY:
        raise UnavailableError(f"the server answered {status}", where=address, hint=_AGAIN)
    if status not in taken:
        raise _refused(f"the server answered {status}", address)
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise _refused("the server sends the file encoded, which was not asked for", address)


def _chunks(answer: requests.Response, address: str) -> Iterator[bytes]:
    with _translated(address):
        yield from answer.iter_content(_CHUNK_BYTES)


@contextmanager
def _translated(address: str) -> Iterator[None]:
    try:
        yield
    except requests.exceptions.SSLError as error:
        hint = "Check this machine's clock and its list of certificates."
        raise UnavailableError("the server's certificate cannot be verified", where=address, hint=hint) from error
    except requests.exceptions.Timeout as error:
        raise UnavailableError("the server did not answer in time", where=address, hint=_AGAIN) from error
    except requests.exceptions.RequestException as error:
        if isinstance(error, ValueError):  # Of the address: requests' other errors are none.
            raise _refused("the address cannot be used", address) from error
        found = "the server cannot be reached, or the connection was cut"
        raise UnavailableError(found, where=address, hint=_AGAIN) from error
    except ValueError as error:  # requests parses where a redirect leads, even if it is not to follow it.
        raise _refused("the server sends on to an address that is malformed", address) from error


def _total_of(answer: requests.Response) -> int | None:
    return _number(answer.headers.get("Content-Length"))


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 19 else None


def _check_size(size: int, most_bytes: int, address: str, hint: str = _TOO_LARGE) -> None:
    if size > most_bytes:
        raise ModelDownloadError(
            f"a file of {size:,} bytes or more",
            expected=f"at most {most_bytes:,}",
            where=address,
            hint=hint,
        )


def _check_whole(size: int, total: int | None, address: str) -> None:
    if total is not None and size != total:
        what = "the connection was cut after" if size < total else "the server sent"
        found = f"{what} {size:,} of {total:,} bytes"
        raise UnavailableError(found, where=address, hint=_AGAIN)


def _refused(found: str, where: str) -> CelldropError:
    hint = "Check the address, or look for another model with `celldrop models search`."
    return ModelDownloadError(found, expected="a file over https", where=where, hint=hint)
