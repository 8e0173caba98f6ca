"""The sandbox implements BetterWaifu's contract in both editions, over a real socket."""

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
    Finished = Callable[[str], dict[str, Any]]

FOREVER = 1e9
JOB = {"prompt": "hills", "model_version_id": 814910}


def client(sandbox: Sandbox) -> httpx.Client:
    """Return a client for a sandbox of the test itself."""
    headers = {"Authorization": f"Bearer {sandbox.key}"}
    return httpx.Client(base_url=sandbox.url, headers=headers, timeout=10, trust_env=False)


def picture(url: str) -> tuple[str | None, tuple[int, int]]:
    """Fetch an image without a key, and return its format and size."""
    response = httpx.get(url, trust_env=False)
    assert response.status_code == 200
    with Image.open(io.BytesIO(response.content)) as image:
        image.load()
        assert response.headers["content-type"] == f"image/{str(image.format).lower()}"
        return image.format, image.size


def test_generate_accepted_is_queued(generate: Send) -> None:
    """HTTP 201 with the id, the status and the queue position, and nothing else."""
    response = generate()
    body = response.json()
    assert response.status_code == 201
    assert re.fullmatch(r"job_[a-z0-9]{12}", body["id"])
    assert body == {"id": body["id"], "status": "queued", "queue_position": 3}


def test_job_succeeded_has_its_image(sandbox: Sandbox, generate: Send, finished_job: Finished) -> None:
    """A success has one image with URL and id, and a seed. The URL returns a WebP file of the requested shape."""
    body = finished_job(generate(width=1024, height=512, seed=7).json()["id"])
    (image,) = body["output"]["images"]
    assert set(body) == {"id", "status", "output"}
    assert (body["status"], body["output"]["seed"]) == ("succeeded", 7)
    assert set(image) == {"url", "id"}
    assert re.fullmatch(r"[A-Za-z0-9]{16}", image["id"])
    assert image["id"] not in image["url"]
    assert image["url"].startswith(f"{sandbox.url}/images/")
    assert image["url"].endswith(".webp")
    assert picture(image["url"]) == ("WEBP", (512, 256))


def test_job_status_has_only_members_of_its_state() -> None:
    """First queued with a position that never rises, then processing without one, then the output."""
    with Sandbox(speed=30) as sandbox, client(sandbox) as http:
        bodies = [http.post("/api/v1/generate", json=JOB).json()]
        while bodies[-1]["status"] != "succeeded":
            bodies.append(http.get(f"/api/v1/generate/{bodies[0]['id']}").json())
    order = ["queued", "processing", "succeeded"]
    stages = [order.index(body["status"]) for body in bodies]
    positions = [body["queue_position"] for body in bodies if body["status"] == "queued"]
    assert (stages, positions) == (sorted(stages), sorted(positions, reverse=True))
    assert set(positions) <= {3, 2, 1}
    assert {frozenset(body) for body in bodies if body["status"] == "processing"} <= {frozenset({"id", "status"})}


def test_job_failed_is_http_200_and_refunded(sandbox: Sandbox, generate: Send, finished_job: Finished) -> None:
    """The body has the reason as plain text, and the credit is refunded."""
    body = finished_job(generate(prompt=FAIL).json()["id"])
    assert set(body) == {"id", "status", "error"}
    assert (body["status"], type(body["error"])) == ("failed", str)
    assert (sandbox.betterwaifu.charged, sandbox.betterwaifu.refunded, sandbox.betterwaifu.credits) == (1, 1, 10_000)


def test_models_list_has_all_fields(http: httpx.Client) -> None:
    """Eight checkpoints sorted by name, with the two documented ones, one without a cover. Covers can be fetched."""
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


def test_account_has_credits_and_subscription(http: httpx.Client, generate: Send) -> None:
    """An image costs a credit. The subscription's end is in camel case, with milliseconds."""
    generate()
    body = http.get("/api/v1/account").json()
    assert (set(body), body["credits"]) == ({"username", "credits", "subscription"}, 9999)
    assert set(body["subscription"]) == {"status", "plan", "endDate"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", body["subscription"]["endDate"])


def test_generate_without_subscription_is_refused() -> None:
    """The POST gets HTTP 403, the account has null, and reading is allowed."""
    with Sandbox(subscription=False) as sandbox, client(sandbox) as http:
        response = http.post("/api/v1/generate", json=JOB)
        assert (response.status_code, list(response.json())) == (403, ["error"])
        assert http.get("/api/v1/account").json()["subscription"] is None
        assert http.get("/api/v1/models").status_code == 200
        assert sandbox.betterwaifu.generations == ()


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "generate"), ("GET", "generate/job_x"), ("GET", "models"), ("GET", "account")],
)
@pytest.mark.parametrize("header", [None, "Bearer sk-other", "Basic sk-sandbox"])
def test_jobs_request_with_wrong_key_is_refused(
    shared_sandbox: Sandbox, method: str, path: str, header: str | None
) -> None:
    """Every request of the jobs edition gets HTTP 401 with the documented text."""
    headers = {} if header is None else {"Authorization": header}
    response = httpx.request(method, f"{shared_sandbox.jobs_url}/{path}", headers=headers)
    assert (response.status_code, response.json()) == (401, {"error": "Invalid or missing API key"})


