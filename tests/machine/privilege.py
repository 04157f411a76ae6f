"""Commands as one who is not root runs them, whoever runs the tests."""

from __future__ import annotations

import os

_OVERRIDES = "-dac_override,-dac_read_search"


def unprivileged(command: list[str]) -> list[str]:
    """Give `command` such that file permissions hold for it: root without the capabilities to pass over them.

    Not another user: the interpreter, or the folder of the test, may be root's alone. So what is to be forbidden must
    be forbidden to its owner too (mode 0).
    """
    if os.geteuid() != 0:
        return command
    return ["setpriv", "--bounding-set", _OVERRIDES, "--inh-caps", _OVERRIDES, "--", *command]
