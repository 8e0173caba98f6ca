"""The sandbox implements WeryAI's contract, over a real socket."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from PIL import Image

from aiowery.sandbox import FAIL, MODERATED, STUCK, Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable

    Submit = Callable[..., httpx.Response]
    Finished = Callable[[str], dict[str, Any]]
    Post = Callable[..., dict[str, Any]]


def test_submit_response_has_shape_a(submit: Submit) -> None:
    """The data has a numeric batch id and one task id per image, in the envelope of a success."""
    response = submit(image_number=3)
    body = response.json()
    assert (response.status_code, body["status"], body["message"]) == (200, 0, "success")
    assert isinstance(body["data"]["batch_id"], int)
    assert len(set(body["data"]["task_ids"])) == 3
    assert all(task_id.startswith("task_") for task_id in body["data"]["task_ids"])


def test_response_has_a_unique_request_id(http: httpx.Client, submit: Submit) -> None:
    """Successes, refusals and unknown routes have an x-request-id, each a different one."""
    responses = [submit(), submit(prompt=""), http.get("/nowhere"), http.get("/v1/generation/balance")]
    assert len({response.headers["x-request-id"] for response in responses}) == 4


@pytest.mark.parametrize("header", [None, "Bearer sk-other", "Basic sk-sandbox", "Bearer", "sk-sandbox"])
def test_request_with_wrong_key_is_refused(shared_sandbox: Sandbox, header: str | None) -> None:
    """Every authorization except the bearer key gets HTTP 401 and code 1002."""
    headers = {} if header is None else {"Authorization": header}
    response = httpx.get(f"{shared_sandbox.url}/v1/generation/balance", headers=headers)
    assert (response.status_code, response.json()["status"]) == (401, 1002)
    assert response.json()["desc"] == "Authentication failed"


def test_keys_none_accepts_the_sk_prefix() -> None:
    """`keys=None` accepts keys that begin with sk- and refuses the rest."""
    with Sandbox(keys=None) as sandbox:
        url = f"{sandbox.url}/v1/generation/balance"
        codes = [httpx.get(url, headers={"Authorization": f"Bearer {key}"}).status_code for key in ("sk-1", "x")]
    assert codes == [200, 401]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": None}, "model cannot be empty"),
        ({"prompt": "  "}, "prompt cannot be empty"),
        ({"prompt": "x" * 2001}, "prompt exceeds the limit of 2000 characters"),
        ({"prompt": 5}, "prompt is not supported"),
        ({"aspect_ratio": "wide"}, "aspect ratio is not supported"),
        ({"aspect_ratio": "0:1"}, "aspect ratio is not supported"),
        ({"aspect_ratio": "7:5"}, "aspect ratio is not supported"),
        ({"model": "VEO_3_1"}, "model is not supported"),
        ({"negative_prompt": "x" * 1001}, "negative prompt exceeds the limit of 1000 characters"),
        ({"image_number": 0}, "image number is not supported"),
        ({"image_number": True}, "image number is not supported"),
        ({"image_number": "2"}, "image number is not supported"),
        ({"model": "WERYAI_IMAGE_1_0", "image_number": 2}, "image number is not supported"),
    ],
)
def test_submit_with_bad_parameter_is_refused(
    shared_sandbox: Sandbox, submit_shared: Submit, changes: dict[str, Any], message: str
) -> None:
    """HTTP 200 with code 1001 and the contract's message. Nothing is created or charged."""
    before = (len(shared_sandbox.weryai.tasks), shared_sandbox.weryai.charged)
    response = submit_shared(**changes)
    assert (response.status_code, response.json()["status"], response.json()["message"]) == (200, 1001, message)
    assert (len(shared_sandbox.weryai.tasks), shared_sandbox.weryai.charged) == before


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'"x"', b"null", b"\xff", b"[" * 100_000, b'{"a": NaN}', b'{"a": "\\ud800"}']
)
def test_submit_without_a_json_object_is_refused(submit_shared: Submit, content: bytes) -> None:
    """Invalid JSON and other JSON values get code 1001."""
    response = submit_shared(content)
    assert (response.status_code, response.json()["status"]) == (200, 1001)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "FLUX", "aspect_ratio": "7:5"},
        {"model": "GPT_IMAGE_2", "aspect_ratio": "16:9(2k)"},
        {"model": "SEEDREAM_4_5", "aspect_ratio": "2k"},
        {"prompt": "x" * 2000},
        {"parameter_of_tomorrow": [1]},
        {"negative_prompt": None},
        {"aspect_ratio": None},
    ],
)
def test_submit_with_undocumented_values_is_accepted(submit_shared: Submit, changes: dict[str, Any]) -> None:
    """Unknown parameters, literal ratios, any ratio without a list, none at all, and the limits are accepted."""
    assert submit_shared(**changes).json()["status"] == 0


