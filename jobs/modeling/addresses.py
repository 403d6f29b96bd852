"""Which addresses models are downloaded from: https, and http on this machine only."""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult, unquote, urljoin, urlsplit


def absolute(address: str, base: str = "") -> str:
    """An address as it is requested, made absolute.

    Args:
        base: The address of the page that names it. Only a page of this machine may name another address of it: what
            runs here is nothing that a server elsewhere should reach.

    Raises:
        ValueError: Nothing is downloaded from there; the text says why.
    """
    if not address.isascii() or not address.isprintable() or {" ", "\\"} & set(address):
        raise _unusable("has spaces or other characters that no address has")
    if ".." in unquote(address).split("/"):
        raise _unusable("leads upwards ('..')")
    whole, parts = _joined(base, address)
    if parts.scheme not in {"https", "http"}:
        raise _unusable(f"is no https address: {whole[:80]}")
    if not parts.hostname or parts.username is not None or parts.password is not None:
        raise _unusable("names no server, or has a user name in it")
    here = _is_loopback(parts.hostname)
    if parts.scheme == "http" and not here:
        raise _unusable(f"is not https, but http: {whole[:80]}")
    if base and here and not _is_loopback(urlsplit(base).hostname or ""):
        raise _unusable(f"is one of this machine, named by another: {whole[:80]}")
    return whole


def _joined(base: str, address: str) -> tuple[str, SplitResult]:
    try:
        whole = urljoin(base, address)
        parts = urlsplit(whole)
        _ = parts.port  # It is read only now, and may be none.
    except ValueError as error:
        raise _unusable("is malformed") from error
    return whole, parts


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _unusable(why: str) -> ValueError:
    return ValueError(f"the address {why}")
