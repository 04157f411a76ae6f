"""The verb `run`: greenrun's own options, then the command and all that belongs to it."""

from __future__ import annotations

import os
from typing import NamedTuple

import click

from greenrun import __version__
from greenrun.cli import config, options, parse
from greenrun.cli.errors import UserError
from greenrun.cli.verbs import VERBS

USAGE = "greenrun [OPTIONS] COMMAND [ARG ...]"


class _Told(NamedTuple):
    flags: dict[str, str | bool]
    words: list[str]


def main(argv: list[str]) -> int:
    """Run a command under greenrun; argv is what follows the verb, or everything where no verb was told."""
    told = parse.invoke(command, argv, "greenrun")
    if not isinstance(told, _Told):
        return 0  # --help and --version have said what they say
    settings = config.load(told.flags, os.environ, cwd="")  # before: what `--start true` lacks is a value
    if not told.words:
        raise UserError(f"there is no command to run; the usage is {USAGE} (greenrun --help tells more)")
    if told.flags.keys() & {"start", "deadline", "duration"}:
        from greenrun.cli import wait

        wait.until_greenest(settings)

    from greenrun.cli.run import run  # the part that measures; a mistake above does not pay for it

    return run(settings, told.words)


def _told(words: tuple[str, ...], **flags: str | bool | None) -> _Told:
    return _Told({key: value for key, value in flags.items() if value is not None}, list(words))


class _Run(click.Command):
    """A command with a help of its own, which also lists the verbs."""

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help of greenrun as a whole."""
        formatter.write_usage("greenrun", "[OPTIONS] COMMAND [ARG ...]")
        formatter.write_usage("greenrun", "VERB [...]", prefix="       ")
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(
                "Run any command unchanged and tell afterwards, on stderr and in a log directory, what it cost: "
                "time, energy and CO2e, each with its method and how sure it is."
            )
            formatter.write_paragraph()
            formatter.write_text(
                "The options end at the first word that is not one, or at --; all that follows is the command's."
            )
        self.format_options(ctx, formatter)
        with formatter.section("Verbs (greenrun VERB --help tells more)"):
            formatter.write_dl([(name, verb.summary) for name, verb in VERBS.items()])
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text("A program with the name of a verb runs as: greenrun -- NAME.")
            formatter.write_paragraph()
            formatter.write_text(
                "Every option but --start, --deadline and --duration is also a variable (GREENRUN_LOG_DIR) and a key "
                "(log-dir = ...) in greenrun.toml, in "
                "[tool.greenrun] of pyproject.toml, in ~/.config/greenrun/config.toml and in /etc/greenrun.toml; "
                "flags win over variables, variables over files."
            )


def _option(option: options.Option) -> click.Option:
    # Values stay text here: config checks what flags, variables and files tell, all in the same words.
    names = [*option.flags, option.key]
    if option.type is bool:
        return click.Option(names, is_flag=True, flag_value=True, default=None, help=option.help)
    return click.Option(names, type=click.UNPROCESSED, metavar=option.metavar, help=option.help)


command = _Run(
    "run",
    callback=_told,
    params=[
        *(_option(option) for option in options.OPTIONS if option.flag),
        parse.at_once(["--version"], lambda _: f"greenrun {__version__}", "show the version"),
        parse.help_option(),
        click.Argument(["words"], nargs=-1, type=click.UNPROCESSED),
    ],
    add_help_option=False,
    context_settings={"allow_interspersed_args": False},  # what follows the command's name is the command's
)
