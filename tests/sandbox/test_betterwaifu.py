"""The sandbox speaks BetterWaifu's contract in both editions, over a real socket."""

from __future__ import annotations

import contextlib
import io
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from PIL import Image

from aiowery.sandbox import FAIL, MODERATED, STUCK, Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable

    Send = Callable[..., httpx.Response]
    Ended = Callable[[str], dict[str, Any]]

FOR_EVER = 1e9
JOB = {"prompt": "hills", "model_version_id": 814910}


def client(sandbox: Sandbox) -> httpx.Client:
    """Make a client for a sandbox of the test's own."""
    headers = {"Authorization": f"Bearer {sandbox.key}"}
    return httpx.Client(base_url=sandbox.url, headers=headers, timeout=10, trust_env=False)


def picture(url: str) -> tuple[str | None, tuple[int, int]]:
    """Fetch a picture without a key, and return its form and size."""
    answer = httpx.get(url, trust_env=False)
    assert answer.status_code == 200
    with Image.open(io.BytesIO(answer.content)) as image:
        image.load()
        assert answer.headers["content-type"] == f"image/{str(image.format).lower()}"
        return image.format, image.size


def test_a_job_is_accepted_as_queued(generate: Send) -> None:
    """HTTP 201 with the id, the status and the place in the queue, and nothing else."""
    answer = generate()
    body = answer.json()
    assert answer.status_code == 201
    assert re.fullmatch(r"job_[a-z0-9]{12}", body["id"])
    assert body == {"id": body["id"], "status": "queued", "queue_position": 3}


def test_a_job_ends_with_its_picture(sandbox: Sandbox, generate: Send, ended: Ended) -> None:
    """Success carries one image, url and id, and a seed for the whole; the url gives a WebP of the asked shape."""
    body = ended(generate(width=1024, height=512, seed=7).json()["id"])
    (image,) = body["output"]["images"]
    assert set(body) == {"id", "status", "output"}
    assert (body["status"], body["output"]["seed"]) == ("succeeded", 7)
    assert set(image) == {"url", "id"}
    assert re.fullmatch(r"[A-Za-z0-9]{16}", image["id"])
    assert image["id"] not in image["url"]
    assert image["url"].startswith(f"{sandbox.url}/images/")
    assert image["url"].endswith(".webp")
    assert picture(image["url"]) == ("WEBP", (512, 256))


def test_a_job_says_only_what_its_stage_knows() -> None:
    """First queued with a position that never rises, then processing without one, then the output."""
    with Sandbox(speed=30) as sandbox, client(sandbox) as http:
        told = [http.post("/api/v1/generate", json=JOB).json()]
        while told[-1]["status"] != "succeeded":
            told.append(http.get(f"/api/v1/generate/{told[0]['id']}").json())
    order = ["queued", "processing", "succeeded"]
    stages = [order.index(body["status"]) for body in told]
    positions = [body["queue_position"] for body in told if body["status"] == "queued"]
    assert (stages, positions) == (sorted(stages), sorted(positions, reverse=True))
    assert set(positions) <= {3, 2, 1}
    assert {frozenset(body) for body in told if body["status"] == "processing"} <= {frozenset({"id", "status"})}


def test_a_failed_job_is_told_with_http_200(sandbox: Sandbox, generate: Send, ended: Ended) -> None:
    """A plain text says why, and the credit comes back."""
    body = ended(generate(prompt=FAIL).json()["id"])
    assert set(body) == {"id", "status", "error"}
    assert (body["status"], type(body["error"])) == ("failed", str)
    assert (sandbox.betterwaifu.charged, sandbox.betterwaifu.refunded, sandbox.betterwaifu.credits) == (1, 1, 10_000)


