"""Saving what a request brought: its outputs, their covers, its words."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath
from typing import Any, Final

import anyio
import attrs

from aiowery import Asset, Request, Result
from aiowery._client.client import Client
from aiowery._core.events import log
from aiowery.errors import DownloadError
from aiowery.weryai import DeepResearch

_PLAIN: Final = ".txt"
_MARKED_UP: Final = ".md"
_COVER: Final = "-cover"


@attrs.define
class SavedFiles:
    """What of a result lies where: names of files, covers by the file they belong to, urls still to be fetched."""

    files: list[str] = attrs.field(factory=list)
    covers: dict[str, str] = attrs.field(factory=dict)
    urls: list[str] = attrs.field(factory=list)
    error: DownloadError | None = None


class Saver:
    """Saves results in a directory, or nowhere. Once the disk has refused something, nothing more is tried."""

    def __init__(self, client: Client, directory: Path | None) -> None:
        self._client = client
        self._directory = directory
        self.refusal: DownloadError | None = None

    async def save(
        self, request: Request[Any], result: Result, stem: str, kept: SavedFiles, before: Sequence[str] = ()
    ) -> None:
        """Save the outputs one by one, so that one that cannot be saved does not hide the others; note it in `kept`.

        `before` are the names under which an earlier run has saved them; those that are there are not fetched again.
        """
        if self._directory is None:
            return
        there = _there(self._directory, before)
        names = [name for name in before if not PurePath(name).stem.endswith(_COVER)]
        for number, asset in enumerate(result.assets, 1):
            name = stem if len(result.assets) == 1 else f"{stem}-{number}"
            known = names.pop(0) if names else ""
            if known in there:
                _link_or_copy(asset, known, there, kept)
                continue
            try:
                await self._save_asset(self._directory, asset, PurePath(known).stem or name, kept)
            except DownloadError as error:
                kept.error = error
        if result.text:
            name = names.pop(0) if names else f"{stem}{_ending(request)}"
            if name in there:
                kept.files.append(name)
                return
            try:
                await self._save_words(self._directory / name, result.text, kept)
            except DownloadError as error:
                kept.error = error

    async def _save_asset(self, directory: Path, asset: Asset, name: str, kept: SavedFiles) -> None:
        paths = await self._download(directory, asset, name)
        kept.files += [path.name for path in paths]
        kept.urls.remove(asset.url)
        if asset.cover_url is not None:
            try:
                (cover,) = await self._download(directory, Asset(asset.cover_url), f"{name}{_COVER}")
            except DownloadError as error:
                log.warning("no cover for %s: %s", name, error)
            else:
                kept.covers[paths[0].name] = cover.name

    async def _save_words(self, path: Path, text: str, kept: SavedFiles) -> None:
        if self.refusal is not None:
            raise copy.copy(self.refusal)
        try:
            await anyio.Path(path).write_text(f"{text.rstrip()}\n", encoding="utf-8", errors="replace")
        except OSError as fault:
            raise await self._refused(fault, path) from fault
        kept.files.append(path.name)

    async def _download(self, directory: Path, asset: Asset, name: str) -> tuple[Path, ...]:
        """Save an output. Once the disk has refused one, the others are not tried: the manifest needs the room."""
        if self.refusal is not None:
            raise copy.copy(self.refusal)
        try:
            return await self._client.download(asset, directory, name=name)
        except DownloadError as error:
            fault = error.__cause__
            if not isinstance(fault, OSError):
                raise
            raise await self._refused(fault, error.path) from fault

    async def _refused(self, fault: OSError, path: Path | None) -> DownloadError:
        """Try nothing more; remove the beginning of a file, because the manifest is worth more than what it takes."""
        if path is not None:
            with contextlib.suppress(OSError):
                await anyio.Path(path).unlink(missing_ok=True)
        reason = f"nothing can be saved in {self._directory}: {fault.strerror or fault}"
        self.refusal = DownloadError(f"{reason}; the provider still holds the output")
        return copy.copy(self.refusal)


def _there(directory: Path, names: Iterable[str]) -> set[str]:
    """Return those of these names that are files of the directory; a name with a path in it is none of ours."""
    return {name for name in names if PurePath(name).name == name and (directory / name).is_file()}


def _link_or_copy(asset: Asset, name: str, there: Iterable[str], kept: SavedFiles) -> None:
    """Note an output that an earlier run has saved, with its cover."""
    kept.files.append(name)
    kept.urls.remove(asset.url)
    stem = f"{PurePath(name).stem}{_COVER}"
    cover = next((other for other in there if PurePath(other).stem == stem), None)
    if cover is not None:
        kept.covers[name] = cover


def _ending(request: Request[Any]) -> str:
    """Return the ending of a file for the words of such a request."""
    return _MARKED_UP if isinstance(request, DeepResearch) else _PLAIN
