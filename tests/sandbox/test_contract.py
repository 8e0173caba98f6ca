"""The sandbox speaks the contract, over a real socket."""

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
    Tell = Callable[..., dict[str, Any]]


def test_a_submission_answers_shape_a(submit: Submit) -> None:
    """A batch id as number and one task id per picture, in the envelope of a success."""
    answer = submit(image_number=3)
    body = answer.json()
    assert (answer.status_code, body["status"], body["message"]) == (200, 0, "success")
    assert isinstance(body["data"]["batch_id"], int)
    assert len(set(body["data"]["task_ids"])) == 3
    assert all(task_id.startswith("task_") for task_id in body["data"]["task_ids"])


def test_every_answer_carries_its_own_request_id(http: httpx.Client, submit: Submit) -> None:
    """Success, refusal and unknown route alike have an x-request-id, never the same twice."""
    answers = [submit(), submit(prompt=""), http.get("/nowhere"), http.get("/v1/generation/balance")]
    assert len({answer.headers["x-request-id"] for answer in answers}) == 4


@pytest.mark.parametrize("header", [None, "Bearer sk-other", "Basic sk-sandbox", "Bearer", "sk-sandbox"])
def test_a_wrong_key_is_refused(calm: Sandbox, header: str | None) -> None:
    """HTTP 401 and envelope 1002 for every authorization that is not the bearer key."""
    headers = {} if header is None else {"Authorization": header}
    answer = httpx.get(f"{calm.url}/v1/generation/balance", headers=headers)
    assert (answer.status_code, answer.json()["status"]) == (401, 1002)
    assert answer.json()["desc"] == "Authentication failed"


def test_without_keys_any_key_of_the_right_form_is_accepted() -> None:
    """`keys=None` accepts what begins with sk- and refuses the rest."""
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
        ({"aspect_ratio": None}, "aspect ratio cannot be empty"),
        ({"aspect_ratio": "wide"}, "aspect ratio is not supported"),
        ({"aspect_ratio": "0:1"}, "aspect ratio is not supported"),
        ({"negative_prompt": "x" * 1001}, "negative prompt exceeds the limit of 1000 characters"),
        ({"image_number": 0}, "image number is not supported"),
        ({"image_number": True}, "image number is not supported"),
        ({"image_number": "2"}, "image number is not supported"),
        ({"model": "WERYAI_IMAGE_1_0", "image_number": 2}, "image number is not supported"),
    ],
)
def test_a_bad_parameter_is_named(calm: Sandbox, ask: Submit, changes: dict[str, Any], message: str) -> None:
    """HTTP 200, code 1001, the contract's words; nothing is created or charged."""
    before = (len(calm.weryai.tasks), calm.weryai.charged)
    answer = ask(**changes)
    assert (answer.status_code, answer.json()["status"], answer.json()["message"]) == (200, 1001, message)
    assert (len(calm.weryai.tasks), calm.weryai.charged) == before


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'"x"', b"null", b"\xff", b"[" * 100_000, b'{"a": NaN}', b'{"a": "\\ud800"}']
)
def test_a_body_that_is_no_object_is_a_parameter_error(ask: Submit, content: bytes) -> None:
    """Invalid JSON and JSON of another kind both answer 1001."""
    answer = ask(content)
    assert (answer.status_code, answer.json()["status"]) == (200, 1001)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "A_MODEL_OF_TOMORROW"},
        {"aspect_ratio": "16:9(2k)"},
        {"aspect_ratio": "2k"},
        {"prompt": "x" * 2000},
        {"parameter_of_tomorrow": [1]},
        {"negative_prompt": None},
    ],
)
def test_what_the_contract_leaves_open_is_accepted(ask: Submit, changes: dict[str, Any]) -> None:
    """Unknown models and parameters, literal ratios and limits themselves pass."""
    assert ask(**changes).json()["status"] == 0


def test_the_model_with_a_fixed_number_makes_four(submit: Submit) -> None:
    """WERYAI_IMAGE_1_0 makes four pictures, asked or not."""
    assert len(submit(model="WERYAI_IMAGE_1_0").json()["data"]["task_ids"]) == 4
    assert len(submit(model="WERYAI_IMAGE_1_0", image_number=4).json()["data"]["task_ids"]) == 4


def test_a_body_beyond_a_megabyte_is_refused(ask: Submit) -> None:
    """HTTP 413, and the server goes on."""
    assert ask(b" " * 1_000_001).status_code == 413
    assert ask().json()["status"] == 0


