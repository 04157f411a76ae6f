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
from greenrun.intensity.table import zone_names

if TYPE_CHECKING:
    from collections.abc import Iterator

    Items = Iterator[CompletionItem]

_WORDS = {"--basis": ("lifecycle", "direct"), "--start": ("greenest", "now")}


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
            return _after_verb(words[0], words[-1], incomplete)
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


def _after_verb(name: str, before: str, incomplete: str) -> Items:
    command = getattr(verbs.load(name), "command", None)
    if not isinstance(command, click.Command):
        return
    told = {flag: option for option in command.params if isinstance(option, click.Option) for flag in option.opts}
    if before in told and not told[before].is_flag:
        choice = told[before].type
        yield from (
            _starting(choice.choices, incomplete) if isinstance(choice, click.Choice) else _value(before, incomplete)
        )
    elif incomplete.startswith("-"):
        for flag, option in told.items():
            yield from _starting([flag], incomplete, option.help)
    else:
        for parameter in command.params:
            if isinstance(parameter, click.Argument):
                yield from _files(incomplete) if isinstance(parameter.type, click.Path) else _zones(incomplete)


def _value(flag: str, incomplete: str) -> Items:
    if flag == "--log-dir":
        yield CompletionItem(incomplete, type="dir")
    elif flag == "--zone":
        yield from _zones(incomplete)
    else:
        yield from _starting(_WORDS.get(flag, ()), incomplete)


def _zones(incomplete: str) -> Items:
    if incomplete:  # all there are would help nobody
        yield from _starting(zone_names(), incomplete.upper())


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