def test_models_are_listed_with_all_their_fields(http: httpx.Client) -> None:
    """Eight checkpoints by name, the documented two among them, one without a cover; covers open."""
    body = http.get("/api/v1/models").json()
    models = {model["id"]: model for model in body["models"]}
    assert body["count"] == len(models) == 8
    members = {"id", "name", "model_name", "base_model", "type", "filename", "cover_image", "nsfw"}
    assert all(set(model) == members for model in body["models"])
    assert (models[814910]["model_name"], models[814910]["name"]) == ("tPonynai3", "v6.5")
    assert (models[1496755]["model_name"], models[1496755]["base_model"]) == ("Amanatsu", "Illustrious")
    names = [(model["model_name"].lower(), model["name"]) for model in body["models"]]
    assert names == sorted(names)
    covers = [model["cover_image"] for model in body["models"]]
    assert covers.count(None) == 1
    assert picture(next(filter(None, covers)))[0] == "WEBP"


def test_the_account_tells_credits_and_subscription(http: httpx.Client, generate: Send) -> None:
    """A credit less after a picture; the subscription's end is written in camel case, with milliseconds."""
    generate()
    body = http.get("/api/v1/account").json()
    assert (set(body), body["credits"]) == ({"username", "credits", "subscription"}, 9999)
    assert set(body["subscription"]) == {"status", "plan", "endDate"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", body["subscription"]["endDate"])


def test_without_a_subscription_no_job_is_accepted() -> None:
    """HTTP 403 for the POST, null in the account; reading is free."""
    with Sandbox(subscription=False) as sandbox, client(sandbox) as http:
        answer = http.post("/api/v1/generate", json=JOB)
        assert (answer.status_code, list(answer.json())) == (403, ["error"])
        assert http.get("/api/v1/account").json()["subscription"] is None
        assert http.get("/api/v1/models").status_code == 200
        assert sandbox.betterwaifu.generations == ()


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "generate"), ("GET", "generate/job_x"), ("GET", "models"), ("GET", "account")],
)
@pytest.mark.parametrize("header", [None, "Bearer sk-other", "Basic sk-sandbox"])
def test_a_wrong_key_is_refused(calm: Sandbox, method: str, path: str, header: str | None) -> None:
    """HTTP 401 with the documented text, for every call of the jobs edition."""
    headers = {} if header is None else {"Authorization": header}
    answer = httpx.request(method, f"{calm.jobs_url}/{path}", headers=headers)
    assert (answer.status_code, answer.json()) == (401, {"error": "Invalid or missing API key"})


def test_keys_of_the_provider_are_accepted_when_none_are_named() -> None:
    """With `keys=None` bw_ opens BetterWaifu and not WeryAI; sk- opens both."""
    with Sandbox(keys=None) as sandbox:
        urls = (f"{sandbox.jobs_url}/account", f"{sandbox.url}/v1/generation/balance")
        codes = {
            key: [httpx.get(url, headers={"Authorization": f"Bearer {key}"}).status_code for url in urls]
            for key in ("bw_1", "sk-1", "other")
        }
    assert codes == {"bw_1": [200, 401], "sk-1": [200, 200], "other": [401, 401]}


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": " "}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"negative_prompt": 5}, "negative_prompt"),
        ({"model_version_id": None}, "model_version_id"),
        ({"model_version_id": "814910"}, "model_version_id"),
        ({"model_version_id": True}, "model_version_id"),
        ({"model_version_id": 1}, "model_version_id"),
        ({"width": 0}, "width"),
        ({"height": 4097}, "height"),
        ({"width": "832"}, "width"),
        ({"steps": 0}, "steps"),
        ({"steps": 1.5}, "steps"),
        ({"cfg_scale": -1}, "cfg_scale"),
        ({"sampler": 1}, "sampler"),
        ({"seed": "x"}, "seed"),
    ],
)
def test_a_bad_parameter_of_a_job_is_refused(
    sandbox: Sandbox, generate: Send, changes: dict[str, Any], name: str
) -> None:
    """HTTP 400 and a plain text that names it; nothing is created or charged."""
    answer = generate(**changes)
    assert answer.status_code == 400
    assert list(answer.json()) == ["error"]
    assert answer.json()["error"].startswith(name)
    assert (sandbox.betterwaifu.generations, sandbox.betterwaifu.credits) == ((), 10_000)


