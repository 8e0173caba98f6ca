"""The gallery page: complete, escaped, and self-contained."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowery.cli.output.gallery import aspect_ratio, gallery_parts, write_gallery
from aiowery.cli.output.gallery_assets import SCRIPT
from aiowery.cli.records import ItemError, ItemStatus, Record, Summary
from tests.cli.conftest import make_record

_TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r\x00"), max_size=60)


class _Page(HTMLParser):
    """A parser that collects the elements and the text of a page."""

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
        """Return the attributes of all elements of this kind."""
        return [attributes for name, attributes in self.tags if name == tag]


def _html(*records: Record, title: str = "p.txt") -> str:
    return "\n".join(gallery_parts(title, records, Summary.of(records, 9.0)))


@given(_TEXTS, _TEXTS)
def test_gallery_with_any_texts_escapes_them(prompt: str, reason: str) -> None:
    """Any text in prompts, further columns and reasons is shown unchanged, and adds no element to the page."""
    done = {"files": ("0001-a.png",), "failures": ("one failed",)}
    failed = {"status": ItemStatus.FAILED, "problem": ItemError(kind="JobFailed", message=reason)}
    first = make_record(1, prompt, other_columns={"n": reason}, **done)
    page = _Page(_html(first, make_record(2, prompt, **failed), title=prompt))
    first = make_record(1, "a", other_columns={"n": "b"}, **done)
    plain = _Page(_html(first, make_record(2, "a", **failed), title="a"))
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain.tags]
    assert page.all("img")[0]["alt"] == prompt
    assert f"failed: {reason}" in page.text


def test_gallery_with_invalid_characters_is_written(tmp_path: Path) -> None:
    """Invalid characters in prompts and texts are shown as replacement characters."""
    (tmp_path / "1.txt").write_bytes(b"caf\xe9")
    records = [make_record(1, "a \udcff", files=("1.txt",))]
    write_gallery(tmp_path / "gallery.html", "p\udcff.txt", records, Summary.of(records, 9.0))
    page = _Page((tmp_path / "gallery.html").read_text(encoding="utf-8"))
    assert "p?.txt" in page.text
    assert "caf\ufffd" in page.text


def test_gallery_with_files_loads_nothing_from_other_hosts() -> None:
    """Pictures are files beside the page, and styles and script are in it. No file is loaded before it is visible."""
    html = _html(make_record(files=("0001-50% #1?.png",)), make_record(2, files=("b.mp4", "c.mp3")))
    page = _Page(html)
    assert [tag["src"] for tag in page.all("img")] == ["0001-50%25%20%231%3F.png"]
    assert page.all("img")[0]["loading"] == "lazy"
    assert [tag["preload"] for tag in (*page.all("video"), *page.all("audio"))] == ["none", "none"]
    assert not re.search(r"https?://|@import|url\(", html)


def test_gallery_of_failures_lists_reason_ids_and_urls() -> None:
    """Every item without a result is listed with its reason, its task ids and its URLs. Unsafe URLs are no links."""
    unsaved = {
        "problem": ItemError(kind="X", message="disk full"),
        "task_ids": ("t2",),
        "urls": ("https://example.com/2.png", "javascript:alert(1)", "http://["),
    }
    faulty = {"request": None, "problem": ItemError(kind="X", message="is not JSON")}
    html = _html(
        make_record(1, files=("a.png",)),
        make_record(2, "b", status=ItemStatus.FAILED, **unsaved),
        make_record(3, "", status=ItemStatus.FAILED, **faulty),
        make_record(4, "d", status=ItemStatus.NOT_SUBMITTED),
    )
    page = _Page(html)
    for text in ("3 without a result", "failed: disk full", "t2", "line 3", "failed: is not JSON", "not submitted"):
        assert text in page.text
    links = [tag["href"] for tag in page.all("a")]
    assert "https://example.com/2.png" in links
    assert not [link for link in links if link and link.startswith("javascript")]


@pytest.mark.parametrize(
    ("ratio", "width"),
    [("16:9", 16 / 9), ("2k", 1), ("16:9(4k)", 16 / 9), ("0:5", 1), ("5:0", 1), ("8:1", 3), ("1:8", 0.5), (None, 1)],
)
def test_aspect_ratio_of_any_request_is_bounded(ratio: str | None, width: float) -> None:
    """The width follows the request's aspect ratio, between 0.5 and 3, and is 1 for an unreadable one."""
    assert aspect_ratio(make_record(request={"aspect_ratio": ratio})) == pytest.approx(width)


def test_gallery_of_different_requests_shows_only_fields_that_vary() -> None:
    """A field such as the model is shown only if the requests differ in it."""
    request = {"type": "text-to-image", "model": "N", "aspect_ratio": "16:9"}
    text = _Page(_html(make_record(1, files=("a.png",)), make_record(2, files=("b.png",), request=request))).text
    assert "16:9" not in text
    assert "N" in text


