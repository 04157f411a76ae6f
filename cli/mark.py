"""The verb `mark`: tell an epoch, a metric or a phase from a job in any language.

It is called once an epoch or more often, so it parses three forms by hand: click would cost more than all the rest.
"""

from __future__ import annotations

import greenrun
from greenrun.cli import output
from greenrun.cli.errors import UserError

USAGE = """\
Usage: greenrun mark epoch K [--of N]
       greenrun mark metric NAME VALUE
       greenrun mark phase NAME start|end

  Tell greenrun, from inside the job that it runs, that epoch K (of N) has
  ended, that what the job calls NAME is now VALUE, or that its part NAME
  begins or ends here. Outside of greenrun it does nothing. Without greenrun
  at hand the same is:

    echo "epoch 3 10" >> "$GREENRUN_MARKS"
    echo "metric accuracy 0.97" >> "$GREENRUN_MARKS"
    echo "phase train start" >> "$GREENRUN_MARKS"
"""


def main(argv: list[str]) -> int:
    """Write one marker; 0 also where nobody is listening. Raises UserError for a marker that makes no sense."""
    match argv:
        case ["--help" | "-h"]:
            output.show(USAGE)
        case ["epoch", k]:
            greenrun.epoch(_whole(k, "K"))
        case ["epoch", k, "--of", n] | ["epoch", "--of", n, k]:
            greenrun.epoch(_whole(k, "K"), of=_whole(n, "N"))
        case ["metric", name, value]:
            greenrun.metric(_name(name, "a metric"), _number(value))
        case ["phase", name, "start"]:
            greenrun.phase(_name(name, "a phase")).start()
        case ["phase", name, "end"]:
            greenrun.phase(_name(name, "a phase")).end()
        case _:
            raise UserError(
                "a marker must be told as: greenrun mark epoch K [--of N], or: greenrun mark metric NAME VALUE, "
                "or: greenrun mark phase NAME start|end"
            )
    return 0


def _whole(text: str, what: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise UserError(f"{what} of an epoch must be a whole number from 0 to 999999999, not {text!r}")
    return int(text)


def _name(text: str, what: str) -> str:
    if not text.strip():
        raise UserError(f"the name of {what} must not be empty")
    return text


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"the value of a metric must be a number, not {text!r}") from None
