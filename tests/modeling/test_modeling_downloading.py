"""Downloads: of the size that is allowed, whole, the right ones, and continued where they were cut off."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.modeling.addresses import absolute
from jobs.modeling.downloading import download, read_small, size_of
from shared.domain.errors import CelldropError, ModelDownloadError, SettingsError, UnavailableError
from tests.modeling.served import Page, Served, serving

DATA = bytes(range(256)) * 4_000
HALF = len(DATA) // 2
ENOUGH = 10**9


@pytest.fixture
def server() -> Iterator[Served]:
    with serving({"/model": Page(DATA)}) as found:
        yield found


def get(server: Served, path: Path, sha256: str = "") -> None:
    download(server.url("/model"), path, most_bytes=ENOUGH, sha256=sha256)


def cut(server: Served, path: Path) -> int:
    """A download that is cut half way. Returns the size of the part."""
    server.pages["/model"].cut_after = HALF
    with pytest.raises(UnavailableError, match="cut") as caught:
        get(server, path)
    assert "Run the same command again" in caught.value.hint
    server.asked.clear()
    size = path.stat().st_size
    assert 0 < size <= HALF
    return size


def test_a_file_is_downloaded_and_its_progress_told(server: Served, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    path = tmp_path / "new" / "model"
    download(
        server.url("/model"),
        path,
        most_bytes=len(DATA),
        sha256=hashlib.sha256(DATA).hexdigest(),
        told=lambda done, total: told.append((done, total)),
    )
    assert path.read_bytes() == DATA
    assert told[0] == (0, len(DATA))
    assert told[-1] == (len(DATA), len(DATA))
    assert size_of(server.url("/model")) == len(DATA)


def test_a_download_that_was_cut_goes_on_where_it_stopped(server: Served, tmp_path: Path) -> None:
    size = cut(server, tmp_path / "model")
    get(server, tmp_path / "model")
    assert (tmp_path / "model").read_bytes() == DATA
    assert server.asked == [("GET", "/model", f"bytes={size}-")]


def test_a_download_that_is_whole_is_not_repeated(server: Served, tmp_path: Path) -> None:
    get(server, tmp_path / "model")
    server.asked.clear()
    get(server, tmp_path / "model")
    assert (tmp_path / "model").read_bytes() == DATA
    assert server.asked == [("GET", "/model", f"bytes={len(DATA)}-")]


@pytest.mark.parametrize(
    "changed",
    [
        Page(DATA[::-1], etag='"second"'),
        Page(DATA[::-1], ranges=False),
        Page(DATA[::-1], headers={"Content-Range": f"bytes 0-{len(DATA) - 1}/{len(DATA)}"}, ranges=False),
        Page(DATA[: HALF // 2], etag='"second"'),
        Page(DATA[: HALF // 2]),
    ],
    ids=["another file", "no parts", "no part in spite of its header", "a shorter file", "shorter, with its ETag"],
)
def test_another_file_is_downloaded_from_its_start(server: Served, tmp_path: Path, changed: Page) -> None:
    cut(server, tmp_path / "model")
    server.pages["/model"] = changed
    get(server, tmp_path / "model")
    assert (tmp_path / "model").read_bytes() == changed.data


@pytest.mark.parametrize(
    "odd",
    [
        Page(DATA, headers={"Content-Range": f"bytes 0-{len(DATA) - 1}/{len(DATA)}"}),
        Page(DATA, headers={"Content-Range": "nonsense"}),
        Page(DATA, headers={"ETag": '"second"'}),
    ],
    ids=["another place", "no place", "of another file"],
)
def test_a_part_of_another_place_or_file_is_not_used(server: Served, tmp_path: Path, odd: Page) -> None:
    cut(server, tmp_path / "model")
    server.pages["/model"] = odd
    get(server, tmp_path / "model")
    assert (tmp_path / "model").read_bytes() == DATA
    assert [wanted != "" for _, _, wanted in server.asked] == [True, False]


def test_without_a_strong_etag_nothing_is_continued(server: Served, tmp_path: Path) -> None:
    server.pages["/model"].etag = 'W/"weak"'
    cut(server, tmp_path / "model")
    get(server, tmp_path / "model")
    assert (tmp_path / "model").read_bytes() == DATA
    assert server.asked == [("GET", "/model", "")]


def test_a_length_that_is_never_reached_is_a_cut(server: Served, tmp_path: Path) -> None:
    server.pages["/model"] = Page(DATA, length=len(DATA) + 1, headers={"Connection": "close"})
    with pytest.raises(UnavailableError, match="cut"):
        get(server, tmp_path / "model")


@pytest.mark.parametrize("length", [len(DATA), None], ids=["said", "not said"])
def test_a_file_that_is_too_large_is_refused(server: Served, tmp_path: Path, length: int | None) -> None:
    if length is None:
        server.pages["/model"].headers = {"Content-Length": "unknown", "Connection": "close"}
    with pytest.raises(ModelDownloadError, match="at most 1,023,999") as caught:
        download(server.url("/model"), tmp_path / "model", most_bytes=len(DATA) - 1)
    assert "CELLDROP_MAX_MODEL_BYTES" in caught.value.hint
    with pytest.raises(ModelDownloadError, match="at most 1,023,999") as caught:
        read_small(server.url("/model"), len(DATA) - 1)
    assert "no index" in caught.value.hint


def test_a_file_with_another_checksum_is_refused_and_forgotten(server: Served, tmp_path: Path) -> None:
    with pytest.raises(ModelDownloadError, match="as the catalogue says"):
        get(server, tmp_path / "model", sha256="0" * 64)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("page", "kind", "words"),
    [
        (Page(status=404), ModelDownloadError, "answered 404"),
        (Page(status=500), UnavailableError, "answered 500"),
        (Page(status=503), UnavailableError, "answered 503"),
        (Page(status=429), UnavailableError, "answered 429"),
        (Page(status=206), ModelDownloadError, "answered 206"),
        (Page(DATA, headers={"Content-Encoding": "gzip"}), ModelDownloadError, "encoded"),
        (Page(DATA, headers={"Content-Encoding": "zstd"}), ModelDownloadError, "encoded"),
        (Page(status=302, headers={"Location": "file:///etc/passwd"}), ModelDownloadError, "no https address"),
        (Page(status=302, headers={"Location": "https://localhost/model"}), ModelDownloadError, "another kind"),
        (
            Page(status=302, headers={"Location": "http://models.example/model"}),
            ModelDownloadError,
            "not https, but http",
        ),
        (Page(status=302, headers={"Location": "/model"}), ModelDownloadError, "more than 5 times"),
        (Page(status=302, headers={"Location": "http://[::1/model"}), ModelDownloadError, "malformed"),
    ],
)
def test_what_a_server_does_not_give_is_an_error_of_ours(
    server: Served, tmp_path: Path, page: Page, kind: type[CelldropError], words: str
) -> None:
    server.pages["/model"] = page
    with pytest.raises(kind, match=words):
        get(server, tmp_path / "model")
    with pytest.raises(kind, match=words):
        read_small(server.url("/model"), ENOUGH)


def test_five_redirects_on_this_machine_are_followed_and_no_more(server: Served, tmp_path: Path) -> None:
    for number in range(1, 7):
        target = f"/{number - 1}" if number > 1 else server.url("/model")
        server.pages[f"/{number}"] = Page(status=301, headers={"Location": target})
    download(server.url("/5"), tmp_path / "model", most_bytes=ENOUGH)
    assert (tmp_path / "model").read_bytes() == DATA
    with pytest.raises(ModelDownloadError, match="more than 5 times"):
        download(server.url("/6"), tmp_path / "more", most_bytes=ENOUGH)


def test_a_part_that_makes_the_file_longer_than_it_is_begins_it_anew(server: Served, tmp_path: Path) -> None:
    size = cut(server, tmp_path / "model")
    server.pages["/model"].headers = {"Content-Range": f"bytes {size}-{len(DATA) - 1}/{len(DATA) - 1}"}
    with pytest.raises(UnavailableError):
        get(server, tmp_path / "model")
    server.pages["/model"].headers = {}
    server.pages["/model"].data = DATA[:-1]
    get(server, tmp_path / "model")
    assert (tmp_path / "model").read_bytes() == DATA[:-1]


def test_a_server_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with serving({}) as gone:
        address = gone.url("/model")
    with pytest.raises(UnavailableError, match="cannot be reached"):
        download(address, tmp_path / "model", most_bytes=ENOUGH)


def test_two_commands_do_not_write_one_part(server: Served, tmp_path: Path) -> None:
    with (tmp_path / "model").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(UnavailableError, match="another command"):
            get(server, tmp_path / "model")


def test_a_folder_that_is_none_is_a_setting_to_correct(server: Served, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="cannot be written") as caught:
        get(server, tmp_path / "file" / "model")
    assert "CELLDROP_ADDED_MODELS_DIR" in caught.value.hint


@pytest.mark.parametrize(
    ("address", "base", "found"),
    [
        ("https://a.example/m.pkl", "", "https://a.example/m.pkl"),
        ("http://localhost:8000/m", "", "http://localhost:8000/m"),
        ("http://[::1]/m", "", "http://[::1]/m"),
        ("m/1", "https://a.example/x/index.json", "https://a.example/x/m/1"),
        ("//b.example/m", "https://a.example/x/", "https://b.example/m"),
        ("http://127.0.0.1/m", "http://localhost/", "http://127.0.0.1/m"),
    ],
)
def test_addresses_of_https_and_of_this_machine_are_used(address: str, base: str, found: str) -> None:
    assert absolute(address, base) == found


@pytest.mark.parametrize(
    ("address", "base"),
    [
        ("http://a.example/m", ""),
        ("file:///etc/passwd", "https://a.example/"),
        ("ftp://a.example/m", ""),
        ("m.pkl", ""),
        ("../m.pkl", "https://a.example/x/y/"),
        ("x/%2e%2e/m.pkl", "https://a.example/"),
        ("https://user:secret@a.example/m", ""),
        ("https:///m", ""),
        ("https://a.example:port/m", ""),
        ("https://a.example/a b", ""),
        ("https://a.example/\n", ""),
        ("https://ä.example/", ""),
        ("https:\\\\a.example", ""),
        ("http://127.0.0.1/m", "https://a.example/"),
        ("https://localhost/m", "https://a.example/"),
        ("", ""),
    ],
)
def test_other_addresses_are_refused(address: str, base: str) -> None:
    with pytest.raises(ValueError, match="the address"):
        absolute(address, base)