@pytest.mark.parametrize(
    "changes",
    [
        {"sampler": "euler_a", "steps": 500, "cfg_scale": 99.5},
        {"seed": -1, "negative_prompt": ""},
        {"parameter_of_tomorrow": [1]},
        {"width": None, "sampler": None},
        {"width": 4096, "height": 1},
    ],
)
def test_what_the_contract_of_jobs_leaves_open_is_accepted(
    generate: Send, ended: Ended, changes: dict[str, Any]
) -> None:
    """Any sampler, any number of steps, unknown parameters, and null for what may be left out."""
    body = ended(generate(**changes).json()["id"])
    assert body["status"] == "succeeded"
    assert body["output"]["seed"] >= 0


@pytest.mark.parametrize("path", ["/api/v1/generate", "/v1/images/generate"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"prompt": NaN}'])
def test_a_body_that_is_no_object_is_refused(http: httpx.Client, path: str, content: bytes) -> None:
    """Invalid JSON and JSON of another kind answer HTTP 400, in either edition."""
    assert http.post(path, content=content).status_code == 400


@pytest.mark.parametrize(
    ("path", "http_status", "text"),
    [
        ("/api/v1/generate/job_x", 404, "Generation not found"),
        ("/api/v1/generate/", 400, "Generation ID is required"),
        ("/api/v1/generate", 400, "Generation ID is required"),
        ("/api/v1/history", 404, "GET /api/v1/history does not exist"),
    ],
)
def test_what_does_not_exist_is_told_in_a_text(http: httpx.Client, path: str, http_status: int, text: str) -> None:
    """Unknown ids, no id and unknown paths answer in the shape of the jobs edition."""
    answer = http.get(path)
    assert (answer.status_code, answer.json()) == (http_status, {"error": text})


def test_a_picture_of_the_other_edition_is_no_job(http: httpx.Client, imagine: Send) -> None:
    """Its id finds nothing, and its file has one form only."""
    data = imagine().json()["data"]
    assert http.get(f"/api/v1/generate/{data['image_id']}").status_code == 404
    assert http.get(data["url"].replace(".png", ".webp")).status_code == 404


def test_moderation_refuses_at_once(sandbox: Sandbox, generate: Send, imagine: Send) -> None:
    """HTTP 400 with a text that says so, in either edition; nothing is charged, and no pause begins."""
    job, image = generate(prompt=MODERATED), imagine(prompt=MODERATED)
    assert (job.status_code, image.status_code) == (400, 400)
    assert "flagged by moderation" in job.json()["error"]
    assert "flagged by moderation" in image.json()["error"]["message"]
    assert (sandbox.betterwaifu.credits, generate().status_code) == (10_000, 201)


def test_without_credits_nothing_is_made() -> None:
    """HTTP 402 in either edition."""
    with Sandbox(credits=0) as sandbox, client(sandbox) as http:
        job, image = http.post("/api/v1/generate", json=JOB), http.post("/v1/images/generate", json=JOB)
    assert (job.status_code, list(job.json())) == (402, ["error"])
    assert (image.status_code, image.json()["error"]["code"]) == (402, "insufficient_credits")


def test_a_second_job_is_refused_while_one_is_active(sandbox: Sandbox, generate: Send, imagine: Send) -> None:
    """HTTP 429 with a text and no Retry-After for jobs, with `retry_after` in the body for v1-images."""
    generate(prompt=STUCK)
    job, image = generate(), imagine()
    assert (job.status_code, list(job.json()), "retry-after" in job.headers) == (429, ["error"], False)
    assert (image.status_code, image.json()["success"], image.json()["error"]["code"]) == (
        429,
        False,
        "rate_limit_exceeded",
    )
    assert isinstance(image.json()["error"]["retry_after"], int)
    assert [(away.reason, away.edition) for away in sandbox.betterwaifu.rejections] == [
        ("active", "jobs"),
        ("active", "v1-images"),
    ]
    assert (sandbox.betterwaifu.refused, sandbox.betterwaifu.active, sandbox.betterwaifu.charged) == (2, 1, 1)


def test_a_job_inside_the_pause_is_refused() -> None:
    """After a generation the next job waits; a picture of the v1-images edition does not."""
    with Sandbox(speed=1000, cool_down=FOR_EVER) as sandbox, client(sandbox) as http:
        assert http.post("/v1/images/generate", json=JOB).status_code == 200
        assert http.post("/api/v1/generate", json=JOB).status_code == 429
        assert http.post("/v1/images/generate", json=JOB).status_code == 200
        assert [away.reason for away in sandbox.betterwaifu.rejections] == ["cooling"]


def test_v1_images_may_have_a_pause_of_their_own() -> None:
    """`v1_cool_down` holds for this edition."""
    with Sandbox(speed=1000, cool_down=0, v1_cool_down=FOR_EVER) as sandbox, client(sandbox) as http:
        codes = [http.post("/v1/images/generate", json=JOB).status_code for _ in range(2)]
        assert (codes, http.post("/api/v1/generate", json=JOB).status_code) == ([200, 429], 201)


def test_of_many_jobs_at_once_one_is_taken(sandbox: Sandbox, generate: Send) -> None:
    """Eight POSTs side by side: one 201, seven 429, one credit."""
    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda _: generate(prompt=STUCK).status_code, range(8)))
    assert sorted(codes) == [201, *[429] * 7]
    assert (sandbox.betterwaifu.charged, sandbox.betterwaifu.refused) == (1, 7)


