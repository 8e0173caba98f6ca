"""WeryAI's answers, in every variation that is known, as our values.

The envelope is `{status, desc, message, data}` (contract: Transport). What must be there is read strictly; what
merely informs (credits, texts) is read leniently, because a picture that was paid for must not be lost to a
number that came as text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final, NewType

import attrs

from aiowery._codec import Fault, Identifier, make_converter, number_in, structure
from aiowery._media import is_url
from aiowery._tasks import Asset, AssetKind, ScriptLine, Snapshot, TaskState
from aiowery._values import Accepted
from aiowery._wire import Answer
from aiowery.errors import APIError
from aiowery.weryai._chat import said_in
from aiowery.weryai._common import WeryAIRequest
from aiowery.weryai._refusals import refusal

_DEPTH: Final = 6
_REPORT: Final = "deep_research_outputs"
_SUCCESS: Final = frozenset({"0", "200", "success", "ok"})
_ALWAYS_SAID: Final = frozenset({"task_id", "task_status"})
_WORDS: Final = {
    "waiting": TaskState.WAITING,
    "pending": TaskState.WAITING,
    "processing": TaskState.RUNNING,
    "running": TaskState.RUNNING,
    "succeed": TaskState.DONE,
    "success": TaskState.DONE,
    "succeeded": TaskState.DONE,
    "completed": TaskState.DONE,
    "failed": TaskState.FAILED,
    "fail": TaskState.FAILED,
    "error": TaskState.FAILED,
    "canceled": TaskState.FAILED,
    "cancelled": TaskState.FAILED,
}

Words = NewType("Words", str)
"""A text that merely informs: anything but a string counts as absent."""
Credits = NewType("Credits", float)
"""A number of credits, also when it comes as text."""
Report = NewType("Report", str)
"""The texts of research outputs, whatever they are wrapped in."""


@attrs.frozen
class Output:
    """One output as the wire has it: a url, or an object that holds one under some name."""

    url: str
    cover_url: str | None = None


@attrs.frozen
class Outputs:
    """A place where outputs may lie; the same fields occur at three depths."""

    images: tuple[Output, ...] = ()
    videos: tuple[Output, ...] = ()
    audios: tuple[Output, ...] = ()
    video_url: tuple[Output, ...] = ()
    video_urls: tuple[Output, ...] = ()
    audio_url: tuple[Output, ...] = ()
    message: Words | None = None

    def assets(self, task_id: str, cover_url: str | None) -> Iterator[Asset]:
        """Yield all outputs of this place."""
        places: tuple[tuple[AssetKind, tuple[Output, ...]], ...] = (
            ("image", self.images),
            ("video", self.videos or self.video_urls or self.video_url),
            ("audio", self.audios or self.audio_url),
        )
        for kind, outputs in places:
            for output in outputs:
                yield Asset(output.url, kind, output.cover_url or cover_url, task_id)


@attrs.frozen
class TaskBody(Outputs):
    """What a status answer says of one task."""

    task_id: Identifier | None = None
    task_status: str | None = None
    status: Words | None = None
    content_status: Words | None = None
    msg: Words | None = None
    cover_url: Words | None = None
    lyrics: Words | None = None
    speech_text: Words | None = None
    scripts: tuple[ScriptLine, ...] = ()
    script: tuple[ScriptLine, ...] = ()
    deep_research_outputs: Report | None = None
    cost_credits: Credits | None = None
    task_result: Outputs = Outputs()
    output: Outputs = Outputs()

    @property
    def text(self) -> str | None:
        """What the task says in words: a transcript, a report, a song's lyrics, a podcast's turns."""
        turns = "\n".join(f"{line.speaker_name or line.speaker_id}: {line.content}" for line in self.turns)
        return self.speech_text or self.deep_research_outputs or self.lyrics or turns or None

    @property
    def turns(self) -> tuple[ScriptLine, ...]:
        """A podcast's script, in whichever field."""
        return self.scripts or self.script

    @property
    def word(self) -> str:
        """The status word, in whichever field."""
        return (self.task_status or self.status or "").strip()


def fold(word: str) -> TaskState:
    """Return what a status word means; unknown ones mean that the task still runs."""
    return _WORDS.get(word.strip().casefold(), TaskState.RUNNING)


