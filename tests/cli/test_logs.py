"""Log records of the library in the output of a command."""

from __future__ import annotations

import logging

import pytest

from aiowery.cli.output.logs import show_logs


@pytest.mark.parametrize(
    ("verbosity", "printed", "hidden"),
    [
        (0, ["ERROR e"], 1),
        (1, ["INFO i", "WARNING w", "ERROR e"], 0),
        (2, ["DEBUG d", "INFO i", "WARNING w", "ERROR e"], 0),
    ],
)
def test_show_logs_with_a_verbosity_writes_records_of_its_levels(
    verbosity: int, printed: list[str], hidden: int
) -> None:
    """Records of the chosen level are written, and hidden warnings are counted."""
    written: list[str] = []
    log = logging.getLogger("aiowery.test")
    with show_logs(verbosity, written.append) as logs:
        for write, text in ((log.debug, "d"), (log.info, "i"), (log.warning, "w"), (log.error, "e")):
            write(text)
    assert written == printed
    assert logs.hidden == hidden
