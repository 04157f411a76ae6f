"""An interactive shell on a pseudo-terminal, for what greenrun does under a person's hands."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType

import pexpect

from machine.command import Greenrun


class Shell:
    """A bash with job control on a terminal of 80 columns, while the context lasts; `bash` is pexpect's handle of it.

    `changes` are those of greenrun's environment. `status` is that of what ran before the last `sync`.
    """

    PROMPT = "READY> "

    def __init__(self, greenrun: Greenrun, changes: Mapping[str, str | None] | None = None) -> None:
        environment = greenrun.environment({**(changes or {}), "PS1": self.PROMPT, "TERM": "xterm"})
        self.bash = pexpect.spawn(
            "bash",
            ["--norc", "--noprofile", "-i"],
            env=environment,
            cwd=greenrun.cwd,
            encoding="utf-8",
            dimensions=(24, 80),
            timeout=20,
        )
        self.status = 0

    def __enter__(self) -> Shell:
        self.bash.sendline("bind 'set enable-bracketed-paste off'")
        self.sync()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bash.ptyproc.delayafterterminate = 1.0  # what is asked to end may need a moment on a busy machine
        self.bash.close(force=True)

    def sync(self) -> str:
        """Wait until the shell is at its prompt again, and give what it printed until then."""
        self.bash.sendline("echo SYN''CED $?")
        self.bash.expect(r"SYNCED (\d+)\r\n")
        output = str(self.bash.before)
        self.status = int(self.bash.match.group(1))
        self.bash.expect_exact(self.PROMPT)
        return output