def test_a_task_ends_with_its_picture(http: httpx.Client, submit: Submit, finished: Finished) -> None:
    """Success carries an absolute url at the sandbox, which gives a PNG of the right shape."""
    data = finished(submit(aspect_ratio="16:9").json()["data"]["task_ids"][0])
    assert data["cost_credits"] == 1
    assert data["images"][0].startswith(str(http.base_url))
    with Image.open(io.BytesIO(httpx.get(data["images"][0]).content)) as picture:
        assert (picture.format, picture.size) == ("PNG", (512, 288))


def test_a_marked_prompt_fails_and_is_refunded(sandbox: Sandbox, submit: Submit, finished: Finished) -> None:
    """A failed task is a successful envelope with a reason; its credit comes back."""
    data = finished(submit(prompt=f"a {FAIL} cat").json()["data"]["task_ids"][0])
    assert data["task_status"] == "FAILED"
    assert data["msg"]
    assert (sandbox.weryai.credits, sandbox.weryai.charged, sandbox.weryai.refunded) == (10_000, 1, 1)


def test_a_moderated_prompt_is_refused(sandbox: Sandbox, submit: Submit) -> None:
    """Code 1005 at submission, uncharged."""
    assert submit(prompt=f"a {MODERATED} cat").json()["status"] == 1005
    assert sandbox.weryai.charged == 0


def test_more_tasks_than_allowed_are_refused(sandbox: Sandbox, submit: Submit) -> None:
    """Code 6010 as soon as one task more would run; the counter sees it."""
    assert submit(prompt=STUCK, image_number=20).json()["status"] == 0
    assert submit().json()["status"] == 6010
    assert (sandbox.weryai.active, sandbox.weryai.counters.too_many_tasks) == (20, 1)


def test_a_batch_tells_of_all_its_tasks(http: httpx.Client, submit: Submit) -> None:
    """The batch lists its tasks in the order of the submission."""
    data = submit(prompt=STUCK, image_number=2).json()["data"]
    batch = http.get(f"/v1/generation/batch/{data['batch_id']}/status").json()["data"]
    assert [task["task_id"] for task in batch] == data["task_ids"]
    assert {task["task_status"] for task in batch} <= {"waiting", "processing"}


@pytest.mark.parametrize("path", ["task_0", "7", "batch/5", "batch/x", "9" * 5000, "batch/" + "9" * 5000, "%5B"])
def test_what_does_not_exist_is_1003(calm: Sandbox, path: str) -> None:
    """An unknown task or batch is a body code with HTTP 200."""
    headers = {"Authorization": f"Bearer {calm.key}"}
    answer = httpx.get(f"{calm.url}/v1/generation/{path}/status", headers=headers)
    assert (answer.status_code, answer.json()["status"]) == (200, 1003)


def test_the_balance_is_a_bare_number(http: httpx.Client, submit: Submit) -> None:
    """Credits left, after charging one for each picture."""
    submit(image_number=2)
    assert http.get("/v1/generation/balance").json()["data"] == 9_998


def test_counters_tell_what_was_received(sandbox: Sandbox, http: httpx.Client, submit: Submit) -> None:
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
def tell(calm: Sandbox) -> Callable[..., dict[str, Any]]:
    """Give a function that posts to any address of the shared sandbox and returns the envelope."""

    def tell(path: str, **body: Any) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {calm.key}"}
        answer = httpx.post(f"{calm.url}/v1/generation/{path}", headers=headers, json=body)
        assert answer.status_code == 200, answer.text
        envelope: dict[str, Any] = answer.json()
        return envelope

    return tell


@pytest.mark.parametrize("broken", BROKEN)
def test_what_is_no_address_is_refused(tell: Tell, broken: str) -> None:
    """However an address is broken, of a file, of a list's item, of a document or of a receiver: 1001 names it."""
    assert tell("image-repair", img_url=broken)["message"] == "image url error"
    assert tell("video-merge", video_urls=[broken, broken])["message"] == "video urls error"
    assert tell("file_search_stores", file_url=broken)["message"] == "file url error"
    assert tell("image-repair", img_url=IMAGE, webhook_url=broken)["message"] == "webhook url error"


@pytest.mark.parametrize("ending", ["gif", "GIF", "txt", "mp4", "%67if"])
def test_a_file_of_another_kind_is_no_picture(tell: Tell, ending: str) -> None:
    """An ending that is known to be something else is refused in the words of the contract."""
    said = tell("image-repair", img_url=f"https://example.com/a.{ending}")
    assert (said["status"], said["message"]) == (1001, "only support jpg, jpeg, png, webp")


