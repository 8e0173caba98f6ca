"""What answers say of tasks: that they were accepted, how they stand, what they made."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING, Any

import attrs

from aiowery.sandbox._answer import Answer, podcast_answer, success
from aiowery.sandbox._tasks import OutputKind, SandboxTaskState
from aiowery.sandbox._weryai.models import NAMES

if TYPE_CHECKING:
    from aiowery.sandbox._parameter_rules import Shape
    from aiowery.sandbox._tasks import Batch, Task, TaskSpec

_CAPITALS = {
    SandboxTaskState.WAITING: "WAITING",
    SandboxTaskState.PROCESSING: "PROCESSING",
    SandboxTaskState.SUCCESS: "SUCCEED",
    SandboxTaskState.FAILED: "FAILED",
}
_MUSICAL = {OutputKind.SONG, OutputKind.MUSIC}
_SOUNDS = {OutputKind.SONG, OutputKind.MUSIC, OutputKind.SPEECH, OutputKind.PODCAST}


def accepted(shape: Shape, batch: Batch) -> Answer:
    """Say that a submission was taken, in the shape of its endpoint."""
    ids = [task.id for task in batch.tasks]
    if shape == "batch":
        answer = success({"batch_id": batch.id, "task_ids": ids})
    elif shape == "research":
        answer = success({"interaction_id": f"int_{batch.id}", "task_id": ids[0], "status": "processing"})
    else:
        data = {"task_id": ids[0], "task_status": "waiting"}
        answer = podcast_answer(data) if shape == "podcast" else success(data)
    return attrs.evolve(answer, accepts=True)


def accepted_voices(task: Task) -> Answer:
    """Say that the second step of a podcast was taken."""
    return attrs.evolve(podcast_answer({"task_id": task.id, "task_status": "processing"}), accepts=True)


def report(task: Task, now: float, base_url: str) -> dict[str, Any]:
    """Return the `data` of a status answer; outputs are addresses under `base_url`, which ends in a slash."""
    order, state = task.spec, task.state(now)
    word = _CAPITALS[state] if order.output_kind in _MUSICAL else state.value
    told: dict[str, Any] = {"task_id": task.id, "task_status": word, **_step(task, state)}
    if state is SandboxTaskState.SUCCESS:
        return told | _outputs(task, f"{base_url}files/{task.id}") | {"cost_credits": order.price}
    if state is SandboxTaskState.FAILED:
        return told | {"msg": task.reason, "cost_credits": 0}
    return told


def forms_of(order: TaskSpec) -> frozenset[str]:
    """Return the endings of the files that a finished task has."""
    if order.output_kind is OutputKind.IMAGE:
        return frozenset({"png"})
    if order.output_kind is OutputKind.VIDEO:
        return frozenset({"mp4", "png"})
    if order.output_kind is OutputKind.SONG:
        return frozenset({"wav", "png"})
    return frozenset({"wav"}) if order.output_kind in _SOUNDS else frozenset()


def script(order: TaskSpec) -> list[dict[str, Any]]:
    """Write a podcast's turns about its subject."""
    lines = [
        f"Welcome. Today we talk about this: {order.prompt}",
        "A good question, and one with more than one answer.",
        f"Let us begin where everybody begins: what do we know about {order.prompt}?",
        "Less than we think. That is what makes it worth an evening.",
    ]
    return [
        {
            "speaker_id": speaker,
            "speaker_name": NAMES.get(speaker, speaker),
            "content": line,
        }
        for speaker, line in zip(cycle(order.speakers), lines, strict=False)
    ]


def research(order: TaskSpec) -> list[dict[str, Any]]:
    """Write the outputs of a research."""
    return [
        {"type": "text", "text": f"# {order.prompt}\n\nThis report was written in a sandbox by {order.model}."},
        {"type": "text", "text": "Sources: none. Nothing here was looked up anywhere."},
    ]


def _step(task: Task, state: SandboxTaskState) -> dict[str, Any]:
    """Tell the step of a podcast: while the script is there, the task itself still goes on."""
    makes, order = task.spec.output_kind, task.spec
    if makes is OutputKind.SCRIPT and state is SandboxTaskState.SUCCESS:
        return {
            "task_status": SandboxTaskState.PROCESSING.value,
            "content_status": "text-success",
            "scripts": script(order),
        }
    if makes is OutputKind.SCRIPT and state is SandboxTaskState.FAILED:
        return {"content_status": "text-fail"}
    if makes is OutputKind.PODCAST:
        steps = {SandboxTaskState.SUCCESS: "audio-success", SandboxTaskState.FAILED: "audio-fail"}
        return {"content_status": steps.get(state, "text-success"), "scripts": list(order.turns)}
    return {}


def _outputs(task: Task, file: str) -> dict[str, Any]:
    order = task.spec
    if order.output_kind is OutputKind.IMAGE:
        return {"images": [f"{file}.png"]}
    if order.output_kind is OutputKind.VIDEO:
        return {
            "videos": [{"url": f"{file}.mp4", "cover_image_url": f"{file}.png"} if order.has_cover else f"{file}.mp4"]
        }
    if order.output_kind in _SOUNDS:
        return {"audios": [f"{file}.wav"], **(_song(order, file) if order.output_kind is OutputKind.SONG else {})}
    if order.output_kind is OutputKind.TRANSCRIPT:
        return {"speech_text": f"This is what was said in {order.prompt.rpartition('/')[2]}."}
    if order.output_kind is OutputKind.REPORT:
        return {"deep_research_outputs": research(order)}
    return {}


def _song(order: TaskSpec, file: str) -> dict[str, Any]:
    return {"lyrics": order.text or f"La la, {order.prompt}, la la.", "cover_url": f"{file}.png"}
