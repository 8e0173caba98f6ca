"""The loop of WeryAI's documentation: `requests`, `time.sleep(3)`, a thread per job."""

from __future__ import annotations

import time

import requests

from benchmarks.peers._plan import Plan
from benchmarks.peers.clients import _by_hand
from benchmarks.peers.clients._bench import NoOutputError, Note, measure_threads

_LONGEST = 300.0


def run(plan: Plan, prompt: str, note: Note) -> None:
    """Submit and look every 3 s."""
    accepted = requests.post(
        plan.url + _by_hand.SUBMIT, headers=_by_hand.HEADERS, json=_by_hand.body(prompt), timeout=30
    )
    accepted.raise_for_status()
    task_id = _by_hand.data(accepted.json())["task_ids"][0]
    note(task_id)
    began = time.time()
    while time.time() - began < _LONGEST:
        answer = requests.get(plan.url + _by_hand.status(task_id), headers=_by_hand.HEADERS)  # noqa: S113 - as documented
        found = _by_hand.data(answer.json())
        if found["task_status"] == "SUCCESS":
            return
        time.sleep(_by_hand.PAUSE)
    raise NoOutputError


if __name__ == "__main__":
    measure_threads(run)
