"""What is checked is what is connected to: base URLs, files, webhook URLs and proxies, however odd their spelling."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import ipaddress
import re
from collections.abc import Awaitable, Callable, Iterator
from itertools import chain
from typing import Any, Final

import aiohappyeyeballs
import attrs
import httpx2
import idna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowery._core.urls import is_private
from aiowery._http.keyless import send_keyless
from aiowery._http.proxies import environment_proxy
from aiowery.errors import ConfigurationError, DownloadError, NoAnswer, TransportError
from aiowery.transport import _dial as dial_module
from aiowery.webhook import Webhooks
from tests.support import http_response, peer
from tests.transport.conformance import GET, WAYS, Way

Place = tuple[str, int]
BASE: Final = "https://api.example.com"
PUBLIC: Final = "93.184.215.14"
LOOPBACK: Final = "127.0.0.1"
TOKEN: Final = "0" * 32

SCHEMES: Final = (
    *("http://", "https://", "HTTP://", "hTTps://", "http:/", "http:///", "//", "http:\\\\", "ftp://", "http:", ""),
)
USERS: Final = (
    *("", "user@", "user:pa ss@", "127.0.0.1@", "8.8.8.8:80@", "127.0.0.1:80\\@", "a@b@", "%40@", "8.8.8.8#@"),
    *("8.8.8.8?@", "8.8.8.8/@", "8.8.8.8%2f@", "8.8.8.8\t@", "[::1]@", "[@", "]@"),
)
PRIVATE_HOSTS: Final = (
    *("127.0.0.1", "10.0.0.7", "169.254.169.254", "0.0.0.0", "[::1]", "[::]", "[fe80::1]", "[fc00::1]"),  # noqa: S104 - not bound to
    *("[::ffff:127.0.0.1]", "[::ffff:a9fe:a9fe]", "[64:ff9b::127.0.0.1]", "[64:ff9b::a9fe:a9fe]", "[2002:7f00:1::]"),
    *(
        "[::127.0.0.1]",
        "[2002:a9fe:a9fe::1]",
        "[2002:808:808::]",
        "127。0。0。1",
        "localhost",
        "LOCALHOST.",
        "files.localhost",
    ),
)
ODD_HOSTS: Final = (
    *("", ".", "..", "a..b", "-a.example", "127.1", "0x7f.0.0.1", "0177.0.0.1", "017700000001", "2130706433"),
    *("127.0.0.1.", "8.8.8.8.", "8.8.8.%38", "%38.8.8.8", "169.254.169.%32%35%34", "127.0.0.256", "1.2.3"),
    *("１２７.０.０.１", "ⓛocalhost", "ｆiles.example", "files.example\u200b", "[v1.fe]", "[::1", "::1", "x[::1]"),  # noqa: RUF001 - what is tested
    *("[fe80::1%1]", "[2606:4700::1111%1]", "[2606:4700::1111%251]", "xn--bche.example", "127。0。0。18080"),
    *("[8.8.8.8]", "[::ffff:8.8.8.8", "files example", "files,example", "files.example\x00", "a" * 64),
)
PUBLIC_HOSTS: Final = (
    *("8.8.8.8", "[2606:4700::1111]", "[2606:4700:0::1111]", "[::ffff:8.8.8.8]", "[::ffff:808:808]"),
    *("[64:ff9b::8.8.8.8]", "8。8。8。8", "files.example", "FILES.Example.", "a_b.example"),
    *("xn--bcher-kva.example", "bücher.example", "BÜCHER.example", "private.example"),
)
HOSTS: Final = (*PRIVATE_HOSTS, *ODD_HOSTS, *PUBLIC_HOSTS)
PORTS: Final = (
    *("", ":", ":80", ":443", ":8443", ":0080", ":0", ":65535", ":65536", ":-1", ":+80", ":8_0", ":８０", ":٨٠"),  # noqa: RUF001 - what is tested
    *(": 80", ":80 ", ":80:80", ":99999999", "8080", ":80\\", ":%38%30", ":x"),
)
TAILS: Final = (
    *("", "/", "/x.png", "/a b", "?q=@127.0.0.1", "#@127.0.0.1/", "/\\@127.0.0.1", "/..//127.0.0.1", "\\127.0.0.1"),
    *("\t", "\r\nhost: x", "%0d%0a", "/%0d%0ax: y", "\x00", "/a//b:c", ";x", "@127.0.0.1", ".127.0.0.1"),
)
ODD: Final = ("\t", "\r", "\n", "\\", "@", "#", "?", "%", "/", " ", "\u200b", ":", "[", "]", "\x00", "．", "０", "I")  # noqa: RUF001 - what is tested


def table() -> Iterator[str]:
    """Yield URLs with one odd part each."""
    for scheme in SCHEMES:
        yield f"{scheme}files.example/x.png"
    for host in HOSTS:
        yield from (f"http://{host}/x.png", f"https://{host}:8443")
    for host in ("8.8.8.8", "127.0.0.1", "[::1]", "[2606:4700::1111]", "files.example"):
        yield from (f"https://{user}{host}/" for user in USERS)
        yield from (f"https://{host}{port}/" for port in PORTS)
        yield from (f"http://{host}{tail}" for tail in TAILS)


TABLE: Final = tuple(table())
WHOLE: Final = st.builds("{}{}{}{}{}".format, *map(st.sampled_from, (SCHEMES, USERS, HOSTS, PORTS, TAILS)))


def inserted(url: str, character: str, place: int) -> str:
    """Return a URL with one more character."""
    place %= len(url) + 1
    return url[:place] + character + url[place:]


URLS: Final = WHOLE | st.builds(inserted, WHOLE, st.sampled_from(ODD), st.integers(0, 80))
SEVERAL: Final = st.lists(URLS, min_size=20, max_size=30)

_PLAIN: Final = re.compile(
    r"(https?)://(?:[^/?#\\]*@)?(\[[0-9a-f:.]+\]|[^\x00-\x20\x7f\s\[\]:/?#@\\%]+)(?::([0-9]{1,5})?)?(?![^/?#])",
    re.IGNORECASE,
)


def reading(url: str) -> Place | None:
    """Return the host and port that every reader finds in a URL; None for one that readers could read differently."""
    found = _PLAIN.match(url)
    if found is None:
        return None
    scheme, host, port = found.groups()
    return plain(host), int(port or {"http": 80, "https": 443}[scheme.lower()])


def plain(host: str) -> str:
    """Return a host in one spelling."""
    if not host.isascii():
        with contextlib.suppress(idna.IDNAError):
            host = idna.encode(host.lower()).decode()
    host = host.strip("[]").lower().removesuffix(".")
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
        return str(getattr(address, "ipv4_mapped", None) or address)
    return host


def address_of(host: str) -> str:
    """Return the address of a name in this network."""
    name = host.lower().removesuffix(".")
    if name == "private.example":
        return "10.0.0.7"
    return LOOPBACK if name.rpartition(".")[2] == "localhost" else PUBLIC


@attrs.define
class Network:
    """A network that refuses each connection, and records what was checked, looked up or connected to."""

    checked: list[str] = attrs.field(factory=list)
    dialled: list[Place] = attrs.field(factory=list)
    """The hosts and ports of the connections, before a name is looked up."""
    peers: list[str] = attrs.field(factory=list)
    """The addresses that were connected to; of names that httpx connects to, the names."""

    def forget(self) -> None:
        """Forget what was recorded."""
        for record in (self.checked, self.dialled, self.peers):
            record.clear()


@contextlib.contextmanager
def recording() -> Iterator[Network]:
    """Put a recording network in the place of sockets, for all transports."""
    network = Network()
    resolve = dial_module.Dialer._resolve

    def check(host: str) -> bool:
        network.checked.append(host)
        return is_private(host)

    async def record_origin(self: Any, origin: Any) -> Any:
        network.dialled.append((origin.host, origin.port))
        return await resolve(self, origin)

    async def look_up(_: object, host: str, port: int) -> list[Any]:
        return [dial_module._numeric(address_of(host), port)]

    async def refuse(addresses: list[Any], **_: Any) -> Any:
        network.peers.extend(info[4][0] for info in addresses)
        raise ConnectionRefusedError(111, "refused")

    def refusing(core: Any) -> Any:
        async def connect(_: object, host: str, port: int, **__: Any) -> Any:
            network.dialled.append((host, port))
            network.peers.append(host)
            raise core.ConnectError("refused")

        return connect

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("aiowery._http.foreign.is_private", check)
        patch.setattr(dial_module.Dialer, "_resolve", record_origin)
        patch.setattr(dial_module.Dialer, "_query_resolver", look_up)
        patch.setattr(aiohappyeyeballs, "start_connection", refuse)
        for name in ("httpcore", "httpcore2"):
            backends = importlib.import_module(f"{name}._backends.auto")
            patch.setattr(backends.AutoBackend, "connect_tcp", refusing(importlib.import_module(name)))
        yield network


def found_by(network: Network, url: str) -> Place | None:
    """Return the one place that was connected to, or was to be; it must be that of the URL. None if there was none."""
    if not network.dialled:
        return None
    ((host, port),) = network.dialled
    assert (plain(host), port) == reading(url), f"{url!r} led to {host} {port}"
    for address in network.peers:
        assert plain(address) in {plain(host), plain(address_of(host))}, url
    return plain(host), port


async def fetch_all(way: Way, urls: list[str] | tuple[str, ...]) -> list[Place | None]:
    """Download from each URL, and return the places that were connected to."""
    found = []
    with recording() as network:
        async with way.client(BASE) as client:
            for url in urls:
                network.forget()
                with contextlib.suppress(DownloadError, TransportError):
                    async with client.download(url, {}):
                        pytest.fail(f"{url!r} was answered")
                place = found_by(network, url)
                found.append(place)
                if place is not None:
                    assert place[0] in map(plain, network.checked) or place == ("api.example.com", 443), url
    return found


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
@given(urls=SEVERAL)
def test_download_connects_to_what_was_checked(way: Way, urls: list[str]) -> None:
    """Every reader finds the same host and port in a URL that is fetched, and the check has seen this host."""
    for place in asyncio.run(fetch_all(way, urls)):
        assert place is None or is_public(place[0]), place


def is_public(host: str) -> bool:
    """Return True for a host that is none of the private ones of these tests."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_global and host not in map(plain, PRIVATE_HOSTS)
    return host not in map(plain, PRIVATE_HOSTS)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_download_of_each_odd_url_is_refused_or_reaches_its_host(way: Way) -> None:
    """Private and odd hosts are not connected to, public ones are; a name is judged by its address where it can be."""
    urls = {
        host: f"{scheme}{host}/x.png"
        for scheme in ("http://", "https://")
        for host in (*PRIVATE_HOSTS, *ODD_HOSTS, *PUBLIC_HOSTS)
    }
    found = dict(zip(urls, asyncio.run(fetch_all(way, tuple(urls.values()))), strict=True))
    assert [host for host in (*PRIVATE_HOSTS, *ODD_HOSTS) if found[host] is not None] == []
    assert [host for host in PUBLIC_HOSTS if found[host] is None] == []
    for place in asyncio.run(fetch_all(way, TABLE)):
        assert place is None or is_public(place[0]), place


