"""threatwalk's commands: parse, call, print. Each command's module is imported only when it runs."""

import importlib
import os
import socket
import sys

import click

from threatwalk import __version__
from threatwalk.errors import SettingsError, ThreatwalkError

# command -> "module:attribute"; one module of this package for each room
COMMANDS = {
    # reports
    "extract": "reports:extract",
    "collect": "reports:collect",
    "reports": "collected:reports",
    # sources and archive
    "sources": "sources:sources",
    "ask": "sources:ask",
    "index-nsrl": "sources:index_nsrl",
    "record": "record:record",
    "archive": "archive:archive",
    "snapshot": "archive:snapshot",
    # the emulator
    "world": "emulator:world",
    "emulator": "emulator:emulator",
    # the stages of dvc.yaml, in their order
    "ingest": "stages:ingest",
    "split": "stages:split",
    "contract": "stages:contract",
    "compile": "stages:compile_",
    "train": "stages:train",
    "evaluate": "stages:evaluate",
    # learning
    "reproduce": "learning:reproduce",
    # models
    "register": "models:register",
    "promote": "models:promote",
    "model": "models:model",
    # the desk
    "queue": "queue:queue",
    "analyze": "desk:analyze",
    "explain": "explain:explain",
    "summary": "summary:summary",
    "export": "export:export",
    "publish": "publish:publish",
    "trace": "trace:trace",
    "metrics": "metrics:metrics",
    # whole runs
    "run": "runs:run",
    "demo": "runs:demo",
    "real": "runs:real",
    # what it costs
    "bench": "bench:bench",
}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(f"threatwalk.cli.{module}"), attribute)
        return command


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__)
def group() -> None:
    """From one clue to the whole threat: learn which sources to ask next, and make that walk.

    Exit codes: 0 done, 1 our failure or bad data, 2 wrong usage, 75 try again later.
    """
    wanted = os.environ.get("THREATWALK_VERSION", __version__)
    if wanted != __version__:
        raise SettingsError(
            f"this worker has threatwalk {__version__}, but the DAG is one of {wanted}: the task is refused; "
            f"install {wanted} on {socket.gethostname()}, or deploy the DAGs of {__version__}"
        )


def main() -> None:
    """Run a command; an error is one line that says what, where and the remedy."""
    try:
        code = group(standalone_mode=False)  # of a command that ends by `Exit`; None of any other
        if isinstance(code, int):
            sys.exit(code)
    except click.Abort:
        _fail("stopped by the user", 130)
    except click.ClickException as err:
        err.show()
        sys.exit(err.exit_code)
    except ThreatwalkError as err:
        _fail(str(err), err.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as err:
        _fail(f"{err.filename or 'the system'}: {err.strerror or err}", 1)


def _fail(text: str, code: int) -> None:
    click.echo(f"threatwalk: {' '.join(text.split())}", err=True)
    sys.exit(code)
