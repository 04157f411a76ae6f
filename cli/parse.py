"""click in greenrun's manner: one sentence for each mistake, and never an exit of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from greenrun.cli import options, output
from greenrun.cli.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable


def invoke(command: click.Command, argv: list[str], program: str) -> object:
    """Parse argv and give what the command's callback returns, 0 after --help; a mistake in argv raises UserError."""
    try:
        return command.main(argv, prog_name=program, standalone_mode=False)
    except click.NoSuchOption as error:
        known = {flag for parameter in command.params for flag in parameter.opts if flag.startswith("-")}
        raise UserError(options.no_such_option(error.option_name, known, program)) from None
    except click.MissingParameter as error:
        raise UserError(f"{_missing(error.param)} ({program} --help tells more)") from None
    except click.ClickException as error:
        message = error.format_message().rstrip(".")
        raise UserError(f"{message[:1].lower()}{message[1:]} ({program} --help tells more)") from None
    except SystemExit:  # how click answers a closed pipe
        return 0


def _missing(parameter: click.Parameter | None) -> str:
    """Say what has to be told, and in which form."""
    if isinstance(parameter, click.Option):
        return f"{parameter.opts[-1]} {parameter.metavar} must be told: {parameter.help}"
    name = parameter.metavar if isinstance(parameter, click.Argument) else None
    return f"{(name or 'an argument').rstrip('.')} must be told"


def at_once(names: list[str], say: Callable[[click.Context], str], help_text: str) -> click.Option:
    """Make an option that prints something and ends."""

    def callback(context: click.Context, _parameter: click.Parameter, told: bool) -> None:
        if told and not context.resilient_parsing:
            output.show(say(context))
            context.exit()

    return click.Option(names, is_flag=True, is_eager=True, expose_value=False, callback=callback, help=help_text)


def help_option() -> click.Option:
    """Make --help and -h, in our own words; for a command with `add_help_option=False`."""
    return at_once(["--help", "-h"], click.Context.get_help, "show this help")
