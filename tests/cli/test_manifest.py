"""The output directory: the manifest, which loses no record, and the files of earlier batches."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowery.cli.file_names import file_mode
from aiowery.cli.records import ItemError, Record
from aiowery.cli.run.manifest import Manifest, belongs_to, prepare_directory, set_aside
from aiowery.errors import ConfigurationError, JobFailed
from tests.cli.conftest import make_record, read_manifest


def _record(index: int, **fields: Any) -> Record:
    prompt = "zwölf\nMöwen"
    return make_record(index, **{"prompt": prompt, "request": {"type": "text-to-image", "prompt": prompt}, **fields})


class _FileOnFullDisk:
    """A file on a disk with room for `room` bytes, which a test may change."""

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


def test_manifest_after_each_method_has_written_its_line(tmp_path: Path) -> None:
    """When a method returns, its ids or its record are in the file, so that a crash does not lose them."""
    manifest = Manifest(tmp_path)
    manifest.add_accepted(1, ("t1", "t2"))
    assert json.loads((tmp_path / "under-way.jsonl").read_text()) == {"index": 1, "batch": "", "task_ids": ["t1", "t2"]}
    manifest.add_record(_record(1, task_ids=("t1", "t2"), seconds=1.23456, problem=ItemError.of(JobFailed("x"))))
    record = json.loads((tmp_path / "manifest.jsonl").read_text())
    assert (record["task_ids"], record["seconds"], record["error"]["class"]) == (["t1", "t2"], 1.235, "JobFailed")
    manifest.close(is_complete=True)
    assert not (tmp_path / "under-way.jsonl").exists()


def test_manifest_after_an_exception_keeps_ids(tmp_path: Path) -> None:
    """If the run ends by an exception, the file with the ids of accepted items stays."""
    with pytest.raises(RuntimeError), Manifest(tmp_path) as manifest:
        manifest.add_accepted(1, ("t1",))
        raise RuntimeError
    assert (tmp_path / "under-way.jsonl").exists()


@given(room=st.integers(0, 300))
def test_manifest_on_a_full_disk_loses_no_line(tmp_path_factory: pytest.TempPathFactory, room: int) -> None:
    """If the disk becomes full at any byte, no partial line stays, and all lines are written once there is room."""
    directory = tmp_path_factory.mktemp("full")
    manifest = Manifest(directory)
    manifest._records_file._file.close()
    (directory / "manifest.jsonl").unlink()
    file: Any = _FileOnFullDisk(directory / "manifest.jsonl", room)
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
    assert [record["index"] for record in read_manifest(directory)] == [1, 2]


def test_manifest_unwritable_to_the_end_prints_missing_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """If the disk stays full, the missing lines are printed on standard error, and the file with the ids stays."""
    manifest = Manifest(tmp_path)
    file: Any = _FileOnFullDisk(tmp_path / "other", 0)
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
    """Invalid characters of a prompt are written as replacement characters."""
    with Manifest(tmp_path) as manifest:
        manifest.add_accepted(1, ("t1",))
        manifest.add_record(_record(1, prompt="a \udcff", request={"prompt": "a \udcff"}, task_ids=("t1",)))
    (record,) = read_manifest(tmp_path)
    assert (record["task_ids"], record["request"]["prompt"]) == (["t1"], "a ?")


def test_manifest_with_an_unserializable_record_keeps_ids(tmp_path: Path) -> None:
    """If a record cannot be serialized, the file with its task ids stays."""
    with Manifest(tmp_path) as manifest:
        manifest.add_accepted(1, ("t1",))
        with pytest.raises(TypeError):
            manifest.add_record(_record(1, task_ids=("t1",), other_columns={"a": object()}))
    assert json.loads((tmp_path / "under-way.jsonl").read_text()) == {"index": 1, "batch": "", "task_ids": ["t1"]}


def test_manifest_of_an_unstarted_run_leaves_no_files(tmp_path: Path) -> None:
    """If the run ends before anything was sent, no file stays in the directory."""
    with pytest.raises(RuntimeError), Manifest(tmp_path, 10):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_manifest_in_use_raises_configuration_error(tmp_path: Path) -> None:
    """A directory that another batch writes to raises ConfigurationError."""
    with Manifest(tmp_path), pytest.raises(ConfigurationError, match="File exists"):
        Manifest(tmp_path)


def test_manifest_on_a_full_disk_uses_its_reserve(tmp_path: Path) -> None:
    """On a full disk the line is written into the reserve, and OSError is raised all the same."""
    manifest = Manifest(tmp_path, 10)
    (reserve,) = tmp_path.glob(".aiowery-probe-reserve-*")
    size = reserve.stat().st_size
    manifest._records_file._file.close()
    (tmp_path / "manifest.jsonl").unlink()
    file: Any = _FileOnFullDisk(tmp_path / "manifest.jsonl", 0)
    manifest._records_file._file = file
    shrink = manifest._reserve.shrink

    def shrink_and_make_room() -> bool:
        file.room = 10_000
        return shrink()

    manifest._reserve.shrink = shrink_and_make_room  # type: ignore[method-assign]
    with pytest.raises(OSError, match="No space left"):
        manifest.add_record(_record(1))
    assert reserve.stat().st_size < size
    assert len((tmp_path / "manifest.jsonl").read_text().splitlines()) == 1
    manifest.close(is_complete=True)
    assert not reserve.exists()


def test_set_aside_of_an_earlier_batch_moves_only_its_files(tmp_path: Path) -> None:
    """Manifest, gallery and the files that the manifest names are moved, and no others. Broken lines are ignored."""
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


def test_prepare_directory_with_missing_parents_creates_an_empty_directory(tmp_path: Path) -> None:
    """The directory and its parents are created, and the file that probes it is removed."""
    prepare_directory(tmp_path / "deep" / "out")
    assert list((tmp_path / "deep" / "out").iterdir()) == []


def test_set_aside_of_a_video_moves_its_cover(tmp_path: Path) -> None:
    """The cover of a video is moved with the video."""
    (tmp_path / "manifest.jsonl").write_text('{"files": ["a.mp4"], "covers": {"a.mp4": "a-cover.png"}}\n')
    for name in ("a.mp4", "a-cover.png"):
        (tmp_path / name).write_text(name)
    set_aside(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"earlier-1"}


def test_prepare_directory_with_a_file_of_that_name_raises(tmp_path: Path) -> None:
    """If a file has the name of the directory, ConfigurationError is raised."""
    (tmp_path / "out").write_text("")
    with pytest.raises(ConfigurationError, match="cannot write to"):
        prepare_directory(tmp_path / "out")


needs_posix = pytest.mark.skipif(os.name != "posix", reason="links, pipes and modes as POSIX has them")


@needs_posix
def test_manifest_over_a_link_writes_nothing_elsewhere(tmp_path: Path) -> None:
    """A link of the manifest's name, also one that leads nowhere, is refused, and its target is not touched."""
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "victim").write_text("precious")
    for target in ("victim", "missing"):
        (out / "manifest.jsonl").symlink_to(tmp_path / target)
        with pytest.raises(ConfigurationError, match="cannot write to"):
            Manifest(out, 3)
        (out / "manifest.jsonl").unlink()
    assert (tmp_path / "victim").read_text() == "precious"
    assert not (tmp_path / "missing").exists()
    assert list(out.iterdir()) == []


