"""The output directory: the manifest, which loses nothing, and files of earlier batches."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowery.cli.records import ItemError, ItemStatus, Record, Summary, duration
from aiowery.cli.run.manifest import Manifest, prepare_directory, set_aside
from aiowery.errors import ConfigurationError, JobFailed


def _record(index: int, **facts: Any) -> Record:
    made: dict[str, Any] = {
        "line": index,
        "prompt": "zwölf\nMöwen",
        "request": {"type": "text-to-image", "prompt": "zwölf\nMöwen"},
        "notes": {},
        "status": ItemStatus.DONE,
    }
    return Record(index=index, **{**made, **facts})


class _Full:
    """A file on a disk with room for this many bytes, which tests may raise later."""

    def __init__(self, path: Path, room: int) -> None:
        self._file = path.open("xb", buffering=0)
        self.room = room

    def write(self, content: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self._file.write(content[: self.room])
        self.room -= written
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def test_manifest_writes_each_line_before_returning(tmp_path: Path) -> None:
    """A crash right after a method returns loses neither ids nor records."""
    manifest = Manifest(tmp_path)
    manifest.add_accepted(1, ("t1", "t2"))
    assert json.loads((tmp_path / "under-way.jsonl").read_text()) == {"index": 1, "batch": "", "task_ids": ["t1", "t2"]}
    manifest.add_record(_record(1, task_ids=("t1", "t2"), seconds=1.23456, problem=ItemError.of(JobFailed("x"))))
    line = json.loads((tmp_path / "manifest.jsonl").read_text())
    assert (line["task_ids"], line["seconds"], line["error"]["class"]) == (["t1", "t2"], 1.235, "JobFailed")
    manifest.close(is_complete=True)
    assert not (tmp_path / "under-way.jsonl").exists()


def test_manifest_after_an_exception_keeps_ids(tmp_path: Path) -> None:
    """If the run ends by an exception, the ids of accepted items are kept."""
    with pytest.raises(RuntimeError), Manifest(tmp_path) as manifest:
        manifest.add_accepted(1, ("t1",))
        raise RuntimeError
    assert (tmp_path / "under-way.jsonl").exists()


@given(room=st.integers(0, 300))
def test_manifest_on_a_full_disk_loses_no_line(tmp_path_factory: pytest.TempPathFactory, room: int) -> None:
    """Wherever the disk becomes full, no half line stays, and the lines come once there is room again."""
    directory = tmp_path_factory.mktemp("full")
    manifest = Manifest(directory)
    manifest._records_file._file.close()
    (directory / "manifest.jsonl").unlink()
    file: Any = _Full(directory / "manifest.jsonl", room)
    manifest._records_file._file = file
    refused = 0
    for index in (1, 2):
        try:
            manifest.add_record(_record(index))
        except OSError:
            refused += 1
        written = (directory / "manifest.jsonl").read_bytes()
        assert written == b"" or written.endswith(b"\n")
    file.room = 10_000
    manifest.close(is_complete=True)
    lines = (directory / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["index"] for line in lines] == [1, 2]


def test_manifest_unwritable_to_the_end_prints_missing_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """If the disk stays full to the end, the missing lines go to standard error and the ids' file stays."""
    manifest = Manifest(tmp_path)
    file: Any = _Full(tmp_path / "other", 0)
    manifest._records_file._file.close()
    manifest._records_file._file = file
    manifest.add_accepted(1, ("t1",))
    with pytest.raises(OSError, match="No space left"):
        manifest.add_record(_record(1, task_ids=("t1",), urls=("https://example.com/1.png",)))
    manifest.close(is_complete=True)
    printed = json.loads(capsys.readouterr().err.splitlines()[-1])
    assert (printed["task_ids"], printed["urls"]) == (["t1"], ["https://example.com/1.png"])
    assert (tmp_path / "under-way.jsonl").exists()


def test_manifest_with_invalid_characters_is_written(tmp_path: Path) -> None:
    """A prompt with invalid bytes is written with replacement characters."""
    with Manifest(tmp_path) as manifest:
        manifest.add_accepted(1, ("t1",))
        manifest.add_record(_record(1, prompt="a \udcff", request={"prompt": "a \udcff"}, task_ids=("t1",)))
    line = json.loads((tmp_path / "manifest.jsonl").read_text(encoding="utf-8"))
    assert (line["task_ids"], line["request"]["prompt"]) == (["t1"], "a ?")


def test_manifest_with_an_unserializable_record_keeps_ids(tmp_path: Path) -> None:
    """If a record cannot be serialized, the file with its task ids is kept."""
    with Manifest(tmp_path) as manifest:
        manifest.add_accepted(1, ("t1",))
        with pytest.raises(TypeError):
            manifest.add_record(_record(1, task_ids=("t1",), notes={"a": object()}))
    assert json.loads((tmp_path / "under-way.jsonl").read_text()) == {"index": 1, "batch": "", "task_ids": ["t1"]}


