"""The types that public signatures use, for your own annotations and for authors of providers.

    from aiowery.typing import DEFAULT, Timeout

    async def picture(prompt: str, timeout: Timeout = DEFAULT) -> bytes: ...

Importing this module loads the HTTP library, which `import aiowery` alone does not.
"""

from __future__ import annotations

from aiowery._base.public_names import publish
from aiowery._base.snapshot import AssetKind, Kind
from aiowery._client.batches import BatchEntry, BatchService
from aiowery._client.config import ClientConfig, ProviderInfo, make_config
from aiowery._client.in_doubt import RequestReader
from aiowery._client.stream import Requests
from aiowery._core.events import Event, Observer
from aiowery._core.media import Media, MediaSource, UploadFile
from aiowery._core.messages import HttpRequest, HttpResponse, MultipartForm, json_body
from aiowery._core.policies import OnDoubt
from aiowery._core.request import DEFAULT, Accepted, Timeout, Unset
from aiowery._core.request_types import RequestTypes
from aiowery._core.webhook_config import DeliveryHandler, DeliverySource, TaskDelivery
from aiowery._http.api_key import ApiKey
from aiowery._http.httpx_transport import HTTPChoice
from aiowery._journal.spending import PriceTable
from aiowery.webhook._dispatch import DecodeDelivery

__all__ = (
    "DEFAULT",
    "Accepted",
    "ApiKey",
    "AssetKind",
    "BatchEntry",
    "BatchService",
    "ClientConfig",
    "DecodeDelivery",
    "DeliveryHandler",
    "DeliverySource",
    "Event",
    "HTTPChoice",
    "HttpRequest",
    "HttpResponse",
    "Kind",
    "Media",
    "MediaSource",
    "MultipartForm",
    "Observer",
    "OnDoubt",
    "PriceTable",
    "ProviderInfo",
    "RequestReader",
    "RequestTypes",
    "Requests",
    "TaskDelivery",
    "Timeout",
    "Unset",
    "UploadFile",
    "json_body",
    "make_config",
)

publish(__name__)