def test_gallery_below_the_size_limit_embeds_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page of a small batch embeds its pictures. The page of a large one refers to the files beside it."""
    (tmp_path / "0001-a.png").write_bytes(b"\x89PNG!")
    records = [make_record(1, files=("0001-a.png",))]
    write_gallery(tmp_path / "small.html", "a", records, Summary.of(records, 1.0))
    monkeypatch.setattr("aiowery.cli.output.gallery._MAX_EMBEDDED", 3)
    write_gallery(tmp_path / "large.html", "a", records, Summary.of(records, 1.0))
    small, large = (_Page((tmp_path / name).read_text("utf-8")).all("img")[0] for name in ("small.html", "large.html"))
    assert small["src"] == "data:image/png;base64,iVBORyE="
    assert large["src"] == "0001-a.png"


def test_gallery_of_no_records_is_written(tmp_path: Path) -> None:
    """The page of an empty batch is written, and shows its title."""
    write_gallery(tmp_path / "g.html", "ü", (), Summary.of((), 0.0))
    assert "ü" in (tmp_path / "g.html").read_text(encoding="utf-8")


def test_gallery_of_videos_sounds_and_texts_shows_each_kind(tmp_path: Path) -> None:
    """Videos and sounds have their own elements, with their covers, and texts are embedded."""
    (tmp_path / "0001-a-cover.png").write_bytes(b"\x89PNG!")
    (tmp_path / "0003-c.md").write_text("# <b>Salt</b>\n", encoding="utf-8")
    records = [
        make_record(1, files=("0001-a.mp4",), covers={"0001-a.mp4": "0001-a-cover.png"}),
        make_record(2, files=("0002-b.wav",), covers={"0002-b.wav": "0001-a-cover.png"}),
        make_record(3, files=("0003-c.md",)),
    ]
    write_gallery(tmp_path / "g.html", "mixed", records, Summary.of(records, 1.0))
    page = _Page((tmp_path / "g.html").read_text("utf-8"))
    (video,) = page.all("video")
    assert (video["src"], video["poster"]) == ("0001-a.mp4", "data:image/png;base64,iVBORyE=")
    assert "controls" in video
    assert [tag["src"] for tag in page.all("audio")] == ["0002-b.wav"]
    assert [tag["src"] for tag in page.all("img")] == ["data:image/png;base64,iVBORyE="]
    assert "# <b>Salt</b>" in page.text


def test_gallery_with_a_long_text_cuts_and_links_it(tmp_path: Path) -> None:
    """Only the start of a long text is on the page, with a link to its file."""
    (tmp_path / "a.md").write_text("word " * 10_000, encoding="utf-8")
    records = [make_record(1, files=("a.md",))]
    write_gallery(tmp_path / "g.html", "long", records, Summary.of(records, 1.0))
    html = (tmp_path / "g.html").read_text("utf-8")
    assert len(html) < 60_000
    assert '<a href="a.md">all of it</a>' in html


def test_gallery_policy_lets_only_its_own_script_run() -> None:
    """The page loads files beside it, and no script but the one whose hash the policy names."""
    page = _Page(_html(make_record(files=("a.png",))))
    (policy,) = [tag["content"] or "" for tag in page.all("meta") if tag.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == rules["media-src"] == "'self' file: data:"
    hashed = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    assert rules["script-src"] == f"'sha256-{hashed}'"
    assert f"<script>{SCRIPT}</script>" in _html(make_record())
    assert "base-uri" in rules
    assert "form-action" in rules


def test_gallery_svg_is_shown_without_a_link() -> None:
    """Within the page an SVG picture runs no scripts; opened by itself it could."""
    page = _Page(_html(make_record(files=("a.svg",))))
    assert [tag["src"] for tag in page.all("img")] == ["a.svg"]
    assert [tag["href"] for tag in page.all("a")] == ["manifest.jsonl"]


def test_gallery_of_further_types_shows_each_kind() -> None:
    """Types that are saved, but seldom made, are shown as films and sounds too."""
    page = _Page(_html(make_record(files=("a.mkv", "b.3gp", "c.aac", "d.opus"))))
    assert [tag["src"] for tag in page.all("video")] == ["a.mkv", "b.3gp"]
    assert [tag["src"] for tag in page.all("audio")] == ["c.aac", "d.opus"]


def test_gallery_failures_with_a_huge_url_are_short() -> None:
    """An output within the response that could not be saved does not fill the page."""
    problem = ItemError(kind="X", message="disk full")
    url = "data:image/png;base64," + "A" * 1_000_000
    html = _html(make_record(1, urls=(url,), status=ItemStatus.FAILED, problem=problem))
    assert len(html) < 50_000


def test_write_gallery_replaces_no_file(tmp_path: Path) -> None:
    """A page, or a link, that another program has put there stays as it is."""
    (tmp_path / "gallery.html").write_text("the user's own")
    with pytest.raises(FileExistsError):
        write_gallery(tmp_path / "gallery.html", "a", (), Summary.of((), 0.0))
    assert (tmp_path / "gallery.html").read_text() == "the user's own"


def test_write_gallery_that_fails_leaves_no_page(tmp_path: Path) -> None:
    """A page that could not be written wholly is removed."""
    records = [make_record(1, files=("gone.txt",))]
    with pytest.raises(FileNotFoundError):
        write_gallery(tmp_path / "gallery.html", "a", records, Summary.of(records, 0.0))
    assert not (tmp_path / "gallery.html").exists()
