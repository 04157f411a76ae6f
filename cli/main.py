"""The first lines of greenrun: whatever breaks in it, the command runs.

Nothing is imported here at module level but what the interpreter has loaded already.
"""

import gc
import os
import sys


def main() -> int:
    """Entry point: greenrun's exit status, if it returns at all."""
    argv = sys.argv[1:]
    gc.disable()  # imports make much and drop little: collecting meanwhile would cost half a bare start of Python
    try:
        _forget_foreign_paths()
        if not sys.platform.startswith("linux"):
            _say("greenrun: needs Linux, whose kernel tells it what a process and the hardware do.")
            return 125
        return _start(argv)
    except Exception as error:  # noqa: BLE001  fail open: nothing of ours may cost the user the job
        return _run_unmeasured(argv, error)


def _forget_foreign_paths() -> None:
    """Take PYTHONPATH and the working directory off the import path, but for the entry that holds greenrun itself.

    They are the job's: a click.py or json.py that lies there must not become ours.
    """
    home = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))
    foreign = {"", *os.environ.get("PYTHONPATH", "").split(os.pathsep)}
    try:  # noqa: SIM105  contextlib is not loaded yet, and the one to be found may not be ours
        foreign.add(os.getcwd())
    except OSError:
        pass  # the working directory was removed: it holds nothing to import
    sys.path[:] = [
        entry
        for entry in sys.path
        if entry not in foreign or (entry and os.path.realpath(os.path.join(entry, "greenrun", "cli")) == home)
    ]


def _start(argv: list[str]) -> int:
    import signal

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C from here on ends greenrun without a traceback
    from greenrun.cli import verbs
    from greenrun.cli.errors import EXIT_USAGE, UserError
    from greenrun.cli.options import SECRETS

    if any(name in os.environ for name in SECRETS):
        _put_away_token()
    try:
        if not argv or argv[0].startswith("-") or argv[0] in verbs.VERBS or "_GREENRUN_COMPLETE" in os.environ:
            from greenrun.cli import app

            return app.main(argv)
        # Nothing to parse: a plain `greenrun COMMAND ...` need not wait for a parser to be imported.
        from greenrun.cli import config, run

        return run.run(config.load({}, os.environ, ""), argv)
    except UserError as mistake:
        _say(f"greenrun: {mistake}")
        return EXIT_USAGE


def _put_away_token() -> None:
    """Leave the token to a process that nobody can look into, before there is anything else."""
    from greenrun.cli import vault

    trouble = vault.put_away()
    if trouble is not None:
        _say(f"greenrun: the command can read the token of greenrun's, which cannot be hidden ({trouble}).")


def _run_unmeasured(argv: list[str], error: Exception) -> int:
    """Become the command that argv names, after one sentence; if there is none, there is nothing to save."""
    from greenrun.cli.errors import EXIT_USAGE, UserError
    from greenrun.cli.options import split

    try:
        command = split(argv)[1]
    except UserError as mistake:
        _say(f"greenrun: {mistake}")
        return EXIT_USAGE
    reason = f"{type(error).__name__}: {error}".splitlines()[0]
    if not command:
        _say(f"greenrun: {reason}")
        return EXIT_USAGE
    _say(f"greenrun: cannot measure ({reason}); running the command without.")
    from greenrun.cli import run

    return run.become(command)


def _say(sentence: str) -> None:
    from contextlib import suppress

    # A key in a repository's file must not speak to the terminal.
    printable = "".join(character if character.isprintable() else repr(character)[1:-1] for character in sentence)
    with suppress(OSError):  # stderr is closed: nobody listens
        os.write(2, printable.encode() + b"\n")
