"""Fault behaviors of the response format: the same data in another form, or with parts missing."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import attrs

from aiowery.sandbox._faults.connection import FaultBehavior
from aiowery.sandbox._tasks import SandboxTaskState

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiowery.sandbox._response import PlannedResponse

_OUTPUTS = ("images", "videos", "audios")
_TEXTS = ("speech_text", "deep_research_outputs", "scripts", "lyrics", "cover_url")
_SYNONYMS = {
    "succeed": SandboxTaskState.SUCCESS,
    "queued": SandboxTaskState.WAITING,
    "succeeded": SandboxTaskState.SUCCESS,
    "completed": SandboxTaskState.SUCCESS,
}
_STATES = {state.casefold(): state for state in SandboxTaskState} | _SYNONYMS
_Json = dict[str, Any]


def _edit(response: PlannedResponse, change: Callable[[_Json], _Json]) -> PlannedResponse:
    """Change the envelope if there is one."""
    if response.code is None:
        return response
    return attrs.evolve(response, body=change(response.body))


def _edit_data(response: PlannedResponse, change: Callable[[Any], Any]) -> PlannedResponse:
    """Change the data of a successful envelope."""

    def on_data(body: _Json) -> _Json:
        return body if body.get("data") is None else {**body, "data": change(body["data"])}

    return _edit(response, on_data)


def _edit_tasks(response: PlannedResponse, change: Callable[[_Json], _Json]) -> PlannedResponse:
    """Change each task of a status or batch response."""

    def on_data(data: Any) -> Any:
        if isinstance(data, list):
            return [on_data(item) for item in data]
        return change(data) if isinstance(data, dict) and "task_status" in data else data

    return _edit_data(response, on_data)


def _edit_generation(response: PlannedResponse, change: Callable[[_Json], _Json]) -> PlannedResponse:
    """Change BetterWaifu's description of a generation: the whole body of a job, or the data of an image."""
    body = response.body
    if not isinstance(body, dict):
        return response
    if "id" in body and isinstance(body.get("status"), str):
        return attrs.evolve(response, body=change(body))
    data = body.get("data")
    if isinstance(data, dict) and "image_id" in data:
        return attrs.evolve(response, body={**body, "data": change(data)})
    return response


def _without(body: _Json, *names: str) -> _Json:
    return {key: value for key, value in body.items() if key not in names}


def _output_names(task: _Json) -> list[str]:
    return [name for name in _OUTPUTS if name in task]


@attrs.frozen
class Success200(FaultBehavior):
    """The envelope has `status: 200` and `success: true` instead of `status: 0`."""

    def alter_response(self, response: PlannedResponse) -> PlannedResponse:
        """Replace the members that indicate a success."""
        return _edit(response, lambda body: {**body, "status": 200, "success": True} if body["status"] == 0 else body)


@attrs.frozen
class TextInMsg(FaultBehavior):
    """The envelope has its text in `msg`, without `message` and `desc`."""

    def alter_response(self, response: PlannedResponse) -> PlannedResponse:
        """Move the text."""

        def move(body: _Json) -> _Json:
            rest = {key: value for key, value in body.items() if key not in {"message", "desc"}}
            return {**rest, "msg": body.get("message")}

        return _edit(response, move)


def _task_number(task_id: str) -> int:
    """Return the digits of an id as a number, by which the task is found too."""
    return int(task_id.removeprefix("task_"), 16)


def _edit_batch(response: PlannedResponse, change: Callable[[_Json], _Json]) -> PlannedResponse:
    """Change the data of a submission response that contains a batch."""
    return _edit_data(response, lambda data: change(data) if isinstance(data, dict) and "task_ids" in data else data)


@attrs.frozen
class NumericTaskIds(FaultBehavior):
    """Task ids are JSON numbers in submission and status responses. The sandbox finds tasks by these numbers too."""

    def alter_response(self, response: PlannedResponse) -> PlannedResponse:
        """Convert the ids into numbers."""

        def numbers(data: _Json) -> _Json:
            return {**data, "task_ids": [_task_number(task_id) for task_id in data["task_ids"]]}

        def number(task: _Json) -> _Json:
            return {**task, "task_id": _task_number(task["task_id"])} if "task_id" in task else task

        edited = _edit_batch(response, numbers)
        return _edit_data(edited, number) if response.accepts else _edit_tasks(edited, number)


@attrs.frozen
class StringBatchId(FaultBehavior):
    """The batch id of a submission is a string."""

    def alter_response(self, response: PlannedResponse) -> PlannedResponse:
        """Convert the id into a string."""
        return _edit_batch(response, lambda ids: {**ids, "batch_id": str(ids["batch_id"])})


@attrs.frozen
class SingleTaskId(FaultBehavior):
    """A submission response has shape B: the `task_id` of the first task and `task_status`, without a batch."""

    def alter_response(self, response: PlannedResponse) -> PlannedResponse:
        """Convert the response to shape B."""

        def shape_b(data: _Json) -> _Json:
            return {"task_id": data["task_ids"][0], "task_status": SandboxTaskState.WAITING}

        return _edit_batch(response, shape_b)


