"""Saving of results: outputs, their covers, texts."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path, PurePath
from typing import Any

import anyio
import anyio.to_thread
import attrs

from aiowery import Asset, Request, Result
from aiowery._base.new_files import PRIVATE, write_new
from aiowery._client.client import Client
from aiowery._core.events import log
from aiowery.cli.file_names import COVER_SUFFIX, without_covers
from aiowery.errors import DownloadError


@attrs.define
class SavedFiles:
    """Saved files of a result: their names, covers by the file they belong to, and URLs that are not saved yet."""

    files: list[str] = attrs.field(factory=list)
    covers: dict[str, str] = attrs.field(factory=dict)
    urls: list[str] = attrs.field(factory=list)
    error: DownloadError | None = None


class Saver:
    """A saver that writes results to a directory, or nowhere.

    After the first error of the disk it saves nothing more.
    """

    def __init__(self, client: Client, directory: Path | None) -> None:
        self._client = client
        self._directory = directory
        self.disk_error: DownloadError | None = None

    async def save(
        self, request: Request[Any], result: Result, stem: str, saved: SavedFiles, earlier: Sequence[str] = ()
    ) -> None:
        """Save the outputs one by one, and add them to `saved`. An output that fails does not stop the later ones.

        `earlier` are the file names that an earlier run has saved. Files that still exist are not fetched again.
        """
        if self._directory is None:
            return
        existing = _existing(self._directory, earlier)
        names = without_covers(earlier)
        for number, asset in enumerate(result.assets, 1):
            name = stem if len(result.assets) == 1 else f"{stem}-{number}"
            known = names.pop(0) if names else ""
            if known in existing:
                _add_existing(asset, known, existing, saved)
                continue
            try:
                await self._save_asset(self._directory, asset, PurePath(known).stem or name, saved)
            except DownloadError as error:
                saved.error = error
        if result.text:
            name = names.pop(0) if names else f"{stem}{request.text_suffix}"
            if name in existing:
                saved.files.append(name)
                return
            try:
                await self._save_text(self._directory, PurePath(name), result.text, saved)
            except DownloadError as error:
                saved.error = error

    async def _save_asset(self, directory: Path, asset: Asset, name: str, saved: SavedFiles) -> None:
        paths = await self._download(directory, asset, name)
        saved.files += [path.name for path in paths]
        saved.urls.remove(asset.url)
        if asset.cover_url is not None:
            try:
                still = Asset(asset.cover_url, task_id=asset.task_id)
                (cover,) = await self._download(directory, still, f"{name}{COVER_SUFFIX}")
            except DownloadError as error:
                log.warning("no cover for %s: %s", name, error)
            else:
                saved.covers[paths[0].name] = cover.name

    async def _save_text(self, directory: Path, name: PurePath, text: str, saved: SavedFiles) -> None:
        if self.disk_error is not None:
            raise copy.copy(self.disk_error)
        content = f"{text.rstrip()}\n".encode("utf-8", "replace")
        write = partial(write_new, directory, name.stem, name.suffix, content, PRIVATE)
        try:
            path = await anyio.to_thread.run_sync(write)
        except OSError as fault:
            raise await self._stop_saving(fault, None) from fault
        saved.files.append(path.name)

    async def _download(self, directory: Path, asset: Asset, name: str) -> tuple[Path, ...]:
        """Save an output, unless the disk has refused an earlier one: the manifest needs the space."""
        if self.disk_error is not None:
            raise copy.copy(self.disk_error)
        try:
            return await self._client.download(asset, directory, name=name)
        except DownloadError as error:
            fault = error.__cause__
            if not isinstance(fault, OSError):
                raise
            raise await self._stop_saving(fault, error.path) from fault

    async def _stop_saving(self, fault: OSError, path: Path | None) -> DownloadError:
        """Save nothing more, and remove the partial file, because the manifest needs its space."""
        if path is not None:
            with contextlib.suppress(OSError):
                await anyio.Path(path).unlink(missing_ok=True)
        reason = f"nothing can be saved in {self._directory}: {fault.strerror or fault}"
        self.disk_error = DownloadError(f"{reason}; the provider still holds the output")
        return copy.copy(self.disk_error)


def _existing(directory: Path, names: Iterable[str]) -> set[str]:
    """Return the names that are files of the directory. Names that contain a path are ignored."""
    return {name for name in names if PurePath(name).name == name and (directory / name).is_file()}


def _add_existing(asset: Asset, name: str, existing: Iterable[str], saved: SavedFiles) -> None:
    """Add an output that an earlier run has saved, with its cover."""
    saved.files.append(name)
    saved.urls.remove(asset.url)
    stem = f"{PurePath(name).stem}{COVER_SUFFIX}"
    cover = next((other for other in existing if PurePath(other).stem == stem), None)
    if cover is not None:
        saved.covers[name] = cover
