"""Other users of this machine, who are nobody in particular: ids that no account has.

    them = User(54341)
    with them.place() as folder:  # theirs, for all to enter
        subprocess.run(them.command(["id", "-u"]), cwd=folder)

Only root can be somebody else; tests that want two users say so.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from typing import NamedTuple

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# In a mount namespace of its own, a way to Python and greenrun for those who may not pass through a home on it.
_ENTER = """
mount -t tmpfs -o mode=0755 kept /mnt
for pair in $OPEN; do
    closed=${pair%%:*} needed=${pair#*:}
    mkdir -p /mnt/kept
    mount --bind "$needed" /mnt/kept
    mount -t tmpfs -o mode=0755 opened "$closed"
    mkdir -p "$needed"
    mount --move /mnt/kept "$needed"
done
umount /mnt
unset OPEN
exec "$@"
"""


class User(NamedTuple):
    """A user by number, with a group of the same number and no other."""

    uid: int

    def command(self, command: list[str]) -> list[str]:
        """Give `command` as this user runs it."""
        ids = [f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups"]
        enter = ["env", f"OPEN={' '.join(to_open())}", "unshare", "--mount", "sh", "-ec", _ENTER, "sh"]
        return [*enter, "setpriv", *ids, *command]

    @contextlib.contextmanager
    def place(self) -> Iterator[str]:
        """Make a directory of the user's that others can enter, for as long as the context lasts."""
        with tempfile.TemporaryDirectory(dir="/tmp") as outer:  # pytest's own folders are shut
            os.chmod(outer, 0o755)  # noqa: S103  as homes lie
            folder = os.path.join(outer, "theirs")
            os.mkdir(folder, 0o755)
            self.own(folder)
            yield folder

    def own(self, top: str) -> None:
        """Give a tree to this user."""
        os.chown(top, self.uid, self.uid)
        for folder, folders, names in os.walk(top):
            for name in (*folders, *names):
                os.chown(os.path.join(folder, name), self.uid, self.uid, follow_symlinks=False)


def to_open() -> Iterator[str]:
    """Give the folders through which only their owner may pass on the way to Python and greenrun: CLOSED:NEEDED."""
    seen = set()
    for needed in (os.path.realpath(sys.base_prefix), os.path.realpath(sys.prefix), _ROOT):
        folder = needed
        closed = ""
        while folder != "/":
            if not os.stat(folder).st_mode & stat.S_IXOTH:
                closed = folder
            folder = os.path.dirname(folder)
        if closed and closed != needed and closed not in seen:
            seen.add(closed)
            yield f"{closed}:{needed}"
