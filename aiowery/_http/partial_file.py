"""A file that a download writes beside its target, and that a later download of the same output continues."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

import attrs

from aiowery._base.new_files import SHARED, create, open_regular, place, write_all
from aiowery._core.file_types import SVG_SUFFIX, suffix_of_output
from aiowery._http.content_range import Extent, digest
from aiowery._http.data_urls import is_data_url

_MAX_VERSION: Final = 100
# A browser would run the scripts in an SVG picture that is opened by itself.
_SVG_AS_TEXT: Final = ".txt"


class NotWhole(Exception):
    """A partial file that did not become a whole one; a repeat may."""


class PartialState(NamedTuple):
    """The version and size in bytes of a partial file."""

    version: str = ""
    size: int = 0


@attrs.frozen
class PartialFile:
    """A partial file; its methods block and run in threads. They raise OSError, and NotWhole.

    A second small file names the version of the remote file, so that a later attempt can continue; without a version
    none can. `name` is the name of the target without its suffix, and `key` identifies the output. `svg`: an SVG
    picture is saved under its own suffix.
    """

    url: str
    directory: Path
    name: str
    key: str
    mode: int = SHARED
    svg: bool = False
    version: str = ""

    @property
    def path(self) -> Path:
        return self.directory / f".{self.name}.{digest(self.key)}.part"

    @property
    def _version_path(self) -> Path:
        return self.path.with_suffix(".version")

    def read_state(self) -> PartialState:
        """Return the state that an earlier attempt left; make the directory if it is missing."""
        self.directory.mkdir(parents=True, exist_ok=True)
        try:
            with open_regular(self._version_path) as file:
                version = file.read(_MAX_VERSION).decode("ascii", "replace")
            with open_regular(self.path, writable=True) as file:
                size = os.fstat(file.fileno()).st_size
        except OSError:  # missing, or something that is not continued
            return PartialState()
        return PartialState(version, size) if version and size else PartialState()

    def save(self, chunks: Iterable[bytes], offset: int) -> int:
        """Append to the file, or begin it again if `offset` is 0; return the new size."""
        size = self._write(chunks, offset)
        if not offset:
            self._store_version()
        return size

    def finish(self, chunks: Iterable[bytes], offset: int, extent: Extent, media_type: str) -> Path:
        """Write the rest, check the whole file, and rename it; return its path. Raises NoMedia for other contents."""
        try:
            size = self._write(chunks, offset)
            self._check_size(size, offset, extent)
            suffix = self._check_content(size, media_type)
            target = place(self.path, self.name, _SVG_AS_TEXT if suffix == SVG_SUFFIX and not self.svg else suffix)
        except FileNotFoundError as fault:
            raise NotWhole("another process finished or removed the same file") from fault
        self._version_path.unlink(missing_ok=True)
        return target

    def discard(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)
        self._version_path.unlink(missing_ok=True)

    def _write(self, chunks: Iterable[bytes], offset: int) -> int:
        if not offset:
            self.discard()
        try:
            file = open_regular(self.path, writable=True) if offset else create(self.path, self.mode)
        except (FileNotFoundError, FileExistsError) as fault:
            raise NotWhole("another process finished, removed or began the same file") from fault
        with file:
            size = file.seek(0, os.SEEK_END)
            if size != offset:
                raise NotWhole("another process wrote into the same file")
            for chunk in chunks:
                write_all(file, chunk)
                size += len(chunk)
        return size

    def _store_version(self) -> None:
        if self.version:
            with create(self._version_path, self.mode) as file:
                write_all(file, self.version.encode("ascii"))

    def _check_size(self, size: int, offset: int, extent: Extent) -> None:
        """Raise NotWhole unless the file has its size; keep it only if it is right so far and can be continued."""
        if extent.wanted in {None, size}:
            return
        if size != extent.end or not self.version:
            self.discard()
        elif not offset:
            self._store_version()
        raise NotWhole(f"{size} of {extent.wanted} bytes arrived")

    def _check_content(self, size: int, media_type: str) -> str:
        """Write the file to the disk, and return its suffix. Raises NoMedia if it is no picture, film or sound."""
        with open_regular(self.path, writable=True) as file:
            if os.fstat(file.fileno()).st_size != size:
                raise NotWhole("another process wrote into the same file")
            os.fsync(file.fileno())
            try:
                return suffix_of_output(file, media_type, url_path(self.url))
            except ValueError:
                self.discard()
                raise


def check_in_memory(content: bytes, media_type: str, url: str) -> None:
    """Raise NoMedia for a content that is no picture, film or sound."""
    suffix_of_output(io.BytesIO(content), media_type, url_path(url))


def url_path(url: str) -> str:
    """Return the path of a URL; empty for a URL without one, and for an invalid one."""
    with contextlib.suppress(ValueError):  # the HTTP client raises the error
        return "" if is_data_url(url) else unquote(urlsplit(url).path)
    return ""
