"""Requests of other hosts and of their pages: a sandbox serves them only if it was told where to listen."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowery.sandbox import Sandbox
from aiowery.sandbox._http.own_hosts import foreign_header

OWN = ["127.0.0.1", "127.0.0.1:8765", "localhost", "LOCALHOST:1", "localhost.", "[::1]", "[::1]:80", "app.localhost:9"]
FOREIGN = [
    *("evil.example", "evil.example:8765", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.7"),
    *("169.254.169.254", "[2001:db8::1]", "notlocalhost", "", "[", "127.0.0.1@evil.example", "a b", "évil"),
]
BODY = {"model": "WERYAI_IMAGE_2_0", "prompt": "hills", "aspect_ratio": "1:1"}


@pytest.fixture(scope="module")
def own() -> Iterator[Sandbox]:
    """Yield a sandbox on loopback, as it starts by default."""
    with Sandbox(in_flight=1000) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def anywhere() -> Iterator[Sandbox]:
    """Yield a sandbox that was told where to listen."""
    with Sandbox(in_flight=1000, host="127.0.0.1") as sandbox:
        yield sandbox


def submit(sandbox: Sandbox, **headers: str) -> httpx.Response:
    """Submit a picture with these headers."""
    return httpx.post(
        f"{sandbox.url}/v1/generation/text-to-image",
        json=BODY,
        headers={"authorization": f"Bearer {sandbox.key}", **headers},
    )


@pytest.mark.parametrize("host", OWN)
def test_own_host_is_served(own: Sandbox, host: str) -> None:
    """Every name of this machine is served, also as the origin of a page."""
    assert submit(own, host=host).json()["status"] == 0
    for scheme in ("http", "https"):
        assert submit(own, origin=f"{scheme}://{host}").json()["status"] == 0


@pytest.mark.parametrize("host", [host for host in FOREIGN if host not in {"", "[", "a b", "évil"}])
def test_foreign_host_is_refused(own: Sandbox, anywhere: Sandbox, host: str) -> None:
    """A name that a stranger has pointed at this machine, and a page of another site, create and charge nothing."""
    before = own.weryai.charged
    for headers in ({"host": host}, {"origin": f"https://{host}"}, {"origin": f"http://{host}:80"[:60]}):
        response = submit(own, **headers)
        assert (response.status_code, response.json()["status"]) == (403, 1009)
        assert "--host" in response.json()["message"]
        assert submit(anywhere, **headers).status_code == 200
    assert own.weryai.charged == before


@pytest.mark.parametrize("origin", ["null", "file://", "evil", "https://127.0.0.1.evil.example"])
def test_origin_without_own_host_is_refused(own: Sandbox, origin: str) -> None:
    """Pages in a sandboxed frame, or from a file, count as foreign."""
    assert submit(own, origin=origin).status_code == 403


def test_foreign_host_is_refused_by_each_provider_in_its_own_format(own: Sandbox) -> None:
    """Each provider's routes and unknown paths refuse, and the refusal is counted as a request."""
    before = len(own.weryai.counters.requests)
    headers = {"host": "evil.example"}
    assert "error" in httpx.post(f"{own.url}/api/v1/generate", json={}, headers=headers).json()
    assert httpx.post(f"{own.url}/v1/images/generate", json={}, headers=headers).json()["success"] is False
    assert httpx.get(f"{own.url}/nowhere", headers=headers).status_code == 403
    assert httpx.get(f"{own.url}/files/x.png", headers=headers).status_code == 403
    assert len(own.weryai.counters.requests) == before + 4


def test_sandbox_on_all_addresses_has_a_loopback_url() -> None:
    """A client on this machine reaches it by the URL that it has, and other names are served too."""
    with Sandbox(host="0.0.0.0") as sandbox:  # noqa: S104 - what is tested
        assert sandbox.url.startswith("http://127.0.0.1:")
        assert submit(sandbox, host="sandbox.internal:8765").json()["status"] == 0


@given(
    st.lists(st.tuples(st.sampled_from([b"host", b"origin", b"x"]), st.binary(max_size=40)), max_size=4),
    st.sampled_from(FOREIGN),
)
def test_foreign_header_of_any_bytes_is_a_text_or_none(headers: list[tuple[bytes, bytes]], host: str) -> None:
    """No bytes raise, and a foreign host is found wherever it stands."""
    found = foreign_header(headers)
    assert found is None or found.startswith(("Host: ", "Origin: "))
    foreign = (b"host", host.encode("latin-1"))
    assert foreign_header([*headers, foreign]) is not None
