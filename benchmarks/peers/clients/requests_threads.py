"""The loop of WeryAI's documentation: `requests`, `time.sleep(3)`, a thread per job."""

from __future__ import annotations

import time

import requests

from benchmarks.peers._plan import Plan
from benchmarks.peers.clients import _weryai_protocol
from benchmarks.peers.clients._harness import NoOutputError, OnId, measure_threads

_LONGEST = 300.0


def run(plan: Plan, prompt: str, on_id: OnId) -> None:
    """Submit, and poll every 3 s until the task is done."""
    accepted = requests.post(
        plan.url + _weryai_protocol.SUBMIT,
        headers=_weryai_protocol.HEADERS,
        json=_weryai_protocol.body(prompt),
        timeout=30,
    )
    accepted.raise_for_status()
    task_id = _weryai_protocol.data(accepted.json())["task_ids"][0]
    on_id(task_id)
    began = time.time()
    while time.time() - began < _LONGEST:
        response = requests.get(plan.url + _weryai_protocol.status(task_id), headers=_weryai_protocol.HEADERS)  # noqa: S113 - as documented
        task = _weryai_protocol.data(response.json())
        if task["task_status"] == "SUCCESS":
            return
        time.sleep(_weryai_protocol.PAUSE)
    raise NoOutputError


if __name__ == "__main__":
    measure_threads(run)