def test_download_of_a_name_with_a_private_address_connects_to_none() -> None:
    """Over the package's own connections the address is checked that would be connected to."""

    async def main() -> None:
        with recording() as network:
            async with WAYS[0].client(BASE) as client:
                with pytest.raises(DownloadError, match="private network"):
                    async with client.download("https://private.example/x.png", {}):
                        pass
        assert (network.dialled, network.peers) == ([("private.example", 443)], [])

    asyncio.run(main())


async def send_all(open_and_send: Callable[[str], Awaitable[None]], urls: list[str] | tuple[str, ...]) -> int:
    """Send a request to each URL that is accepted; it must connect to the URL's host. Return how many were accepted."""
    accepted = 0
    with recording() as network:
        for url in urls:
            network.forget()
            try:
                await open_and_send(url)
            except ConfigurationError:
                assert not network.dialled, url
                continue
            except TransportError:
                accepted += 1
            place = found_by(network, url)
            if place is None:  # httpx refuses what is invalid Punycode, and sends nothing
                assert "xn--" in url.lower(), url
                continue
            is_loopback = place[0] in {"127.0.0.1", "::1"} or place[0].rpartition(".")[2] == "localhost"
            assert url.lower().startswith("https:") or is_loopback, url
    return accepted


def sending_over(way: Way) -> Callable[[str], Awaitable[None]]:
    """Return a function that opens a client with this base URL, and sends a request with the key."""

    async def send(url: str) -> None:
        async with way.client(url) as client:
            await client.send(GET)

    return send