def knows(word: str) -> bool:
    """Whether a status word is one of those documented or seen in use."""
    return word.strip().casefold() in _WORDS


def opened(answer: Answer) -> tuple[Any, str | None]:
    """Return the envelope's data and the request id, or raise what the answer means instead."""
    body = answer.json() if answer.success else answer.json_or_none()
    if not answer.success or not isinstance(body, Mapping) or not _is_success(body):
        raise refusal(answer, body)
    data = body.get("data")
    return data, answer.request_id_in(body, data)


def decode_accepted(answer: Answer) -> Accepted:
    """Read the answer to a submission, in each of its shapes: `task_ids`, `task_id`, with or without a batch."""
    raw, request_id = opened(answer)
    items = [item for _, item in _located(raw) if isinstance(item, Mapping)]
    task_ids = tuple(dict.fromkeys(task_id for item in items for task_id in _ids(item)))
    if not task_ids:
        what = "the submission succeeded but the answer holds no task id"
        raise answer.outside(what, "$.data: task_ids or task_id is expected", raw, request_id)
    batch_id = next(_valid_ids(*(item.get("batch_id") for item in items)), None)
    return Accepted(task_ids=task_ids, batch_id=batch_id, request_id=request_id)


def decode_submitted(request: WeryAIRequest[Any], answer: Answer, made_up_id: str) -> Accepted:
    """Read the answer to the submission of this request: task ids, or the outputs themselves.

    Outputs that come with no id at all go by the one that is given.
    """
    if not request.in_envelope:
        return _at_once(answer, *_completion(answer), made_up_id)
    raw, request_id = opened(answer)
    if request.answer_member is not None:
        return _at_once(answer, raw, _said(raw, request.answer_member), request_id, made_up_id)
    report = _report(raw.get(_REPORT), None) if isinstance(raw, Mapping) else None
    if report is None or (request.answer_within is None and _goes_on(raw)):
        return decode_accepted(answer)
    return _at_once(answer, raw, report, request_id, made_up_id)


def _goes_on(raw: Mapping[str, Any]) -> bool:
    """Whether a task has only begun, although something was said along with its id."""
    word = raw.get("task_status") or raw.get("status")
    return any(_ids(raw)) and fold(word if isinstance(word, str) else "") is not TaskState.DONE


def _at_once(answer: Answer, raw: Any, text: str | None, request_id: str | None, made_up_id: str) -> Accepted:
    """Return outputs that came with the answer itself, as a task that has ended."""
    if text is None:
        raise answer.outside(
            "the call succeeded but the answer holds no output", "$: text is expected", raw, request_id
        )
    own = (raw.get(name) for name in ("task_id", "interaction_id", "id")) if isinstance(raw, Mapping) else ()
    task_id = next(_valid_ids(*own, request_id), made_up_id)
    snapshot = Snapshot(task_id, TaskState.DONE, text=text, raw=raw, request_id=request_id)
    return Accepted(task_ids=(task_id,), snapshots=(snapshot,), request_id=request_id)


def _completion(answer: Answer) -> tuple[Any, str | None, str | None]:
    """Read a chat answer: without an envelope if it succeeded (in one all the same, if need be), with one if not."""
    body = answer.json() if answer.success else answer.json_or_none()
    told = next((part for part in (body, _data(body)) if _choices(part)), None)
    if answer.success and told is not None:
        words = "\n\n".join(said_in(choice) for choice in _choices(told) if isinstance(choice, Mapping))
        return told, words, answer.request_id_in(body, told)
    if answer.success and isinstance(body, Mapping) and "status" in body and _is_success(body):
        fault = "$.data.choices: a list is expected"
        raise answer.outside("the call succeeded but holds no answer", fault, body, answer.request_id_in(body))
    raise refusal(answer, _openai_error(body))


def _data(body: Any) -> Any:
    return body.get("data") if isinstance(body, Mapping) else None


def _choices(part: Any) -> list[Any]:
    choices = part.get("choices") if isinstance(part, Mapping) else None
    return choices if isinstance(choices, list) else []


def _openai_error(body: Any) -> Any:
    """Give OpenAI's form of an error the envelope's words."""
    error = body.get("error") if isinstance(body, Mapping) else None
    return {"message": error.get("message"), **body} if isinstance(error, Mapping) else body


