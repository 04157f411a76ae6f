"""What may stand on a line in front of the word that counts.

Decorations (everything that is neither a letter nor a digit), a few words (`Training epoch 3`, `End of epoch 3`), and
what loggers and launchers put there: time, level, name, rank.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

_LIMIT_BYTES = 200
_MOST_TOKENS = 8
_LOGGED = re.compile(
    rb"""[\[(<]?\s?(?:
        (?:[0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}|[0-9]{1,2}/[0-9]{1,2}|[A-Z][a-z]{2}[ ]{1,2}[0-9]{1,2})?[T ,]?
            [0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?(?:[.,][0-9]{1,9})?(?:Z|[+-][0-9]{2}:?[0-9]{2})?  # time, with its date
        |[0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}  # the date alone
        |[IWE][0-9]{4}(?=[ ])  # glog, absl
        |DEBUG|INFO|WARN|WARNING|[Ii]nfo
        |(?:[Rr]ank|RANK|gpu|GPU|default|local_rank)[ :=_]?[0-9]{1,6}  # people's own, torchrun
        |[A-Za-z]{1,40}[ ]pid=[0-9]{1,9}[^)]{0,60}  # Ray
        |[0-9,]{1,20}\]<std(?:out|err)>  # mpirun --tag-output
        |[0-9]{1,5}(?=:[ ])  # srun --label
    )(?![0-9A-Za-z])""",
    re.VERBOSE,
)
_NAMED = re.compile(  # behind one of those: a logger, a process, a file and its line
    rb"[\[(<]?(?:[A-Za-z_][\w.<>/-]{0,60}(?::[\w.<>]{1,60}){0,2}(?=\s?[\]:|)>-])|[0-9]{1,8}(?=[\s\]]))"
)
_BETWEEN = re.compile(rb"[\s,|:>\])-]*")
_WORD = re.compile(rb"[0-9A-Za-z_]+")
_Says = Literal["opens", "closes", "other", ""]
_FITTING: dict[bytes, _Says] = {
    **dict.fromkeys((b"start", b"started", b"starting", b"begin", b"begins", b"beginning", b"began"), "opens"),
    **dict.fromkeys((b"end", b"ended", b"finish", b"finished", b"completed", b"done", b"after"), "closes"),
    **dict.fromkeys((b"val", b"valid", b"validation", b"validating", b"test", b"testing", b"eval"), "other"),
    **dict.fromkeys((b"evaluation", b"evaluating", b"dev"), "other"),
    **dict.fromkeys((b"train", b"training", b"current", b"now", b"running", b"of", b"the", b"with", b"for"), ""),
}


class Lead(NamedTuple):
    """How a line leads up to its word: whether behind a logger's prefix, and what words say; `other`: not training."""

    logged: bool
    says: _Says

    @classmethod
    def read(cls, head: bytes) -> Lead | None:
        """Understand what stands in front; None where it is more than that: the line is about something else."""
        if not head:
            return cls(logged=False, says="")
        if len(head) > _LIMIT_BYTES:
            return None
        rest = head[_prefix_bytes(head) :]
        says: _Says = ""
        for word in _WORD.findall(rest):
            meaning = _FITTING.get(word.lower())
            if meaning is None:
                return None
            says = says or meaning
        return cls(len(rest) < len(head), says)


def _prefix_bytes(head: bytes) -> int:
    """Give where the prefix of a logger or a launcher ends, 0 where there is none."""
    prefix = 0
    at = _skip_between(head, 0)
    for _ in range(_MOST_TOKENS):
        token = _LOGGED.match(head, at) or (_NAMED.match(head, at) if prefix else None)
        if token is None:
            break
        prefix = token.end()
        at = _skip_between(head, prefix)
    return prefix


def _skip_between(head: bytes, at: int) -> int:
    found = _BETWEEN.match(head, at)
    return at if found is None else found.end()