async def send_to_webhook(url: str) -> None:
    """Send what a provider would send to the URL of a submission below this public URL."""
    address = Webhooks(public_url=url).address(TOKEN)
    assert reading(address) == reading(url)
    assert address.endswith(f"/{TOKEN}")
    await send_keyless("POST", address.removesuffix(f"/{TOKEN}"), f"/{TOKEN}", timeout=5)


# A client that loads no certificates: each URL needs one of its own.
QUICK: Final = Way("httpx2", 1, lambda: httpx2.AsyncClient(verify=False))
SENDERS: Final = {
    **{way.name: sending_over(QUICK if way.name == QUICK.name else way) for way in WAYS},
    "webhook": send_to_webhook,
}


@pytest.mark.parametrize("send", SENDERS.values(), ids=SENDERS)
def test_url_with_a_secret_is_refused_or_connects_to_its_host(send: Callable[[str], Awaitable[None]]) -> None:
    """A base URL or public URL that is accepted is read alike by all; plain HTTP reaches this machine alone."""
    assert asyncio.run(send_all(send, TABLE)) > 20


@pytest.mark.parametrize("send", SENDERS.values(), ids=SENDERS)
@given(urls=SEVERAL)
def test_any_url_with_a_secret_is_refused_or_connects_to_its_host(
    send: Callable[[str], Awaitable[None]], urls: list[str]
) -> None:
    """No spelling lets the key, or the secret of a submission, go elsewhere."""
    asyncio.run(send_all(send, urls))


