"""One call of the command line: from its words to its exit code."""

import inspect
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any

import anyio
from cyclopts import App, Parameter

from chancy_core.cli import commands, failing
from chancy_core.cli.invocation import Invocation
from chancy_core.cli.options import VALUED, Options
from chancy_core.cli.output import Output
from chancy_core.cli.settings import settle


def call(tokens: Sequence[str]) -> int:
    """Carry out the command that *tokens* name, and return the exit code; raises nothing."""
    # What the way to the database has logged is in the error that it ends in.
    logging.getLogger("chancy.postgres").addHandler(logging.NullHandler())
    told = set(tokens[: tokens.index("--")] if "--" in tokens else tokens)
    try:
        code = _dispatch(list(tokens))
        sys.stdout.flush()
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else int(exc.code is not None)
    except BaseException as exc:  # noqa: BLE001 - this is the end of the line
        return failing.explain(
            exc, as_json="--json" in told, traceback=not told.isdisjoint({"--traceback", "-v"})
        )
    return code


def _dispatch(tokens: list[str]) -> int:
    code = application(commands.named(tokens, VALUED)).meta(tokens)
    return code if isinstance(code, int) else failing.DONE


def application(wanted: str | None = None) -> App:
    """Return all commands, the *wanted* one of a package's too, with the options of every one.

    Raises what `commands.mount` does.
    """
    app = App(
        name="chancy",
        help="A job queue on PostgreSQL for asyncio and trio.",
        version=_version,
        help_format="plaintext",
        default_parameter=Parameter(negative_iterable=(), show_default=False),
        print_error=False,
        exit_on_error=False,
        suppress_keyboard_interrupt=False,
        result_action="return_value",
    )
    commands.mount(app, wanted)

    @app.meta.default
    def launch(
        *words: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
        options: Options = Options(),  # noqa: B008 - it is frozen
    ) -> int:
        command, bound, wants = app.parse_args(words)
        return _run(partial(command, *bound.args, **bound.kwargs), wants, options)

    return app


def _run(command: Callable[..., Any], wants: Mapping[str, Any], options: Options) -> int:
    settings = settle(options)
    here = Invocation(settings, Output(as_json=settings.json))
    command = partial(command, **{name: here for name, kind in wants.items() if kind is Invocation})
    if inspect.iscoroutinefunction(command):
        code = anyio.run(command, backend=settings.backend)
    else:
        code = command()
    return int(code) if isinstance(code, int) else failing.DONE


def _version() -> str:
    from importlib.metadata import version

    return f"chancy {version('chancy')}"
