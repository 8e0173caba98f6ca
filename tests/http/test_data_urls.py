"""Outputs that a provider puts into its response as data URLs."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from aiowery import Asset
from aiowery.errors import DownloadError
from tests.support import PNG, http_response, peer
from tests.support.raw_providers import RAW_PROVIDERS

pytestmark = pytest.mark.anyio

RAW = RAW_PROVIDERS["weryai"]
ENCODED = base64.b64encode(PNG).decode()
FORMS = {
    "base64": f"data:image/png;base64,{ENCODED}",
    "capitals": f"DATA:image/PNG;BASE64,{ENCODED}",
    "parameter": f"data:image/png;name=a.png;base64,{ENCODED}",
    "no padding": f"data:image/png;base64,{ENCODED.rstrip('=')}",
    "other alphabet": f"data:image/png;base64,{base64.urlsafe_b64encode(PNG).decode()}",
    "line breaks": f"data:image/png;base64,{ENCODED[:9]}\n{ENCODED[9:]}",
    "percent": "data:image/png," + "".join(f"%{byte:02x}" for byte in PNG),
}


@pytest.mark.parametrize("url", FORMS.values(), ids=FORMS)
async def test_save_data_url_is_decoded_without_a_request(url: str, tmp_path: Path) -> None:
    """The file has the content and the suffix of the type. No server is asked."""
    async with peer(http_response("")) as server, RAW.client(server.url) as client:
        assert await client.fetch(Asset(url)) == PNG
        (path,) = await client.download(Asset(url, task_id="t1"), tmp_path)
    assert (path.name, path.read_bytes()) == ("t1.png", PNG)
    assert server.connections == 0


@pytest.mark.parametrize("url", ["data:image/png;base64", "data:image/png;base64,%%%", "data:;base64,A"])
async def test_fetch_data_url_that_cannot_be_decoded_raises_download_error(url: str) -> None:
    """The message is short, whatever the length of the URL."""
    async with peer(http_response("")) as server, RAW.client(server.url) as client:
        with pytest.raises(DownloadError, match="cannot be decoded") as caught:
            await client.fetch(Asset(url + "\u00e4" * 100_000))
    assert len(str(caught.value)) < 500