@pytest.mark.parametrize("end", ["a", "a.PNG", "a.jpeg?v=1.gif", "photo.v2", "image.php", "%5B1%5D.png", "a.png#b.gif"])
def test_a_picture_needs_no_ending(tell: Tell, end: str) -> None:
    """Addresses without an ending, or with one that says nothing, may well be pictures."""
    assert tell("image-repair", img_url=f"https://example.com/{end}")["status"] == 0
    assert tell("image-to-prompt", img_url=f"https://example.com/{end}", image_size=1)["status"] == 0


def test_a_document_may_have_a_number_for_its_name(tell: Tell) -> None:
    """What follows the last dot is an ending only if it has letters."""
    assert tell("file_search_stores", file_url="https://example.com/papers/2401.00001")["status"] == 0


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("image-bg-change", {"img_url": IMAGE, "prompt": " "}, "prompt and bg_color"),
        ("music/generate", {"type": "ONLY_MUSIC", "description": " ", "styles": {}}, "description and styles"),
        ("speech-recognize", {"audio_url": " "}, "audio_url and audio_base64"),
        ("deep_research", {"input": "\t", "input_resource": []}, "input and input_resource"),
    ],
)
def test_of_two_parameters_a_blank_one_counts_for_nothing(
    tell: Tell, path: str, body: dict[str, Any], words: str
) -> None:
    """Spaces are not the one parameter of which at least one is needed."""
    assert tell(path, **body)["message"] == f"{words} cannot both be empty"


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
def test_a_value_that_fits_nothing_is_a_parameter_error(tell: Tell, path: str, body: dict[str, Any]) -> None:
    """Odd values are refused in words, where a careless server would break."""
    assert tell(path, **body)["status"] == 1001


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("image-repair", {"img_url": "https://example.com/%5B%5Bfail%5D%5D.png"}),
        ("video-lips-change", {"video_url": IMAGE, "audio_url": "https://example.com/%5B%5Bfail%5D%5D.wav"}),
        ("music/generate", {"type": "VOCAL_SONG", "description": "a song", "lyrics": f"la {FAIL}"}),
        ("deep_research", {"input_resource": [{"type": "document", "url": f"https://example.com/{FAIL}.pdf"}]}),
    ],
)
def test_marks_work_where_there_is_no_prompt(
    sandbox: Sandbox, http: httpx.Client, finished: Finished, path: str, body: dict[str, Any]
) -> None:
    """Lyrics and addresses decide the fate of what has nothing else to say, and the credits come back."""
    task_id = http.post(f"/v1/generation/{path}", json=body).json()["data"]["task_id"]
    assert finished(task_id)["task_status"] == "FAILED"
    assert sandbox.weryai.charged == sandbox.weryai.refunded > 0


def test_voices_fail_by_a_mark_in_their_lines(sandbox: Sandbox, http: httpx.Client, finished: Finished) -> None:
    """The second step has a fate of its own, and its speakers the names that the list gives them."""
    order = {"query": "tea", "speakers": ["spk-ja-04"], "language": "ja", "mode": "quick"}
    task_id = http.post("/v1/generation/podcast/generate/text", json=order).json()["data"]["task_id"]
    script: list[dict[str, Any]] = []
    while not script:
        script = http.get(f"/v1/generation/{task_id}/status").json()["data"].get("scripts", [])
    assert {line["speaker_name"] for line in script} == {"Ren"}
    lines = [{**line, "content": f"Hm. {FAIL}"} for line in script]
    http.post(f"/v1/generation/podcast/generate/{task_id}/audio", json={"scripts": lines})
    assert finished(task_id)["content_status"] == "audio-fail"
    assert (sandbox.weryai.charged, sandbox.weryai.refunded) == (3, 2)


def test_research_repeats_what_a_reader_sees(tell: Tell) -> None:
    """Texts and addresses of resources are the subject; their types and bytes are not."""
    resources = [
        {"type": "text", "text": "Why do boats float?"},
        {"type": "image", "data": "iVBORw0KGgo="},
        {"type": "document", "uri": "https://example.com/boats.pdf"},
    ]
    said = tell("deep_research", model="GEMINI_25_PRO", input_resource=resources)
    title = said["data"]["deep_research_outputs"][0]["text"].partition("\n")[0]
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
def test_prices(sandbox: Sandbox, http: httpx.Client, path: str, body: dict[str, Any], credits: int) -> None:  # noqa: A002 - the provider's word
    """A picture or a tool costs one credit, a video five, a sound two, research ten."""
    assert http.post(f"/v1/generation/{path}", json=body).json()["status"] == 0
    assert sandbox.weryai.charged == credits
