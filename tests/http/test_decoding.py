"""Bodies that a server has compressed: decoded whole within a limit, or refused with the reason."""

from __future__ import annotations

import gzip
import hashlib
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowery._http.decoding import decode_body, is_coded

Encode = Callable[[bytes], bytes]


def raw_deflate(body: bytes) -> bytes:
    """Return a body in deflate without zlib's header."""
    encoder = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return encoder.compress(body) + encoder.flush()


ENCODERS: Final[dict[str, tuple[str, Encode]]] = {
    "gzip": ("gzip", gzip.compress),
    "old name": ("x-gzip", gzip.compress),
    "other case": (" GZip ", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "raw deflate": ("deflate", raw_deflate),
    "identity": ("identity", bytes),
    "empty": ("", bytes),
}
CODED: Final = {name: both for name, both in ENCODERS.items() if is_coded(both[0])}
steps: Final = st.sampled_from([1, 7, 64, 65_536])
bodies: Final = st.binary(max_size=2_000) | st.binary(max_size=20).map(lambda part: part * 200)


def decode_in_steps(body: bytes, coding: str, max_bytes: int, step: int) -> bytes:
    """Decode a body in steps of so many bytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("aiowery._http.decoding._STEP", step)
        return decode_body(body, coding, max_bytes)


encoders: Final = pytest.mark.parametrize(("coding", "encode"), ENCODERS.values(), ids=ENCODERS)
coders: Final = pytest.mark.parametrize(("coding", "encode"), CODED.values(), ids=CODED)


@encoders
@given(body=bodies, step=steps)
def test_decode_body_returns_what_was_encoded(coding: str, encode: Encode, body: bytes, step: int) -> None:
    """For any body, decoding is the reverse of encoding, also if the body has just the length of the limit."""
    assert decode_in_steps(encode(body), coding, len(body), step) == body


@coders
def test_decode_body_of_megabytes_returns_what_was_encoded(coding: str, encode: Encode) -> None:
    """A body that takes many steps, whether it is much smaller when it is compressed or not, stays as it is."""
    for body in (hashlib.shake_256().digest(300_000), b"ab" * 1_000_000):
        assert decode_body(encode(body), coding, len(body)) == body


@coders
@given(body=bodies.filter(bool), data=st.data())
def test_decode_body_beyond_the_limit_is_refused(coding: str, encode: Encode, body: bytes, data: st.DataObject) -> None:
    """One byte too many is an error that names the coding and the limit."""
    limit = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(ValueError, match=rf"^the {coding.strip().lower()} body has more than {limit} bytes$"):
        decode_body(encode(body), coding, limit)


@coders
@given(body=bodies, data=st.data())
def test_decode_body_that_is_cut_is_refused(coding: str, encode: Encode, body: bytes, data: st.DataObject) -> None:
    """However few bytes of the end are missing, no part of the body is returned as the whole."""
    whole = encode(body)
    cut = data.draw(st.integers(1, len(whole) - 1))
    with pytest.raises(ValueError, match=f"{coding.strip().lower()}.* body is not complete|no valid deflate"):
        decode_body(whole[:cut], coding, 10_000)


@coders
@given(body=bodies, surplus=st.binary(min_size=1, max_size=50), step=steps)
def test_decode_body_that_goes_on_is_refused(
    coding: str, encode: Encode, body: bytes, surplus: bytes, step: int
) -> None:
    """Bytes behind the end, such as a second compressed part, are not left out in silence."""
    for rest in (surplus, encode(body)):
        with pytest.raises(ValueError, match="goes on after its end"):
            decode_in_steps(encode(body) + rest, coding, 10_000, step)


@pytest.mark.parametrize(
    "coding", ["br", "zstd", "compress", "gzip, gzip", "gzip,deflate", "identity, gzip", "*", "x" * 999]
)
def test_decode_body_of_another_coding_is_refused(coding: str) -> None:
    """Other codings, and several at once, are errors that quote at most 64 characters of the name."""
    with pytest.raises(ValueError, match="was not accepted and is not decoded") as caught:
        decode_body(b"{}", coding, 100)
    assert repr(coding[:64]) in str(caught.value)
    assert len(str(caught.value)) < 150


@coders
def test_decode_body_without_a_byte_stays_empty(coding: str, encode: Encode) -> None:
    """Servers name a coding also where a response has no body, such as a 429; its status counts then."""
    assert encode(b"")
    assert decode_body(b"", coding, 100) == b""


@given(body=st.binary(max_size=300), coding=st.sampled_from([coding for coding, _ in CODED.values()]))
def test_decode_body_of_any_bytes_returns_a_body_or_a_reason(body: bytes, coding: str) -> None:
    """No bytes raise another exception than ValueError, or exceed the limit."""
    try:
        decoded = decode_body(body, coding, 200)
    except ValueError as fault:
        decoded = str(fault).partition(coding.strip().lower())[1].encode()
        assert decoded
    assert len(decoded) <= 200


@coders
def test_decode_body_of_a_bomb_takes_little_memory(coding: str, encode: Encode) -> None:
    """A body that would fill the memory is given up at the limit."""
    bomb = encode(bytes(50_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="more than 1000000 bytes"):
            decode_body(bomb, coding, 1_000_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_500_000