def test_submit_to_weryai_image_1_0_starts_four_tasks(submit: Submit) -> None:
    """WERYAI_IMAGE_1_0 generates four images, with and without `image_number`."""
    assert len(submit(model="WERYAI_IMAGE_1_0").json()["data"]["task_ids"]) == 4
    assert len(submit(model="WERYAI_IMAGE_1_0", image_number=4).json()["data"]["task_ids"]) == 4


def test_submit_above_one_megabyte_is_refused(submit_shared: Submit) -> None:
    """HTTP 413, and the server continues."""
    assert submit_shared(b" " * 1_000_001).status_code == 413
    assert submit_shared().json()["status"] == 0


def test_task_succeeded_has_its_image(http: httpx.Client, submit: Submit, finished: Finished) -> None:
    """A success has an absolute URL at the sandbox, which returns a PNG of the right size."""
    data = finished(submit(aspect_ratio="16:9").json()["data"]["task_ids"][0])
    assert data["cost_credits"] == 1
    assert data["images"][0].startswith(str(http.base_url))
    with Image.open(io.BytesIO(httpx.get(data["images"][0]).content)) as picture:
        assert (picture.format, picture.size) == ("PNG", (512, 288))


def test_task_with_fail_marker_is_refunded(sandbox: Sandbox, submit: Submit, finished: Finished) -> None:
    """A failed task is a successful envelope with a reason, and its credit is refunded."""
    data = finished(submit(prompt=f"a {FAIL} cat").json()["data"]["task_ids"][0])
    assert data["task_status"] == "FAILED"
    assert data["msg"]
    assert (sandbox.weryai.credits, sandbox.weryai.charged, sandbox.weryai.refunded) == (10_000, 1, 1)


def test_submit_with_moderated_marker_is_refused(sandbox: Sandbox, submit: Submit) -> None:
    """Code 1005 at submission, and nothing is charged."""
    assert submit(prompt=f"a {MODERATED} cat").json()["status"] == 1005
    assert sandbox.weryai.charged == 0


def test_submit_beyond_in_flight_is_refused(sandbox: Sandbox, submit: Submit) -> None:
    """Code 6010 if one task more would run. The counter includes it."""
    assert submit(prompt=STUCK, image_number=20).json()["status"] == 0
    assert submit().json()["status"] == 6010
    assert (sandbox.weryai.active, sandbox.weryai.counters.too_many_tasks) == (20, 1)


def test_batch_status_has_all_tasks(http: httpx.Client, submit: Submit) -> None:
    """The batch lists its tasks in the order of the submission."""
    data = submit(prompt=STUCK, image_number=2).json()["data"]
    batch = http.get(f"/v1/generation/batch/{data['batch_id']}/status").json()["data"]
    assert [task["task_id"] for task in batch] == data["task_ids"]
    assert {task["task_status"] for task in batch} <= {"waiting", "processing"}


@pytest.mark.parametrize("path", ["task_0", "7", "batch/5", "batch/x", "9" * 5000, "batch/" + "9" * 5000, "%5B"])
def test_unknown_id_is_code_1003(shared_sandbox: Sandbox, path: str) -> None:
    """An unknown task or batch is a body code with HTTP 200."""
    headers = {"Authorization": f"Bearer {shared_sandbox.key}"}
    response = httpx.get(f"{shared_sandbox.url}/v1/generation/{path}/status", headers=headers)
    assert (response.status_code, response.json()["status"]) == (200, 1003)


def test_balance_is_a_number(http: httpx.Client, submit: Submit) -> None:
    """The data is the credits left after one was charged for each image."""
    submit(image_number=2)
    assert http.get("/v1/generation/balance").json()["data"] == 9_998


