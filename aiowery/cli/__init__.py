"""The command line: `aiowery generate`, `run`, `batch`, `chat`, `models` and more.

Exit codes: 0 all done, 1 some failed, 2 wrong use or configuration, 3 something is in doubt, 130 interrupted.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import Final

from cyclopts import App, CycloptsError

import aiowery
from aiowery.cli import commands, server_commands
from aiowery.cli.exit_codes import INTERRUPTED, SOME_FAILED, WRONG_USE
from aiowery.cli.input.user_terms import in_user_terms
from aiowery.cli.ledger.commands import doubts, ledger_commands
from aiowery.cli.output.logs import printable_logs
from aiowery.cli.run.signals import as_interrupts
from aiowery.cli.terminal import (
    NARROW,
    OutputError,
    flush_output,
    output_console,
    output_width,
    prepare_streams,
    print_message,
    print_notice,
)
from aiowery.cli.usage import usage_error
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
    prepare_streams()
    try:
        with printable_logs(), as_interrupts():
            code = _app()(list(arguments), console=output_console(), exit_on_error=False, print_error=False)
            flush_output()
    except CycloptsError as error:
        print_message(f"aiowery: {usage_error(error)}")
        return WRONG_USE
    except AioweryError as error:
        print_message(f"aiowery: {in_user_terms(str(error))}")
        return WRONG_USE if isinstance(error, (AuthenticationError, ConfigurationError)) else SOME_FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except OutputError as error:
        if not error.is_closed:
            print_message(f"aiowery: {error}")
        return SOME_FAILED
    except Exception:  # noqa: BLE001 - the text of any error may come from outside
        print_notice(f"{traceback.format_exc().rstrip()}\naiowery: this is a fault of aiowery; please report it")
        return SOME_FAILED
    return code if isinstance(code, int) else 0


def _app() -> App:
    app = App(
        name="aiowery",
        help="Pictures, videos and sounds from generative-media services.",
        version=aiowery.__version__,
        result_action="return_value",
        # Panels leave no room for the words on a narrow terminal.
        help_formatter="plain" if output_width() < NARROW else "default",
    )
    for command in (*_COMMANDS, ledger_commands, doubts):
        app.command(command)
    return app
