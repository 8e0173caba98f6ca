"""The provider contract: what a provider of five members does without the optional ones."""

from __future__ import annotations

from typing import Any

import pytest

from aiowery import Provider, Request, Snapshot, TaskState
from aiowery._core.media import UploadFile
from aiowery.errors import AuthenticationError, UnexpectedResponse
from aiowery.typing import Accepted, HttpRequest, HttpResponse


class Smallest(Provider):
    """A provider with the five required members."""

    @property
    def name(self) -> str:
        """The provider's name."""
        return "Smallest"

    def encode(self, request: Request[Any]) -> HttpRequest:
        """Return a POST."""
        return HttpRequest("POST", request.endpoint)

    def decode_submission(self, request: Request[Any], response: HttpResponse) -> Accepted:  # noqa: ARG002 - one answer
        """Return a task id."""
        return Accepted(task_ids=(str(response.json()),))

    def status_request(self, task_id: str) -> HttpRequest:
        """Return a GET."""
        return HttpRequest("GET", f"/{task_id}")

    def decode_status(self, response: HttpResponse, task_id: str) -> Snapshot:  # noqa: ARG002 - one answer
        """Return a running task."""
        return Snapshot(task_id, TaskState.RUNNING)


FILE = UploadFile(b"x", "a.png", "image", "image/png", "d")
RESPONSE = HttpResponse(200, {}, b"{}")


def test_provider_without_optional_members_has_no_optional_requests() -> None:
    """No batch status, no upload, no webhook, no liveness read. Every request is valid and nothing contradicts."""
    provider, request = Smallest(), Request[Any]
    assert provider.batch_request("b") is None
    assert provider.upload_request(FILE) is None
    assert provider.liveness_request() is None
    assert provider.with_webhook(request(), "https://app.example/hook") is None
    assert provider.is_known_status("anything")
    assert not provider.contradicts_request(request(), Snapshot("t", TaskState.DONE), 0.0)
    assert AuthenticationError in provider.account_errors
    provider.validate(object())


@pytest.mark.parametrize("decode", ["decode_batch", "decode_upload"])
def test_provider_without_optional_members_decodes_none_of_them(decode: str) -> None:
    """A response that belongs to no request of the provider is an error that names the provider."""
    with pytest.raises(UnexpectedResponse, match="Smallest"):
        getattr(Smallest(), decode)(RESPONSE)
    with pytest.raises(UnexpectedResponse, match="sends no webhook deliveries"):
        Smallest().decode_delivery(b"{}")


@pytest.mark.parametrize(("body", "own"), [(b'{"error": 1}', True), (b"<html>", False), (b"[1]", False), (b"", False)])
def test_provider_default_recognizes_json_object_as_own_response(body: bytes, own: bool) -> None:
    """An error page of a proxy is not the provider's own rejection, so it leaves a paid submission in doubt."""
    assert Smallest().is_own_response(HttpResponse(502, {}, body)) == own


def test_provider_without_a_required_member_cannot_be_made() -> None:
    """A forgotten member is found when the provider is made, not when a submission has been paid for."""

    class Forgetful(Smallest):
        decode_status = Provider.decode_status

    with pytest.raises(TypeError, match="decode_status"):
        Forgetful()
