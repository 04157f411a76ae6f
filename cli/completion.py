"""What a shell offers when Tab is pressed behind `greenrun`.

click knows how bash, zsh and fish ask and how they want to be answered; what fits is found here, from the tables of
options and verbs and with the same `split` that finds the command, so that nothing of greenrun's is offered among the
command's own arguments.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem, shell_complete

from greenrun.cli import options, verbs
from greenrun.cli.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    Items = Iterator[CompletionItem]


def main(variable: str, instruction: str) -> int:
    """Answer a shell: its question stands in the environment, as click's scripts put it there."""
    return shell_complete(_Line("greenrun"), {}, "greenrun", variable, instruction)


class _Line(click.Command):
    """The line as it is typed: nothing is parsed, so that `--` keeps its meaning."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.args = list(args)
        return ctx.args

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        return list(complete(ctx.args, incomplete))


def complete(words: list[str], incomplete: str) -> Items:
    """Give what may stand in the place of `incomplete`, after the words before it."""
    try:
        if words and words[0] in verbs.VERBS and words[0] != "run":
            return _after_verb(words[0], incomplete)
        # An empty word is no option: where it stays on greenrun's side, an option before it waits for its value.
        own, command = options.split([*words, ""])
    except UserError:
        return iter(())
    if not command:
        return _value(own[-2], incomplete)
    if len(command) > 1:
        return _files(incomplete)
    if incomplete.startswith("-") and own[-1:] != ["--"]:
        return _options(incomplete)
    return _first_word(incomplete, with_verbs=not words)


def _after_verb(name: str, incomplete: str) -> Items:
    command = getattr(verbs.load(name), "command", None)
    if not incomplete.startswith("-"):
        yield from _files(incomplete)
    elif isinstance(command, click.Command):
        with click.Context(command) as context:
            for parameter in command.get_params(context):
                if isinstance(parameter, click.Option):
                    yield from _starting(parameter.opts, incomplete, parameter.help)


def _value(flag: str, incomplete: str) -> Items:
    if flag == "--log-dir":
        yield CompletionItem(incomplete, type="dir")


def _files(incomplete: str) -> Items:
    yield CompletionItem(incomplete, type="file")


def _options(incomplete: str) -> Items:
    for option in options.OPTIONS:
        yield from _starting(option.flags, incomplete, option.help)
    yield from _starting(sorted(options.IMMEDIATE), incomplete)


def _first_word(incomplete: str, with_verbs: bool) -> Items:
    if "/" in incomplete:
        yield from _files(incomplete)
        return
    if with_verbs:
        for name, verb in verbs.VERBS.items():
            if verb.module:
                yield from _starting([name], incomplete, verb.summary)
    if incomplete:  # all programs there are would help nobody
        yield from _starting(sorted(_programs()), incomplete)


def _starting(names: list[str] | tuple[str, ...], incomplete: str, help_text: str | None = None) -> Items:
    return (CompletionItem(name, help=help_text) for name in names if name.startswith(incomplete))


def _programs() -> set[str]:
    found: set[str] = set()
    for directory in os.get_exec_path():
        with suppress(OSError), os.scandir(directory) as entries:  # PATH may name what is not there
            found.update(entry.name for entry in entries if os.access(entry.path, os.X_OK) and entry.is_file())
    return found