@needs_posix
def test_prepare_directory_probe_follows_no_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of the names that the probe and the reserve would have are not written to."""
    monkeypatch.setattr("secrets.token_hex", lambda _: "0" * 8)
    (tmp_path / "victim").write_text("precious")
    out = tmp_path / "out"
    out.mkdir()
    for name in ("", "-reserve"):
        (out / f".aiowery-probe{name}-{os.getpid()}-00000000").symlink_to(tmp_path / "victim")
    with pytest.raises(ConfigurationError, match="cannot write to"):
        prepare_directory(out)
    with pytest.raises(ConfigurationError, match="cannot write to"):
        Manifest(out, 3)
    assert (tmp_path / "victim").read_text() == "precious"


@needs_posix
@pytest.mark.parametrize("name", ["manifest.jsonl", "under-way.jsonl"])
def test_manifest_that_is_a_pipe_is_not_read(tmp_path: Path, name: str) -> None:
    """A pipe would wait for a writer for ever; a link is not followed either. Both are moved aside as they are."""
    os.mkfifo(tmp_path / name)
    assert belongs_to(tmp_path, "cats")
    assert set_aside(tmp_path) == tmp_path / "earlier-1"
    (tmp_path / name).symlink_to(tmp_path / "missing")
    assert belongs_to(tmp_path, "cats")
    assert set_aside(tmp_path) == tmp_path / "earlier-2"


@needs_posix
@pytest.mark.parametrize(("ledger", "mode"), [(None, 0o600), (0o600, 0o600), (0o640, 0o640), (0o644, 0o600)])
def test_manifest_has_the_mode_of_its_ledger(tmp_path: Path, ledger: int | None, mode: int) -> None:
    """Prompts and URLs are in both. A mode that all users can read is not taken over."""
    path = tmp_path / "jobs.db"
    if ledger is not None:
        path.touch()
        path.chmod(ledger)
    assert file_mode(path) == mode
    assert file_mode(None) == 0o600
    out = tmp_path / "out"
    out.mkdir()
    with Manifest(out, mode=file_mode(path)) as manifest:
        manifest.add_accepted(1, ("t1",))
        assert {stat.S_IMODE((out / name).stat().st_mode) for name in ("manifest.jsonl", "under-way.jsonl")} == {mode}
        manifest.add_record(_record(1, task_ids=("t1",)))
