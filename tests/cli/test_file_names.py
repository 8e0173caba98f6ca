"""Names of the files of a batch."""

from __future__ import annotations

import pytest

from aiowery.cli.file_names import without_covers


@pytest.mark.parametrize(
    ("names", "left"),
    [
        (["1-a.mp4", "1-a-cover.png"], ["1-a.mp4"]),
        (["1-album-cover.png"], ["1-album-cover.png"]),
        (["1-cover.mp4", "1-cover-cover.png"], ["1-cover.mp4"]),
        (["1-a-1.mp4", "1-a-1-cover.jpg", "1-a-2.mp4", "1-a-2-cover.jpg"], ["1-a-1.mp4", "1-a-2.mp4"]),
        ([], []),
    ],
)
def test_without_covers_keeps_outputs_whose_name_ends_like_a_cover(names: list[str], left: list[str]) -> None:
    """A file is a cover only beside the file that it belongs to: an album cover is an output."""
    assert without_covers(names) == left
