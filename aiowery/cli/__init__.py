"""The command line: `aiowery generate`, `run`, `batch`, `chat`, `models` and more.

    _commands | _books_commands        thin: options in, exit code out
    _batch | _one                      a batch, or a single request, from its order to its exit code
    _books                             what a ledger tells, and how doubts are settled
    _plan                              what a batch will send and cost
    _conduct                           what batch and single share: a client, a run in it, signals
    _run | _desk | _check | _save      items in, a record for each; where they become jobs; the registry; the files
    _inputs | _manifest | _gallery     prompt files; the output directory; the page
    _progress | _bar | _logs           what is told meanwhile
    _records | _requests | _settings   values; requests from files; a request from a command's words
    _ask                               questions that make no job
    _types_table | _models_table | _tables
    _setup | _options | _services | _page | _signals

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
from aiowery.cli import commands
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
    commands.sandbox,
    commands.webhook,
)


def run(arguments: Sequence[str]) -> int:
    """Run one command; return the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what a terminal cannot show must not cost the rest
            stream.reconfigure(errors="replace")
    try:
        code = _app()(list(arguments), exit_on_error=False)
        sys.stdout.flush()
    except CycloptsError:  # which has been printed
        return WRONG_USE
    except (AuthenticationError, ConfigurationError) as error:
        _complain(error)
        return WRONG_USE
    except AioweryError as error:
        _complain(error)
        return SOME_FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Who read our output has gone; Python would complain once more when it closes it.
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


def _complain(error: AioweryError) -> None:
    print(f"aiowery: {error}", file=sys.stderr)
