"""Dictionaries and JSON objects that have an epoch and a figure of the training in them.

`{'loss': 0.5, 'learning_rate': 1e-05, 'epoch': 1.33}` is what the Trainer of Hugging Face prints, newer versions with
all values in quotes. It counts from 0.0 and in fractions: when the number has passed a whole one, that epoch is over.
Objects with whole numbers are people's own; they close the epoch, unless they tell of a step within it.
"""

from __future__ import annotations

import re

from greenrun.sampler.formats.lead import Lead
from greenrun.sampler.formats.sighting import Sighting

_EPOCH = re.compile(
    rb"""['"]epoch['"]\s{0,3}:\s{0,3}(?P<quote>['"]?)(?P<n>[0-9]{1,7})(?P<part>\.[0-9]{1,20})?['"]?\s*[,}]"""
)
_TRAINED = re.compile(
    rb"""['"](?:\w{0,40}(?:loss|acc(?:uracy)?|perplexity)|train_runtime|eval_runtime|lr|learning_rate)['"]"""
)
_STEP = re.compile(rb"""['"](?:global_)?(?:step|batch|iter|iteration|batch_idx)['"]""")
_TRAINERS_OWN = re.compile(rb"""['"](?:eval_runtime|train_runtime|grad_norm)['"]""")
_PLANNED = re.compile(rb"\bNum Epochs = ([0-9]{1,3}(?:,?[0-9]{3}){0,2})\s*\Z")


def parse(line: bytes) -> Sighting | None:
    """Understand a line that is one dictionary, or the Trainer's `Num Epochs = 3`; a logger may put more in front."""
    planned = _PLANNED.search(line) if b"Num Epochs" in line else None
    if planned is not None:
        return Sighting("Trainer", 0, int(planned[1].replace(b",", b"")), "plans")
    start = line.find(b"{")
    found = _EPOCH.search(line, start) if start >= 0 and (b"'epoch'" in line or b'"epoch"' in line) else None
    if found is None or Lead.read(line[:start]) is None or _TRAINED.search(line, start) is None:
        return None
    n = int(found["n"])
    if found["part"] is not None or found["quote"] or _TRAINERS_OWN.search(line, start) is not None:
        return Sighting("Trainer", n, None, "closes", first=1)
    if _STEP.search(line, start) is not None:
        return Sighting("entries", n, None, "within")
    return Sighting("entries", n, None, "closes")