def test_counters_count_requests_and_connections(sandbox: Sandbox, http: httpx.Client, submit: Submit) -> None:
    """POSTs, polls by task, connections and the presence of credentials are counted."""
    task_id = submit(prompt=STUCK).json()["data"]["task_ids"][0]
    submit(prompt="")
    for _ in range(3):
        http.get(f"/v1/generation/{task_id}/status")
    httpx.get(f"{sandbox.url}/files/x.png")
    counters = sandbox.weryai.counters
    assert (counters.posts, counters.polls) == (2, {task_id: 3})
    assert (counters.connections, counters.connections_peak) == (2, 2)
    assert [record.authorization for record in counters.requests] == [True] * 5 + [False]
    assert math.isinf(sandbox.weryai.tasks[0].ends_at)


IMAGE = "https://example.com/a.png"
BROKEN = [
    "http://[",
    "http://[::1/a.png",
    "http://a:99999/a.png",
    "http://",
    "https://a b/a.png",
    "ftp://a/b",
    "data:,",
]


@pytest.fixture
def post_shared(shared_sandbox: Sandbox) -> Callable[..., dict[str, Any]]:
    """Return a function that posts to any path of the shared sandbox and returns the envelope."""

    def post_shared(path: str, **body: Any) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {shared_sandbox.key}"}
        response = httpx.post(f"{shared_sandbox.url}/v1/generation/{path}", headers=headers, json=body)
        assert response.status_code == 200, response.text
        envelope: dict[str, Any] = response.json()
        return envelope

    return post_shared


@pytest.mark.parametrize("broken", BROKEN)
def test_invalid_url_is_refused(post_shared: Post, broken: str) -> None:
    """An invalid URL of a file, a list item, a document or a receiver gets code 1001 and its name."""
    assert post_shared("image-repair", img_url=broken)["message"] == "image url error"
    assert post_shared("video-merge", video_urls=[broken, broken])["message"] == "video urls error"
    assert post_shared("file_search_stores", file_url=broken)["message"] == "file url error"
    assert post_shared("image-repair", img_url=IMAGE, webhook_url=broken)["message"] == "webhook url error"


@pytest.mark.parametrize("extension", ["gif", "GIF", "txt", "mp4", "%67if"])
def test_image_url_with_other_extension_is_refused(post_shared: Post, extension: str) -> None:
    """An extension of another kind of files is refused with the contract's message."""
    envelope = post_shared("image-repair", img_url=f"https://example.com/a.{extension}")
    assert (envelope["status"], envelope["message"]) == (1001, "only support jpg, jpeg, png, webp")


@pytest.mark.parametrize("end", ["a", "a.PNG", "a.jpeg?v=1.gif", "photo.v2", "image.php", "%5B1%5D.png", "a.png#b.gif"])
def test_image_url_with_unknown_extension_is_accepted(post_shared: Post, end: str) -> None:
    """URLs without an extension, or with an unknown one, may be images."""
    assert post_shared("image-repair", img_url=f"https://example.com/{end}")["status"] == 0
    assert post_shared("image-to-prompt", img_url=f"https://example.com/{end}", image_size=1)["status"] == 0