def _said(raw: Any, name: str) -> str | None:
    return _words(raw.get(name), None) if isinstance(raw, Mapping) else None


def decode_upload(answer: Answer) -> str:
    """Read the url of an uploaded file."""
    raw, request_id = opened(answer)
    urls = raw.get("object_url_list") if isinstance(raw, Mapping) else None
    url = next((url for url in urls if isinstance(url, str) and is_url(url)), None) if isinstance(urls, list) else None
    if url is None:
        fault = "$.data.object_url_list: urls are expected"
        raise answer.outside("the answer holds no url of the uploaded file", fault, raw, request_id)
    return url


def decode_status(answer: Answer, task_id: str) -> Snapshot:
    """Read a status answer; a list is searched for the task."""
    running = _nothing_new(answer, task_id) if answer.success else None
    if running is not None:
        return running
    raw, request_id = opened(answer)
    located = _located(raw) or [("$.data", {})]
    where, said = next((place for place in located if task_id in _ids(place[1])), located[0])
    snapshot = _snapshot(answer, said, where, task_id, request_id)
    if snapshot.task_id != task_id:
        what = f"asked about task {task_id}, answered about {snapshot.task_id}"
        raise answer.outside(what, f"{where}.task_id: {task_id!r} is expected", raw, request_id)
    return snapshot


def _nothing_new(answer: Answer, task_id: str) -> Snapshot | None:
    """Read an answer which says that the task still runs, and nothing else: most do, and need no converter."""
    body = answer.json()
    data = body.get("data") if isinstance(body, dict) and _is_success(body) else None
    if not isinstance(data, dict) or data.get("task_id") != task_id:
        return None
    word = data.get("task_status")
    if not isinstance(word, str) or (state := _WORDS.get(word.casefold())) is None or state.terminal:
        return None
    for name, value in data.items():
        if value and name not in _ALWAYS_SAID:
            return None
    return Snapshot(task_id, state, word, raw=_only(word))


@lru_cache(maxsize=64)
def _only(word: str) -> Mapping[str, str]:
    """Return the part of an answer that says nothing but this word: one for all tasks, since thousands may run."""
    return {"task_status": word}


def decode_delivery(body: bytes) -> Snapshot:
    """Read what WeryAI POSTs to a `webhook_url` when a task ends: the envelope of a status answer.

    Raises UnexpectedResponse for anything else (contract section 11.1).
    """
    answer = Answer(HTTPStatus.OK, {}, body)
    try:
        raw, request_id = opened(answer)
    except APIError as error:  # forged or not, it is not about our key and our credits
        raise answer.outside("a delivery that is a refusal", "$.status: success is expected", error.raw) from error
    where, said = (_located(raw) or [("$.data", None)])[0]
    snapshot = _snapshot(answer, said, where, None, request_id)
    if not snapshot.task_id:
        raise answer.outside("a delivery names no task", f"{where}.task_id: an id is expected", raw, request_id)
    return snapshot


def decode_batch(answer: Answer) -> list[Snapshot]:
    """Read a batch status answer: a list of tasks, or a single one."""
    raw, request_id = opened(answer)
    return [
        _snapshot(answer, item, where, None, request_id)
        for where, item in _located(raw)
        if isinstance(item, Mapping) and any(_valid_ids(item.get("task_id")))
    ]


def decode_balance(answer: Answer) -> float:
    """Read the balance: a bare number, or an object that holds one."""
    raw, request_id = opened(answer)
    value = raw.get("balance") if isinstance(raw, Mapping) else raw
    balance = _credits(value, None)
    if balance is None:
        what = "the answer holds no balance"
        raise answer.outside(what, "$.data: a number of credits is expected", raw, request_id)
    return balance


def _snapshot(answer: Answer, raw: Any, where: str, task_id: str | None, request_id: str | None) -> Snapshot:
    body = structure(_converter, raw, TaskBody, http_status=answer.http_status, where=where, request_id=request_id)
    known_id = body.task_id or task_id or ""
    assets: tuple[Asset, ...] = ()
    for place in (body, body.task_result, body.output):
        assets = assets or tuple(place.assets(known_id, body.cover_url))
    return Snapshot(
        task_id=known_id,
        state=fold(body.word),
        word=body.word,
        assets=assets,
        reason=body.task_result.message or body.msg or body.message,
        credits=body.cost_credits,
        text=body.text,
        script=body.turns,
        step=body.content_status,
        raw=raw,
        request_id=request_id,
    )