def test_manifest_of_an_unstarted_run_leaves_no_files(tmp_path: Path) -> None:
    """If it broke off before anything was sent, the directory is as it was."""
    with pytest.raises(RuntimeError), Manifest(tmp_path, 10):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_manifest_in_use_raises_configuration_error(tmp_path: Path) -> None:
    """A directory that another batch writes to is refused."""
    with Manifest(tmp_path), pytest.raises(ConfigurationError, match="File exists"):
        Manifest(tmp_path)


def test_manifest_on_a_full_disk_uses_its_reserve(tmp_path: Path) -> None:
    """A full disk raises OSError, and the line is still written into the reserve."""
    manifest = Manifest(tmp_path, 10)
    (reserve,) = tmp_path.glob(".aiowery-probe-reserve-*")
    size = reserve.stat().st_size
    manifest._records_file._file.close()
    (tmp_path / "manifest.jsonl").unlink()
    file: Any = _Full(tmp_path / "manifest.jsonl", 0)
    manifest._records_file._file = file
    shrink = manifest._reserve.shrink

    def shrinking() -> bool:
        file.room = 10_000
        return shrink()

    manifest._reserve.shrink = shrinking  # type: ignore[method-assign]
    with pytest.raises(OSError, match="No space left"):
        manifest.add_record(_record(1))
    assert reserve.stat().st_size < size
    assert len((tmp_path / "manifest.jsonl").read_text().splitlines()) == 1
    manifest.close(is_complete=True)
    assert not reserve.exists()


def test_set_aside_moves_manifest_gallery_and_files(tmp_path: Path) -> None:
    """Manifest, gallery and the files the manifest names move; anything else stays; broken lines do no harm."""
    (tmp_path / "manifest.jsonl").write_text(
        'broken\n[]\n{"files": ["a.png", "gone.png", "../out.txt", 5]}\n{"files": 3}\n{"files": ["a.png"]}\n'
    )
    for name in ("a.png", "mine.png", "gallery.html"):
        (tmp_path / name).write_text(name)
    assert set_aside(tmp_path) == tmp_path / "earlier-1"
    assert {path.name for path in tmp_path.iterdir()} == {"earlier-1", "mine.png"}
    assert {path.name for path in (tmp_path / "earlier-1").iterdir()} == {"a.png", "manifest.jsonl", "gallery.html"}
    assert set_aside(tmp_path) is None
    (tmp_path / "under-way.jsonl").write_text("")
    assert set_aside(tmp_path) == tmp_path / "earlier-2"


def test_prepare_directory_creates_an_empty_directory(tmp_path: Path) -> None:
    """The probe is gone afterwards."""
    prepare_directory(tmp_path / "deep" / "out")
    assert list((tmp_path / "deep" / "out").iterdir()) == []


def test_set_aside_moves_covers(tmp_path: Path) -> None:
    """A still picture that belongs to a video is a part of the batch."""
    (tmp_path / "manifest.jsonl").write_text('{"files": ["a.mp4"], "covers": {"a.mp4": "a-cover.png"}}\n')
    for name in ("a.mp4", "a-cover.png"):
        (tmp_path / name).write_text(name)
    set_aside(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"earlier-1"}


def test_prepare_directory_with_a_file_in_the_way_raises(tmp_path: Path) -> None:
    """A file is no directory."""
    (tmp_path / "out").write_text("")
    with pytest.raises(ConfigurationError, match="cannot write to"):
        prepare_directory(tmp_path / "out")


def test_summary_counts_items_by_status() -> None:
    """Numbers of each fate are in the sentence; those that are nought are not."""
    records = [
        _record(1, files=("a", "b"), credits=2.0, failures=("no",)),
        _record(2, status=ItemStatus.FAILED),
        _record(3, status=ItemStatus.IN_DOUBT),
    ]
    summary = Summary.of(records, 65)
    assert not summary.all_done
    assert str(summary) == (
        "1 of 3 done, 1 failed, 1 in doubt (may have been charged), 1 of those done lack an output:"
        " 2 files, 2 credits, in 1:05 min"
    )
    assert Summary.of([_record(1)], 1.0).all_done


@pytest.mark.parametrize(("seconds", "words"), [(0, "0.0 s"), (59.9, "59.9 s"), (61, "1:01 min"), (7380, "2:03:00 h")])
def test_duration_formats_by_length(seconds: float, words: str) -> None:
    """Short times in seconds, long ones in minutes and hours."""
    assert duration(seconds) == words
