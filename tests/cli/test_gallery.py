"""The gallery page: complete, escaped, and self-contained."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowery.cli.output.gallery import aspect_ratio, gallery_parts, write_gallery
from aiowery.cli.records import ItemError, ItemStatus, Record, Summary

_TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r\x00"), max_size=60)


class _Tags(HTMLParser):
    """Collects elements and texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def _record(index: int = 1, prompt: str = "a cat", **facts: Any) -> Record:
    request = {"type": "text-to-image", "prompt": prompt, "model": "M", "aspect_ratio": "16:9"}
    made: dict[str, Any] = {"line": index, "request": request, "notes": {}, "status": ItemStatus.DONE}
    return Record(index=index, prompt=prompt, **{**made, **facts})


def _page(*records: Record, title: str = "p.txt") -> str:
    return "\n".join(gallery_parts(title, records, Summary.of(records, 9.0)))


@given(_TEXTS, _TEXTS)
def test_gallery_escapes_all_texts(prompt: str, reason: str) -> None:
    """Whatever prompts, notes and reasons hold, the page has the same elements and shows the text as it is."""
    done = {"files": ("0001-a.png",), "failures": ("one failed",)}
    failed = {"status": ItemStatus.FAILED, "problem": ItemError(kind="JobFailed", message=reason)}
    page = _Tags(_page(_record(1, prompt, notes={"n": reason}, **done), _record(2, prompt, **failed), title=prompt))
    plain = _Tags(_page(_record(1, "a", notes={"n": "b"}, **done), _record(2, "a", **failed), title="a"))
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain.tags]
    assert page.all("img")[0]["alt"] == prompt
    assert f"failed: {reason}" in page.text


def test_gallery_with_invalid_characters_is_written(tmp_path: Path) -> None:
    """Invalid characters in prompts and texts are shown as replacement characters."""
    (tmp_path / "1.txt").write_bytes(b"caf\xe9")
    records = [_record(1, "a \udcff", files=("1.txt",))]
    write_gallery(tmp_path / "gallery.html", "p\udcff.txt", records, Summary.of(records, 9.0))
    page = _Tags((tmp_path / "gallery.html").read_text(encoding="utf-8"))
    assert "p?.txt" in page.text
    assert "caf\ufffd" in page.text


def test_gallery_loads_nothing_from_other_hosts() -> None:
    """Pictures lie beside the page, styles and script in it; nothing is loaded before it is seen."""
    text = _page(_record(files=("0001-50% #1?.png",)), _record(2, files=("b.mp4", "c.mp3")))
    tags = _Tags(text)
    assert [tag["src"] for tag in tags.all("img")] == ["0001-50%25%20%231%3F.png"]
    assert tags.all("img")[0]["loading"] == "lazy"
    assert [tag["preload"] for tag in (*tags.all("video"), *tags.all("audio"))] == ["none", "none"]
    assert not re.search(r"https?://|@import|url\(", text)


def test_gallery_lists_failures_with_reason_ids_and_urls() -> None:
    """The page shows every item; those without a result with reason, task ids and urls."""
    text = _page(
        _record(1, files=("a.png",)),
        _record(2, "b", status=ItemStatus.FAILED, problem=ItemError(kind="X", message="disk full"), task_ids=("t2",),
                urls=("https://example.com/2.png", "javascript:alert(1)", "http://[")),
        _record(3, "", status=ItemStatus.FAILED, request=None, problem=ItemError(kind="X", message="is not JSON")),
        _record(4, "d", status=ItemStatus.NOT_SUBMITTED),
    )  # fmt: skip
    tags = _Tags(text)
    for words in ("3 without a result", "failed: disk full", "t2", "line 3", "failed: is not JSON", "not submitted"):
        assert words in tags.text
    links = [tag["href"] for tag in tags.all("a")]
    assert "https://example.com/2.png" in links
    assert not [link for link in links if link and link.startswith("javascript")]


@pytest.mark.parametrize(
    ("shape", "width"),
    [("16:9", 16 / 9), ("2k", 1), ("16:9(4k)", 16 / 9), ("0:5", 1), ("5:0", 1), ("8:1", 3), ("1:8", 0.5), (None, 1)],
)
def test_aspect_ratio_is_bounded(shape: str | None, width: float) -> None:
    """The width follows the request's aspect ratio, between 0.5 and 3."""
    assert aspect_ratio(_record(request={"aspect_ratio": shape})) == pytest.approx(width)


def test_gallery_shows_only_fields_that_vary() -> None:
    """Model and aspect ratio are shown only if they differ."""
    other = {"type": "text-to-image", "model": "N", "aspect_ratio": "16:9"}
    text = _Tags(_page(_record(1, files=("a.png",)), _record(2, files=("b.png",), request=other))).text
    assert "16:9" not in text
    assert "N" in text


def test_gallery_embeds_pictures_below_the_size_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page of a small batch embeds its pictures; that of a large one links the files beside it."""
    (tmp_path / "0001-a.png").write_bytes(b"\x89PNG!")
    records = [_record(1, files=("0001-a.png",))]
    write_gallery(tmp_path / "small.html", "a", records, Summary.of(records, 1.0))
    monkeypatch.setattr("aiowery.cli.output.gallery._LARGEST_WHOLE", 3)
    write_gallery(tmp_path / "large.html", "a", records, Summary.of(records, 1.0))
    small, large = (_Tags((tmp_path / name).read_text("utf-8")).all("img")[0] for name in ("small.html", "large.html"))
    assert small["src"] == "data:image/png;base64,iVBORyE="
    assert large["src"] == "0001-a.png"


def test_gallery_of_no_records_is_written(tmp_path: Path) -> None:
    """An empty batch has a page, too."""
    write_gallery(tmp_path / "g.html", "ü", (), Summary.of((), 0.0))
    assert "ü" in (tmp_path / "g.html").read_text(encoding="utf-8")


def test_gallery_shows_videos_sounds_and_texts(tmp_path: Path) -> None:
    """Each kind has its own element, with its cover; texts are embedded."""
    (tmp_path / "0001-a-cover.png").write_bytes(b"\x89PNG!")
    (tmp_path / "0003-c.md").write_text("# <b>Salt</b>\n", encoding="utf-8")
    records = [
        _record(1, files=("0001-a.mp4",), covers={"0001-a.mp4": "0001-a-cover.png"}),
        _record(2, files=("0002-b.wav",), covers={"0002-b.wav": "0001-a-cover.png"}),
        _record(3, files=("0003-c.md",)),
    ]
    write_gallery(tmp_path / "g.html", "mixed", records, Summary.of(records, 1.0))
    tags = _Tags((tmp_path / "g.html").read_text("utf-8"))
    (video,) = tags.all("video")
    assert (video["src"], video["poster"]) == ("0001-a.mp4", "data:image/png;base64,iVBORyE=")
    assert "controls" in video
    assert [tag["src"] for tag in tags.all("audio")] == ["0002-b.wav"]
    assert [tag["src"] for tag in tags.all("img")] == ["data:image/png;base64,iVBORyE="]
    assert "# <b>Salt</b>" in tags.text


def test_gallery_cuts_long_texts_and_links_them(tmp_path: Path) -> None:
    """A report of many pages does not swell the page; a link leads to all of it."""
    (tmp_path / "a.md").write_text("word " * 10_000, encoding="utf-8")
    records = [_record(1, files=("a.md",))]
    write_gallery(tmp_path / "g.html", "long", records, Summary.of(records, 1.0))
    page = (tmp_path / "g.html").read_text("utf-8")
    assert len(page) < 60_000
    assert '<a href="a.md">all of it</a>' in page