def _is_success(body: Mapping[str, Any]) -> bool:
    """Whether the envelope says so; one without a status does if it carries data."""
    status = body.get("status")
    if status is None:
        return body.get("data") is not None and body.get("success") is not False
    return str(status).strip().casefold() in _SUCCESS


def _located(data: Any) -> list[tuple[str, Any]]:
    """Return the data, or each item of a list, with its path."""
    if isinstance(data, list):
        return [(f"$.data[{number}]", item) for number, item in enumerate(data)]
    return [("$.data", data)]


def _ids(item: Any) -> Iterator[str]:
    if isinstance(item, Mapping):
        task_ids = item.get("task_ids")
        yield from _valid_ids(*(task_ids if isinstance(task_ids, list) else [task_ids]), item.get("task_id"))


def _valid_ids(*values: Any) -> Iterator[Identifier]:
    """Yield the usable ids: one that is not usable must not cost the others."""
    for value in values:
        try:
            yield _converter.structure(value, Identifier)
        except ValueError:
            continue


def _outputs(value: Any, _: Any) -> tuple[Output, ...]:
    """Read outputs: one or a list, each a url or an object with a url under one of several names."""
    items = [item for item in (value if isinstance(value, list) else [value]) if item]
    outputs = tuple(output for output in map(_output, items) if output is not None)
    if items and not outputs:
        raise Fault("a url, or an object with a url,", items[0])
    return outputs


def _output(item: Any) -> Output | None:
    """Read one output; what is none must not cost those beside it."""
    if isinstance(item, str):
        return Output(item)
    if isinstance(item, Mapping):
        url = next((item[name] for name in ("url", "image_url", "video_url", "audio_url") if item.get(name)), None)
        cover = next((item[name] for name in ("cover_image_url", "cover_url") if item.get(name)), None)
        if isinstance(url, str):
            return Output(url, cover if isinstance(cover, str) else None)
    return None


def _words(value: Any, _: Any) -> Words | None:
    return Words(value) if isinstance(value, str) and value.strip() else None


def _credits(value: Any, _: Any) -> Credits | None:
    number = number_in(value)
    return None if number is None else Credits(number)


def _report(value: Any, _: Any) -> Report | None:
    """Gather the texts of outputs: a text, a list of them, or objects with a text somewhere inside."""
    texts = tuple(_texts(value, _DEPTH))
    return Report("\n\n".join(texts)) if texts else None


def _texts(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, str) and value.strip():
        yield value
    elif isinstance(value, list) and depth:
        for item in value:
            yield from _texts(item, depth - 1)
    elif isinstance(value, Mapping) and depth:
        for name in ("text", "content", "outputs", "output", "parts"):
            yield from _texts(value.get(name), depth - 1)


def _script(value: Any, _: Any) -> tuple[ScriptLine, ...]:
    """Read a podcast's turns; one that says nothing must not cost the others."""
    turns = [turn for turn in value if isinstance(turn, Mapping)] if isinstance(value, list) else []
    return tuple(
        ScriptLine(str(turn.get("speaker_id") or ""), content, _words(turn.get("speaker_name"), None))
        for turn in turns
        if (content := _words(turn.get("content"), None))
    )


def _optional_id(value: Any, _: Any) -> Identifier | None:
    return next(_valid_ids(value), None)


def _make_converter() -> Any:
    converter = make_converter()
    converter.register_structure_hook_func(lambda cls: cls == tuple[Output, ...], _outputs)
    converter.register_structure_hook(Identifier | None, _optional_id)
    converter.register_structure_hook(Words | None, _words)
    converter.register_structure_hook(Credits | None, _credits)
    converter.register_structure_hook(Report | None, _report)
    converter.register_structure_hook_func(lambda cls: cls == tuple[ScriptLine, ...], _script)
    strict = converter.get_structure_hook(Outputs)
    # A fallback place that is no object holds nothing; that is not worth losing the rest for.
    converter.register_structure_hook_func(
        lambda cls: cls is Outputs, lambda value, cls: strict(value, cls) if isinstance(value, Mapping) else Outputs()
    )
    return converter


_converter: Final = _make_converter()