def test_keys_none_accepts_prefixes_of_the_provider() -> None:
    """With `keys=None`, bw_ keys work for BetterWaifu and not for WeryAI, sk- keys for both."""
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
def test_generate_with_bad_parameter_is_refused(
    sandbox: Sandbox, generate: Send, changes: dict[str, Any], name: str
) -> None:
    """HTTP 400 with a plain text that contains its name. Nothing is created or charged."""
    response = generate(**changes)
    assert response.status_code == 400
    assert list(response.json()) == ["error"]
    assert response.json()["error"].startswith(name)
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
def test_generate_with_undocumented_values_is_accepted(
    generate: Send, finished_job: Finished, changes: dict[str, Any]
) -> None:
    """Any sampler, any number of steps, unknown parameters, and null for optional ones."""
    body = finished_job(generate(**changes).json()["id"])
    assert body["status"] == "succeeded"
    assert body["output"]["seed"] >= 0


@pytest.mark.parametrize("path", ["/api/v1/generate", "/v1/images/generate"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"prompt": NaN}'])
def test_body_without_a_json_object_is_refused(http: httpx.Client, path: str, content: bytes) -> None:
    """Invalid JSON and other JSON values get HTTP 400 in either edition."""
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
def test_unknown_resource_has_a_text_error(http: httpx.Client, path: str, http_status: int, text: str) -> None:
    """Unknown ids, missing ids and unknown paths get responses in the format of the jobs edition."""
    response = http.get(path)
    assert (response.status_code, response.json()) == (http_status, {"error": text})


def test_v1_image_is_not_a_job(http: httpx.Client, imagine: Send) -> None:
    """Its id finds no job, and its file exists in one format only."""
    data = imagine().json()["data"]
    assert http.get(f"/api/v1/generate/{data['image_id']}").status_code == 404
    assert http.get(data["url"].replace(".png", ".webp")).status_code == 404


def test_moderated_prompt_is_refused_uncharged(sandbox: Sandbox, generate: Send, imagine: Send) -> None:
    """HTTP 400 with the reason in either edition. Nothing is charged, and no cool-down begins."""
    job, image = generate(prompt=MODERATED), imagine(prompt=MODERATED)
    assert (job.status_code, image.status_code) == (400, 400)
    assert "flagged by moderation" in job.json()["error"]
    assert "flagged by moderation" in image.json()["error"]["message"]
    assert (sandbox.betterwaifu.credits, generate().status_code) == (10_000, 201)


def test_submission_without_credits_is_refused() -> None:
    """HTTP 402 in either edition."""
    with Sandbox(credits=0) as sandbox, client(sandbox) as http:
        job, image = http.post("/api/v1/generate", json=JOB), http.post("/v1/images/generate", json=JOB)
    assert (job.status_code, list(job.json())) == (402, ["error"])
    assert (image.status_code, image.json()["error"]["code"]) == (402, "insufficient_credits")


def test_generate_while_one_is_active_is_refused(sandbox: Sandbox, generate: Send, imagine: Send) -> None:
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
    assert [(rejection.reason, rejection.edition) for rejection in sandbox.betterwaifu.rejections] == [
        ("active", "jobs"),
        ("active", "v1-images"),
    ]
    assert (sandbox.betterwaifu.refused, sandbox.betterwaifu.active, sandbox.betterwaifu.charged) == (2, 1, 1)


def test_generate_during_cool_down_is_refused() -> None:
    """After a generation, jobs are refused during the cool-down, images of the v1-images edition are not."""
    with Sandbox(speed=1000, cool_down=FOREVER) as sandbox, client(sandbox) as http:
        assert http.post("/v1/images/generate", json=JOB).status_code == 200
        assert http.post("/api/v1/generate", json=JOB).status_code == 429
        assert http.post("/v1/images/generate", json=JOB).status_code == 200
        assert [rejection.reason for rejection in sandbox.betterwaifu.rejections] == ["cooling"]


def test_v1_cool_down_applies_to_v1_images() -> None:
    """`v1_cool_down` applies to this edition only."""
    with Sandbox(speed=1000, cool_down=0, v1_cool_down=FOREVER) as sandbox, client(sandbox) as http:
        codes = [http.post("/v1/images/generate", json=JOB).status_code for _ in range(2)]
        assert (codes, http.post("/api/v1/generate", json=JOB).status_code) == ([200, 429], 201)


def test_generate_concurrent_accepts_one(sandbox: Sandbox, generate: Send) -> None:
    """Of eight concurrent POSTs, one gets 201, seven get 429, and one credit is charged."""
    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda _: generate(prompt=STUCK).status_code, range(8)))
    assert sorted(codes) == [201, *[429] * 7]
    assert (sandbox.betterwaifu.charged, sandbox.betterwaifu.refused) == (1, 7)


