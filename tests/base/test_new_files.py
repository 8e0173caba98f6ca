"""Files that replace nothing: links are not followed, and names that are taken get a number."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from aiowery._base.new_files import PRIVATE, create, open_regular, place, write_new

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links and pipes as POSIX has them")


def make_part(directory: Path, content: bytes = b"new") -> Path:
    """Return a file that is to be placed."""
    part = directory / ".x.part"
    part.write_bytes(content)
    return part


def victim_behind_link(link: Path) -> Path:
    """Return a file of the user, to which a link with the given path leads."""
    victim = link.parent / "victim.txt"
    victim.write_bytes(b"precious")
    link.symlink_to(victim)
    return victim


def test_create_over_a_link_is_refused(tmp_path: Path) -> None:
    """Neither a link to a file nor a dangling one is followed."""
    victim = victim_behind_link(tmp_path / "a")
    (tmp_path / "b").symlink_to(tmp_path / "missing")
    for name in ("a", "b", "victim.txt"):
        with pytest.raises(FileExistsError):
            create(tmp_path / name)
    assert victim.read_bytes() == b"precious"
    assert not (tmp_path / "missing").exists()


def test_create_makes_a_file_of_the_mode(tmp_path: Path) -> None:
    """A private file is readable by its owner only."""
    create(tmp_path / "a", PRIVATE).close()
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


def test_open_regular_other_than_a_file_is_refused(tmp_path: Path) -> None:
    """A link, a pipe, which would hang, and a directory raise OSError."""
    victim_behind_link(tmp_path / "link")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    for name in ("link", "pipe", "directory", "missing"):
        for writable in (False, True):
            with pytest.raises(OSError, match=r"^\[Errno"):
                open_regular(tmp_path / name, writable=writable)


def test_open_regular_file_of_two_names_is_not_written(tmp_path: Path) -> None:
    """What is written under one name would change the other, which may be foreign."""
    (tmp_path / "a").write_bytes(b"abc")
    os.link(tmp_path / "a", tmp_path / "b")
    with open_regular(tmp_path / "a") as file:
        assert file.read() == b"abc"
    with pytest.raises(OSError, match="no regular file of one name"):
        open_regular(tmp_path / "a", writable=True)


@pytest.mark.parametrize("links", [True, False], ids=["hard links", "no hard links"])
def test_place_taken_name_gets_a_number(tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file, a link, a directory and a pipe of the name are left as they are."""
    if not links:

        def refuse(*_: Any, **__: Any) -> None:
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr("os.link", refuse)
    (tmp_path / "x.png").write_bytes(b"the user's own")
    victim = victim_behind_link(tmp_path / "x-2.png")
    (tmp_path / "x-3.png").mkdir()
    os.mkfifo(tmp_path / "x-4.png")
    assert place(make_part(tmp_path), "x", ".png") == tmp_path / "x-5.png"
    assert (tmp_path / "x-5.png").read_bytes() == b"new"
    assert (tmp_path / "x.png").read_bytes() == b"the user's own"
    assert victim.read_bytes() == b"precious"
    assert not (tmp_path / ".x.part").exists()
    assert (tmp_path / "x-5.png").stat().st_nlink == 1


def test_place_same_content_is_not_written_again(tmp_path: Path) -> None:
    """A file that was saved before is found by its content, so that a repeat makes no second one."""
    (tmp_path / "x.png").write_bytes(b"one")
    (tmp_path / "x-2.png").write_bytes(b"two")
    before = (tmp_path / "x-2.png").stat().st_ino
    assert place(make_part(tmp_path, b"two"), "x", ".png") == tmp_path / "x-2.png"
    assert (tmp_path / "x-2.png").stat().st_ino == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x-2.png", "x.png"]


def test_place_missing_file_raises_file_not_found(tmp_path: Path) -> None:
    """A file that another process took away is not placed, whether or not the name is taken."""
    (tmp_path / "x.png").write_bytes(b"one")
    for stem in ("x", "y"):
        with pytest.raises(FileNotFoundError):
            place(tmp_path / ".x.part", stem, ".png")


def test_write_new_text_replaces_nothing(tmp_path: Path) -> None:
    """The user's own text and a link stay, and an equal text is written once."""
    (tmp_path / "a.txt").write_bytes(b"the user's own")
    victim = victim_behind_link(tmp_path / "a-2.txt")
    for _ in range(2):
        assert write_new(tmp_path, "a", ".txt", b"new\n") == tmp_path / "a-3.txt"
    assert (tmp_path / "a-3.txt").read_bytes() == b"new\n"
    assert victim.read_bytes() == b"precious"


def test_write_new_failed_write_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text that could not be written wholly is removed."""

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("aiowery._base.new_files.write_all", full)
    with pytest.raises(OSError, match="No space left"):
        write_new(tmp_path, "a", ".txt", b"new\n")
    assert list(tmp_path.iterdir()) == []