def test_document_url_with_a_number_is_accepted(post_shared: Post) -> None:
    """The text after the last dot is an extension only if it has letters."""
    assert post_shared("file_search_stores", file_url="https://example.com/papers/2401.00001")["status"] == 0


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("image-bg-change", {"img_url": IMAGE, "prompt": " "}, "prompt and bg_color"),
        ("music/generate", {"type": "ONLY_MUSIC", "description": " ", "styles": {}}, "description and styles"),
        ("speech-recognize", {"audio_url": " "}, "audio_url and audio_base64"),
        ("deep_research", {"input": "\t", "input_resource": []}, "input and input_resource"),
    ],
)
def test_blank_alternative_counts_as_missing(post_shared: Post, path: str, body: dict[str, Any], words: str) -> None:
    """A blank text does not count as one of the alternative parameters."""
    assert post_shared(path, **body)["message"] == f"{words} cannot both be empty"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("image-repair", {"img_url": IMAGE, "caller_id": ""}),
        ("image-repair", {"img_url": IMAGE, "caller_id": 2**63}),
        ("video-extend", {"video_url": IMAGE, "prompt": "on", "duration": " "}),
        ("effect-template", {"template_config_id": 1, "image_url": [IMAGE], "prompt_inputs": " "}),
        ("speech-recognize", {"audio_base64": "é"}),
        ("speech-recognize", {"audio_base64": "data:audio/wav;base64,é"}),
        ("deep_research", {"input": "why", "tools": [{"type": "FILE_SEARCH"}]}),
        ("deep_research", {"input": "why", "tools": [{"type": ["GOOGLE_SEARCH"]}]}),
        ("podcast/generate/task_0/audio", {"scripts": [{"speaker_id": "a", "content": 7}]}),
    ],
)
def test_unusual_value_is_refused(post_shared: Post, path: str, body: dict[str, Any]) -> None:
    """Unusual values get code 1001 instead of a server error."""
    assert post_shared(path, **body)["status"] == 1001


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("image-repair", {"img_url": "https://example.com/%5B%5Bfail%5D%5D.png"}),
        ("video-lips-change", {"video_url": IMAGE, "audio_url": "https://example.com/%5B%5Bfail%5D%5D.wav"}),
        ("music/generate", {"type": "VOCAL_SONG", "description": "a song", "lyrics": f"la {FAIL}"}),
        ("deep_research", {"input_resource": [{"type": "document", "url": f"https://example.com/{FAIL}.pdf"}]}),
    ],
)
def test_markers_without_a_prompt_apply(
    sandbox: Sandbox, http: httpx.Client, finished: Finished, path: str, body: dict[str, Any]
) -> None:
    """Markers in lyrics and URLs control requests without a prompt. The credits are refunded."""
    task_id = http.post(f"/v1/generation/{path}", json=body).json()["data"]["task_id"]
    assert finished(task_id)["task_status"] == "FAILED"
    assert sandbox.weryai.charged == sandbox.weryai.refunded > 0


def test_podcast_audio_with_fail_marker_fails(sandbox: Sandbox, http: httpx.Client, finished: Finished) -> None:
    """The second step fails by a marker in its lines. Its speakers have their listed names."""
    request = {"query": "tea", "speakers": ["spk-ja-04"], "language": "ja", "mode": "quick"}
    task_id = http.post("/v1/generation/podcast/generate/text", json=request).json()["data"]["task_id"]
    script: list[dict[str, Any]] = []
    while not script:
        script = http.get(f"/v1/generation/{task_id}/status").json()["data"].get("scripts", [])
    assert {line["speaker_name"] for line in script} == {"Ren"}
    lines = [{**line, "content": f"Hm. {FAIL}"} for line in script]
    http.post(f"/v1/generation/podcast/generate/{task_id}/audio", json={"scripts": lines})
    assert finished(task_id)["content_status"] == "audio-fail"
    assert (sandbox.weryai.charged, sandbox.weryai.refunded) == (3, 2)


def test_research_subject_is_the_readable_text(post_shared: Post) -> None:
    """Texts and URLs of resources are the subject, their types and bytes are not."""
    resources = [
        {"type": "text", "text": "Why do boats float?"},
        {"type": "image", "data": "iVBORw0KGgo="},
        {"type": "document", "uri": "https://example.com/boats.pdf"},
    ]
    envelope = post_shared("deep_research", model="GEMINI_25_PRO", input_resource=resources)
    title = envelope["data"]["deep_research_outputs"][0]["text"].partition("\n")[0]
    assert title.split() == ["#", "Why", "do", "boats", "float?", "https://example.com/boats.pdf"]


@pytest.mark.parametrize(
    ("path", "body", "credits"),
    [
        ("image-repair", {"img_url": IMAGE}, 1),
        ("video-upscaler", {"video_url": IMAGE}, 1),
        ("text-to-video", {"model": "SORA_2", "prompt": "sea", "duration": 4, "video_number": 2}, 10),
        ("music/generate", {"type": "ONLY_MUSIC", "description": "sea"}, 2),
        ("text-to-audio", {"text": "sea", "voice_id": 71}, 2),
        ("speech-recognize", {"audio_url": "https://example.com/a.wav"}, 1),
        ("deep_research", {"input": "why"}, 10),
        ("deep_research", {"input": "why", "model": "GEMINI_25_PRO"}, 10),
    ],
)
def test_request_costs_its_price(
    sandbox: Sandbox,
    http: httpx.Client,
    path: str,
    body: dict[str, Any],
    credits: int,  # noqa: A002 - the provider's term
) -> None:
    """An image or a tool costs one credit, a video five, a sound two, research ten."""
    assert http.post(f"/v1/generation/{path}", json=body).json()["status"] == 0
    assert sandbox.weryai.charged == credits