@attrs.frozen
class NoIds(FaultBehavior):
    """A submission succeeds and is charged, but its response contains no id."""

    def alter_response(self, response: PlannedResponse) -> PlannedResponse:
        """Remove the ids."""
        if not response.accepts:
            return response
        bare = _edit_data(response, lambda _: {})
        return _edit_generation(bare, lambda body: _without(body, "id", "image_id"))


@attrs.frozen
class StatusWords(FaultBehavior):
    """Other status texts than the usual ones, by state. None keeps the usual one.

    `StatusWords(success="succeed")` is a synonym, `StatusWords(processing="REVIEWING")` an undocumented status.
    """

    waiting: str | None = attrs.field(default=None, kw_only=True)
    processing: str | None = attrs.field(default=None, kw_only=True)
    success: str | None = attrs.field(default=None, kw_only=True)
    failed: str | None = attrs.field(default=None, kw_only=True)

    def alter_response(self, response: PlannedResponse) -> PlannedResponse:
        """Replace the status texts."""
        statuses = {
            SandboxTaskState.WAITING: self.waiting,
            SandboxTaskState.PROCESSING: self.processing,
            SandboxTaskState.SUCCESS: self.success,
            SandboxTaskState.FAILED: self.failed,
        }

        def change(name: str, body: _Json) -> _Json:
            usual = body[name]
            state = _STATES.get(str(usual).casefold())
            return {**body, name: (statuses[state] if state else None) or usual}

        return _edit_generation(_edit_tasks(response, partial(change, "task_status")), partial(change, "status"))


@attrs.frozen
class StaleStatus(FaultBehavior):
    """An older status is repeated: tasks, or the job, have this `status` again, and no outputs."""

    status: str = SandboxTaskState.PROCESSING

    def alter_response(self, response: PlannedResponse) -> PlannedResponse:
        """Restore the older status."""

        def stale(body: _Json) -> _Json:
            return {"id": body["id"], "status": self.status} if "id" in body else body

        edited = _edit_tasks(response, lambda task: {"task_id": task["task_id"], "task_status": self.status})
        return _edit_generation(edited, stale)


@attrs.frozen
class ListData(FaultBehavior):
    """The data of a single status is a list with one item."""

    def alter_response(self, response: PlannedResponse) -> PlannedResponse:
        """Wrap the data."""
        return _edit_data(response, lambda data: [data] if isinstance(data, dict) and "task_status" in data else data)


@attrs.frozen
class SingleObject(FaultBehavior):
    """The data of a batch is a single object, its first task."""

    def alter_response(self, response: PlannedResponse) -> PlannedResponse:
        """Unwrap the first task."""
        return _edit_data(response, lambda data: data[0] if isinstance(data, list) and data else data)


@attrs.frozen
class MissingTasks(FaultBehavior):
    """The last `count` tasks are missing from a batch."""

    count: int = 1

    def alter_response(self, response: PlannedResponse) -> PlannedResponse:
        """Remove tasks."""
        return _edit_data(response, lambda data: data[: -self.count or None] if isinstance(data, list) else data)


@attrs.frozen
class ObjectOutputs(FaultBehavior):
    """Outputs are objects with the URL under `key` (`url`, `image_url`, ...) instead of strings."""

    key: str = "url"

    def alter_response(self, response: PlannedResponse) -> PlannedResponse:
        """Wrap the outputs."""

        def wrap(task: _Json) -> _Json:
            return {
                **task,
                **{name: [self._as_object(output) for output in task[name]] for name in _output_names(task)},
            }

        return _edit_tasks(response, wrap)

    def _as_object(self, output: str | _Json) -> _Json:
        if isinstance(output, str):
            return {self.key: output}
        others = {key: value for key, value in output.items() if key != "url"}
        return {self.key: output["url"], **others}


@attrs.frozen
class NestedOutputs(FaultBehavior):
    """Outputs, and the reason of a failure as `message`, are in an inner object named `under`."""

    under: str = "task_result"

    def alter_response(self, response: PlannedResponse) -> PlannedResponse:
        """Move the outputs into the inner object."""

        def move(task: _Json) -> _Json:
            inner = {name: task[name] for name in _output_names(task)}
            if "msg" in task:
                inner["message"] = task["msg"]
            outer = {key: value for key, value in task.items() if key not in {*_OUTPUTS, "msg"}}
            return {**outer, self.under: inner} if inner else task

        return _edit_tasks(response, move)


@attrs.frozen
class NoOutputs(FaultBehavior):
    """A task succeeds without outputs and without the texts it should have. A job has an empty list of images."""

    def alter_response(self, response: PlannedResponse) -> PlannedResponse:
        """Remove the outputs."""

        def empty(body: _Json) -> _Json:
            return {**body, "output": {**body["output"], "images": []}} if "output" in body else _without(body, "url")

        return _edit_generation(_edit_tasks(response, lambda task: _without(task, *_OUTPUTS, *_TEXTS)), empty)
