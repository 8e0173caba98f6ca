"""Response data about tasks: acceptance, status and outputs."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING, Any

import attrs

from aiowery.sandbox._response import PlannedResponse, podcast_success, success
from aiowery.sandbox._tasks import OutputKind, SandboxTaskState
from aiowery.sandbox._weryai.models import NAMES

if TYPE_CHECKING:
    from aiowery.sandbox._parameter_rules import Shape
    from aiowery.sandbox._tasks import Batch, Task, TaskSpec
    from aiowery.sandbox._weryai.dialect import Dialect

_MUSIC = {OutputKind.SONG, OutputKind.MUSIC}
_SOUNDS = {OutputKind.SONG, OutputKind.MUSIC, OutputKind.SPEECH, OutputKind.PODCAST}


def accepted_response(shape: Shape, batch: Batch, dialect: Dialect) -> PlannedResponse:
    """Return the response to an accepted submission, in the format of its endpoint."""
    ids = [task.id for task in batch.tasks]
    waiting, processing = map(dialect.status, (SandboxTaskState.WAITING, SandboxTaskState.PROCESSING))
    if shape == "batch":
        response = success({"batch_id": batch.id, "task_ids": ids})
    elif shape == "research":
        response = success({"interaction_id": f"int_{batch.id}", "task_id": ids[0], "status": processing})
    else:
        data = {"task_id": ids[0], "task_status": waiting}
        response = podcast_success(data) if shape == "podcast" else success(data)
    return attrs.evolve(response, accepts=True)


def accepted_audio_response(task: Task, dialect: Dialect) -> PlannedResponse:
    """Return the response to an accepted second step of a podcast."""
    data = {"task_id": task.id, "task_status": dialect.status(SandboxTaskState.PROCESSING)}
    return attrs.evolve(podcast_success(data), accepts=True)


def task_data(task: Task, now: float, base_url: str, dialect: Dialect) -> dict[str, Any]:
    """Return the `data` of a status response. Outputs are URLs under `base_url`, which ends in a slash."""
    spec, state = task.spec, task.state(now)
    data: dict[str, Any] = {
        "task_id": task.id,
        "task_status": dialect.status(_shown_state(spec, state), is_music=spec.output_kind in _MUSIC),
        **_podcast_step(task, state),
    }
    if state is SandboxTaskState.SUCCESS:
        return data | _outputs(task, f"{base_url}files/{task.id}") | {"cost_credits": spec.price}
    if state is SandboxTaskState.FAILED:
        return data | {"msg": task.reason, "cost_credits": 0}
    return data


def file_extensions(spec: TaskSpec) -> frozenset[str]:
    """Return the extensions of the files that a finished task has."""
    if spec.output_kind is OutputKind.IMAGE:
        return frozenset({"png"})
    if spec.output_kind is OutputKind.VIDEO:
        return frozenset({"mp4", "png"})
    if spec.output_kind is OutputKind.SONG:
        return frozenset({"wav", "png"})
    return frozenset({"wav"}) if spec.output_kind in _SOUNDS else frozenset()


def podcast_script(spec: TaskSpec) -> list[dict[str, Any]]:
    """Return the lines of a podcast about its subject."""
    lines = [
        f"Welcome. Today we talk about this: {spec.prompt}",
        "A good question, and one with more than one answer.",
        f"Let us begin with the basics: what do we know about {spec.prompt}?",
        "Less than we think. That is what makes it worth an evening.",
    ]
    return [
        {
            "speaker_id": speaker,
            "speaker_name": NAMES.get(speaker, speaker),
            "content": line,
        }
        for speaker, line in zip(cycle(spec.speakers), lines, strict=False)
    ]


def research_outputs(spec: TaskSpec) -> list[dict[str, Any]]:
    """Return the outputs of a research."""
    return [
        {"type": "text", "text": f"# {spec.prompt}\n\nThis report was written in a sandbox by {spec.model}."},
        {"type": "text", "text": "Sources: none. Nothing here was looked up anywhere."},
    ]


def _shown_state(spec: TaskSpec, state: SandboxTaskState) -> SandboxTaskState:
    """Return the state that a status shows: a podcast whose script is ready is still processing."""
    is_ready = spec.output_kind is OutputKind.SCRIPT and state is SandboxTaskState.SUCCESS
    return SandboxTaskState.PROCESSING if is_ready else state


def _podcast_step(task: Task, state: SandboxTaskState) -> dict[str, Any]:
    """Return the members for a podcast's step."""
    kind, spec = task.spec.output_kind, task.spec
    if kind is OutputKind.SCRIPT and state is SandboxTaskState.SUCCESS:
        return {"content_status": "text-success", "scripts": podcast_script(spec)}
    if kind is OutputKind.SCRIPT and state is SandboxTaskState.FAILED:
        return {"content_status": "text-fail"}
    if kind is OutputKind.PODCAST:
        steps = {SandboxTaskState.SUCCESS: "audio-success", SandboxTaskState.FAILED: "audio-fail"}
        return {"content_status": steps.get(state, "text-success"), "scripts": list(spec.dialogue)}
    return {}


def _outputs(task: Task, file: str) -> dict[str, Any]:
    spec = task.spec
    if spec.output_kind is OutputKind.IMAGE:
        return {"images": [f"{file}.png"]}
    if spec.output_kind is OutputKind.VIDEO:
        return {
            "videos": [{"url": f"{file}.mp4", "cover_image_url": f"{file}.png"} if spec.has_cover else f"{file}.mp4"]
        }
    if spec.output_kind in _SOUNDS:
        return {"audios": [f"{file}.wav"], **(_song(spec, file) if spec.output_kind is OutputKind.SONG else {})}
    if spec.output_kind is OutputKind.TRANSCRIPT:
        return {"speech_text": f"This is what was said in {spec.prompt.rpartition('/')[2]}."}
    if spec.output_kind is OutputKind.REPORT:
        return {"deep_research_outputs": research_outputs(spec)}
    return {}


def _song(spec: TaskSpec, file: str) -> dict[str, Any]:
    return {"lyrics": spec.text or f"La la, {spec.prompt}, la la.", "cover_url": f"{file}.png"}