async def send_through(proxies: list[str] | tuple[str, ...]) -> int:
    """Send a request through each proxy that is accepted; it must connect to the proxy's host. Return the number."""
    accepted = 0
    with recording() as network, pytest.MonkeyPatch.context() as patch:
        for given in proxies:
            network.forget()
            proxy = given.replace("\0", "")
            patch.setenv("https_proxy", proxy)
            try:
                async with WAYS[0].client(BASE) as client:
                    await client.send(GET)
            except ConfigurationError:
                assert not network.dialled, proxy
                continue
            except TransportError:
                accepted += 1
            found = environment_proxy(BASE, {"https_proxy": proxy})
            places = [(plain(host), port) for host, port in network.dialled]
            if found is None:  # an empty text is no proxy
                assert places == [("api.example.com", 443)], proxy
                continue
            ports = {"http": 80, "https": 443}
            host = found.url.raw_host.decode("ascii")
            assert places == [(plain(host), found.url.port or ports[found.url.scheme])], proxy
            text = proxy.strip()
            read = reading(text if "://" in text else f"http://{text}")
            # A backslash may belong to the name of a user: DOMAIN\user.
            assert places == [read] or (read is None and "\\" in text.rpartition("@")[0]), proxy
    return accepted


def test_proxy_of_each_odd_spelling_is_refused_or_connected_to() -> None:
    """The proxy that the variable names is the one that gets the request."""
    assert asyncio.run(send_through([url for url in TABLE if "socks" not in url])) > 20


@given(proxies=SEVERAL)
def test_proxy_of_any_spelling_is_refused_or_connected_to(proxies: list[str]) -> None:
    """No spelling sends requests through another host than the one that was read."""
    asyncio.run(send_through(proxies))


@pytest.mark.parametrize(
    "url",
    [
        url
        for url in chain(TABLE)
        if (place := reading(url)) and url.startswith("https://") and "@" not in url and "xn--bche" not in url
    ],
)
def test_no_proxy_names_the_host_that_is_connected_to(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that NO_PROXY exempts is connected to directly, any other one through the proxy."""

    async def dialled(no_proxy: str) -> list[Place]:
        monkeypatch.setenv("no_proxy", no_proxy)
        with recording() as network, contextlib.suppress(TransportError):
            async with WAYS[0].client(url) as client:
                await client.send(GET)
        return [(plain(host), port) for host, port in network.dialled]

    place = reading(url)
    assert place is not None
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    with contextlib.suppress(ConfigurationError):
        assert asyncio.run(dialled(place[0])) == [place]
        is_local = place[0] in {"::1", LOOPBACK} or place[0].rpartition(".")[2] == "localhost"
        assert asyncio.run(dialled("other.example")) == [place if is_local else ("proxy.example", 3128)]


@pytest.mark.anyio
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
async def test_download_in_another_spelling_reaches_the_same_server(way: Way) -> None:
    """On real sockets: a spelling of the same host is fetched without credentials, another one is refused."""
    async with peer(http_response("file")) as server, way.client(server.url) as client:
        place = server.url.removeprefix("http://")
        port = place.rpartition(":")[2]
        same = (f"http://{place}/", f"HTTP://{place}", f"http://user:pass@{place}/", f"http://127。0。0。1:{port}/")
        for url in same:
            async with client.download(url, {}) as body:
                assert [chunk async for chunk in body.chunks()] == [b"file"]
        odd = (
            f"http://127.1:{port}/",
            f"http://0x7f.0.0.1:{port}/",
            f"http://{place}\\@8.8.8.8/",
            f"http://{place}_0/",
        )
        for url in odd:
            with pytest.raises((DownloadError, NoAnswer), match="nothing was fetched"):
                async with client.download(url, {}):
                    pass
    assert len(server.requests) == len(same)
    for request in server.requests:
        assert f"\r\nhost: {place}\r\n".encode() in request.lower()
        assert b"authorization" not in request.lower()