def test_a_picture_comes_with_the_answer(sandbox: Sandbox, imagine: Send) -> None:
    """The call lasts until the picture is there: parameters with the seed, and a PNG of the asked shape."""
    answer = imagine(width=600, height=1200, seed=-1, negative_prompt="rain", sampler="euler-a")
    body = answer.json()
    data, (generation,) = body["data"], sandbox.betterwaifu.generations
    assert sandbox.betterwaifu.finished_at == (generation.ends_at,)
    assert (answer.status_code, set(body), body["success"]) == (200, {"success", "data"}, True)
    assert set(data) == {"image_id", "url", "status", "parameters", "created_at"}
    assert re.fullmatch(r"img_[a-z0-9]{12}", data["image_id"])
    assert data["url"] == f"{sandbox.url}/images/{data['image_id'].removeprefix('img_')}.png"
    assert data["status"] == "completed"
    assert data["parameters"] == {
        "prompt": "1girl, hills by the sea",
        "model": "noobai-xl",
        "steps": 28,
        "cfg_scale": 7,
        "width": 600,
        "height": 1200,
        "seed": generation.seed,
    }
    assert generation.seed >= 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", data["created_at"])
    assert picture(data["url"]) == ("PNG", (256, 512))


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt": ""},
        {"negative_prompt": 1},
        {"model": "sdxl"},
        {"model": 814910},
        {"steps": 19},
        {"steps": 51},
        {"steps": 28.5},
        {"cfg_scale": 0.5},
        {"cfg_scale": 20.5},
        {"width": -1},
        {"height": "tall"},
        {"sampler": "euler_a"},
        {"seed": -2},
    ],
)
def test_a_bad_parameter_of_a_picture_is_named(sandbox: Sandbox, imagine: Send, changes: dict[str, Any]) -> None:
    """HTTP 400, `invalid_parameter`, and which it is; nothing is created."""
    answer = imagine(**changes)
    body = answer.json()
    assert (answer.status_code, body["success"], set(body)) == (400, False, {"success", "error"})
    assert set(body["error"]) == {"code", "message", "parameter"}
    assert (body["error"]["code"], [body["error"]["parameter"]]) == ("invalid_parameter", list(changes))
    assert sandbox.betterwaifu.generations == ()