def test_v1_images_returns_the_image(sandbox: Sandbox, imagine: Send) -> None:
    """The request lasts until the image is finished. The response has the parameters with the seed, and a PNG file."""
    response = imagine(width=600, height=1200, seed=-1, negative_prompt="rain", sampler="euler-a")
    body = response.json()
    data, (generation,) = body["data"], sandbox.betterwaifu.generations
    assert sandbox.betterwaifu.finished_at == (generation.ends_at,)
    assert (response.status_code, set(body), body["success"]) == (200, {"success", "data"}, True)
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
def test_v1_images_with_bad_parameter_is_refused(sandbox: Sandbox, imagine: Send, changes: dict[str, Any]) -> None:
    """HTTP 400 with `invalid_parameter` and its name. Nothing is created."""
    response = imagine(**changes)
    body = response.json()
    assert (response.status_code, body["success"], set(body)) == (400, False, {"success", "error"})
    assert set(body["error"]) == {"code", "message", "parameter"}
    assert (body["error"]["code"], [body["error"]["parameter"]]) == ("invalid_parameter", list(changes))
    assert sandbox.betterwaifu.generations == ()


@pytest.mark.parametrize("changes", [{"steps": 20, "cfg_scale": 1}, {"steps": 50, "cfg_scale": 20, "sampler": "ddim"}])
def test_v1_images_accepts_the_documented_bounds(imagine: Send, changes: dict[str, Any]) -> None:
    """20 and 50 steps, a scale of 1 and of 20."""
    parameters = imagine(model="plant-milk", **changes).json()["data"]["parameters"]
    assert parameters["model"] == "plant-milk"
    assert parameters["steps"] == changes["steps"]


def test_v1_images_failed_is_http_500_and_refunded(sandbox: Sandbox, imagine: Send) -> None:
    """HTTP 500 in the envelope after the duration of the generation, and the credit is refunded."""
    response = imagine(prompt=FAIL)
    assert (response.status_code, response.json()["error"]["code"]) == (500, "generation_failed")
    assert (sandbox.betterwaifu.credits, sandbox.betterwaifu.refunded) == (10_000, 1)


def test_v1_images_without_key_or_post_is_refused(http: httpx.Client) -> None:
    """HTTP 401 and 405, in the envelope of the edition."""
    unknown_key = http.post("/v1/images/generate", headers={"Authorization": "Bearer bw_x"}, json=JOB)
    assert (unknown_key.status_code, unknown_key.json()["error"]["code"]) == (401, "unauthorized")
    get = http.get("/v1/images/generate")
    assert (get.status_code, get.json()["success"]) == (405, False)


def test_image_depends_on_prompt_and_seed() -> None:
    """Equal prompts and seeds give equal images, another seed gives another image."""
    with Sandbox(speed=1000, cool_down=0) as sandbox, client(sandbox) as http:
        urls = [
            http.post("/v1/images/generate", json={**JOB, "seed": seed}).json()["data"]["url"] for seed in (1, 1, 2)
        ]
        first, second, third = (http.get(url).content for url in urls)
    assert first == second != third


def test_image_below_picture_size_has_the_requested_size(generate: Send, finished_job: Finished) -> None:
    """A size below `picture_size` is not changed."""
    (image,) = finished_job(generate(width=64, height=48).json()["id"])["output"]["images"]
    assert picture(image["url"]) == ("WEBP", (64, 48))


def test_image_of_an_unfinished_job_is_not_found(sandbox: Sandbox, generate: Send) -> None:
    """HTTP 404 before the job has succeeded."""
    generate(prompt=STUCK)
    (generation,) = sandbox.betterwaifu.generations
    assert httpx.get(f"{sandbox.url}/images/{generation.file}.webp", trust_env=False).status_code == 404


def test_v1_images_running_occupies_the_slot() -> None:
    """Jobs are refused during the request. The end of the sandbox closes it without a response."""
    with ThreadPoolExecutor(1) as pool, contextlib.ExitStack() as later:
        with Sandbox() as sandbox:
            http = later.enter_context(client(sandbox))
            endless = pool.submit(http.post, "/v1/images/generate", json={"prompt": STUCK})
            while not sandbox.betterwaifu.active:
                time.sleep(0.005)
            assert http.post("/api/v1/generate", json=JOB).status_code == 429
        assert isinstance(endless.exception(), httpx.RemoteProtocolError)


def test_providers_have_separate_state(sandbox: Sandbox, generate: Send, submit: Send) -> None:
    """A job leaves WeryAI's tasks and credits unchanged, and the reverse. Requests are counted together."""
    generate()
    submit()
    assert (len(sandbox.weryai.tasks), len(sandbox.betterwaifu.generations)) == (1, 1)
    assert (sandbox.weryai.credits, sandbox.betterwaifu.credits) == (9999, 9999)
    assert sandbox.weryai.counters.posts == 2


def test_counters_count_polls_by_job(sandbox: Sandbox, generate: Send, finished_job: Finished) -> None:
    """The counters include every status request."""
    job_id = generate().json()["id"]
    finished_job(job_id)
    assert sandbox.weryai.counters.polls[job_id] >= 1
