"""The command line: `aiowery generate`, `run`, `batch`, `chat`, `models` and more.

Exit codes: 0 all done, 1 some failed, 2 wrong use or configuration, 3 something is in doubt, 130 interrupted.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from typing import Final

from cyclopts import App, CycloptsError

import aiowery
from aiowery.cli import commands, server_commands
from aiowery.cli.exit_codes import INTERRUPTED, SOME_FAILED, WRONG_USE
from aiowery.cli.ledger.commands import doubts, ledger_commands
from aiowery.errors import AioweryError, AuthenticationError, ConfigurationError

__all__ = ("run",)

_COMMANDS: Final = (
    commands.generate,
    commands.run,
    commands.batch,
    commands.chat,
    commands.models,
    commands.speakers,
    commands.upload,
    commands.status,
    commands.batch_status,
    commands.balance,
    server_commands.sandbox,
    server_commands.webhook,
)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a character that the terminal cannot encode must not end the output
            stream.reconfigure(errors="replace")
    try:
        code = _app()(list(arguments), exit_on_error=False)
        sys.stdout.flush()
    except CycloptsError:  # cyclopts has printed the message
        return WRONG_USE
    except (AuthenticationError, ConfigurationError) as error:
        _print_error(error)
        return WRONG_USE
    except AioweryError as error:
        _print_error(error)
        return SOME_FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has closed the output. Without this, Python reports the error again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SOME_FAILED
    return code if isinstance(code, int) else 0


def _app() -> App:
    app = App(
        name="aiowery",
        help="Pictures, videos and sounds from generative-media services.",
        version=aiowery.__version__,
        result_action="return_value",
    )
    for command in (*_COMMANDS, ledger_commands, doubts):
        app.command(command)
    return app


def _print_error(error: AioweryError) -> None:
    print(f"aiowery: {error}", file=sys.stderr)