@pytest.mark.parametrize("changes", [{"steps": 20, "cfg_scale": 1}, {"steps": 50, "cfg_scale": 20, "sampler": "ddim"}])
def test_the_documented_bounds_are_inside(imagine: Send, changes: dict[str, Any]) -> None:
    """20 and 50 steps, a scale of 1 and of 20."""
    parameters = imagine(model="plant-milk", **changes).json()["data"]["parameters"]
    assert parameters["model"] == "plant-milk"
    assert parameters["steps"] == changes["steps"]


def test_a_picture_that_fails_is_an_error_of_the_server(sandbox: Sandbox, imagine: Send) -> None:
    """HTTP 500 in the envelope, after the time it took, and the credit comes back."""
    answer = imagine(prompt=FAIL)
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "generation_failed")
    assert (sandbox.betterwaifu.credits, sandbox.betterwaifu.refunded) == (10_000, 1)


def test_a_call_of_v1_images_needs_a_key_and_a_post(http: httpx.Client) -> None:
    """HTTP 401 and 405, in the envelope of the edition."""
    strange = http.post("/v1/images/generate", headers={"Authorization": "Bearer bw_x"}, json=JOB)
    assert (strange.status_code, strange.json()["error"]["code"]) == (401, "unauthorized")
    get = http.get("/v1/images/generate")
    assert (get.status_code, get.json()["success"]) == (405, False)


def test_the_same_seed_draws_the_same_picture() -> None:
    """Prompt and seed decide; another seed gives another picture."""
    with Sandbox(speed=1000, cool_down=0) as sandbox, client(sandbox) as http:
        urls = [
            http.post("/v1/images/generate", json={**JOB, "seed": seed}).json()["data"]["url"] for seed in (1, 1, 2)
        ]
        first, second, third = (http.get(url).content for url in urls)
    assert first == second != third


def test_the_picture_is_no_larger_than_asked(generate: Send, ended: Ended) -> None:
    """What is smaller than `picture_size` is made as asked."""
    (image,) = ended(generate(width=64, height=48).json()["id"])["output"]["images"]
    assert picture(image["url"]) == ("WEBP", (64, 48))


def test_an_unfinished_picture_does_not_exist(sandbox: Sandbox, generate: Send) -> None:
    """HTTP 404 before the job has succeeded."""
    generate(prompt=STUCK)
    (generation,) = sandbox.betterwaifu.generations
    assert httpx.get(f"{sandbox.url}/images/{generation.file}.webp", trust_env=False).status_code == 404


def test_a_picture_under_way_holds_the_place_and_not_the_end() -> None:
    """While a call of v1-images lasts, jobs are refused; the end of the sandbox closes it without an answer."""
    with ThreadPoolExecutor(1) as pool, contextlib.ExitStack() as later:
        with Sandbox() as sandbox:
            http = later.enter_context(client(sandbox))
            endless = pool.submit(http.post, "/v1/images/generate", json={"prompt": STUCK})
            while not sandbox.betterwaifu.active:
                time.sleep(0.005)
            assert http.post("/api/v1/generate", json=JOB).status_code == 429
        assert isinstance(endless.exception(), httpx.RemoteProtocolError)


def test_the_two_providers_do_not_share_their_worlds(sandbox: Sandbox, generate: Send, submit: Send) -> None:
    """A job leaves WeryAI's tasks and credits alone, and the other way round; requests are counted together."""
    generate()
    submit()
    assert (len(sandbox.weryai.tasks), len(sandbox.betterwaifu.generations)) == (1, 1)
    assert (sandbox.weryai.credits, sandbox.betterwaifu.credits) == (9999, 9999)
    assert sandbox.weryai.counters.posts == 2


def test_polls_are_counted_by_job(sandbox: Sandbox, generate: Send, ended: Ended) -> None:
    """The counters know every status request."""
    job_id = generate().json()["id"]
    ended(job_id)
    assert sandbox.weryai.counters.polls[job_id] >= 1
