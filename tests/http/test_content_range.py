"""Which bytes of a file a response holds, and which version of the file they belong to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowery._http.content_range import Extent, extent_of, is_same_version, version_of


@pytest.mark.parametrize(
    ("status", "headers", "extent"),
    [
        (200, {}, Extent()),
        (200, {"content-length": "9"}, Extent(0, 9, 9)),
        (206, {"content-range": "bytes 3-8/9"}, Extent(3, 9, 9)),
        (206, {"content-range": "Bytes 3-5/9", "content-length": "3"}, Extent(3, 6, 9)),
        (200, {"content-range": " bytes 3-8/* ", "content-length": "6"}, Extent(3, 9, None)),
        (206, {"content-range": "bytes 0-8/9", "content-length": "9"}, Extent(0, 9, 9)),
    ],
)
def test_extent_of_headers_is_read(status: int, headers: dict[str, str], extent: Extent) -> None:
    """Content-Range decides with either status; without one the body is the whole file."""
    assert extent_of(status, headers) == extent


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (206, {}),
        (206, {"content-length": "9"}),
        (206, {"content-range": "bytes 3-8/9", "content-length": "9"}),
        (206, {"content-range": "bytes 8-3/9"}),
        (206, {"content-range": "bytes 3-9/9"}),
        (206, {"content-range": "bytes */9"}),
        (206, {"content-range": "bytes 0-1/9, bytes 2-3/9"}),
        (206, {"content-range": "items 0-1/9"}),
        (200, {"content-range": "bytes -5/9"}),
        (200, {"content-range": "bytes " + "9" * 500}),
        (200, {"content-range": ""}),
    ],
    ids=str,
)
def test_extent_of_contradicting_headers_is_refused(status: int, headers: dict[str, str]) -> None:
    """What cannot be placed for certain is not used. The message is short, whatever the header holds."""
    with pytest.raises(ValueError, match="a part of the file") as caught:
        extent_of(status, headers)
    assert len(str(caught.value)) < 200


@given(st.integers(0, 10**6), st.integers(1, 10**6), st.integers(0, 10**6))
def test_extent_of_any_part_holds_its_bytes(start: int, length: int, after: int) -> None:
    """A part begins and ends where its header says, within the whole."""
    total = start + length + after
    headers = {"content-range": f"bytes {start}-{start + length - 1}/{total}", "content-length": str(length)}
    assert extent_of(206, headers) == Extent(start, start + length, total)


DATE = "Tue, 03 Nov 2026 10:00:00 GMT"


@pytest.mark.parametrize("headers", [{}, {"etag": 'W/"a"'}, {"etag": "w/a"}, {"etag": " "}, {"last-modified": ""}])
def test_version_of_headers_without_validator_is_empty(headers: dict[str, str]) -> None:
    """A weak ETag may stand for files that differ, so it names no version."""
    assert version_of(headers, 9) == ""
    assert not is_same_version("", "")


def test_version_of_date_needs_the_size() -> None:
    """Last-Modified counts seconds, so the size has to agree too."""
    assert version_of({"last-modified": DATE}, None) == ""
    one = version_of({"last-modified": DATE}, 9)
    assert is_same_version(one, version_of({"last-modified": DATE}, 9))
    assert not is_same_version(one, version_of({"last-modified": DATE}, 8))
    assert not is_same_version(one, version_of({"last-modified": DATE, "etag": 'W/"b"'}, 9))


def test_version_of_strong_etag_may_lack_the_size() -> None:
    """The first part may come without a length; sizes that are known must agree."""
    one, other = version_of({"etag": '"a"'}, None), version_of({"etag": '"a"', "last-modified": DATE}, 9)
    assert is_same_version(one, other)
    assert not is_same_version(other, version_of({"etag": '"a"'}, 8))
    assert not is_same_version(other, version_of({"etag": '"b"'}, 9))
