r"""Progress bars of tqdm whose unit is the epoch.

`Epochs:  30%|###       | 3/10 [00:03<00:07,  1.00it/s]` closes epoch 3, and so does any bar that counts in epochs
(`1.00epoch/s`). The first drawing (`[00:00<?, ?it/s]`) begins the one that follows. The form is that of tqdm's
documentation (`bar_format`); the bytes between the strokes are the bar, in ASCII or in Unicode blocks.

A bar without a name is one over batches more often than not, and is left alone unless it goes to exactly the number of
epochs that the user told.
"""

from __future__ import annotations

import re

from greenrun.sampler.formats.sighting import Sighting

_BAR = re.compile(
    rb"""(?P<name>[^%|]{0,200}?)\s{0,3}[0-9]{1,3}%\|[^|]{0,1000}\|\s{0,20}
    (?P<done>[0-9]{1,7})/(?P<all>[0-9]{1,7})[ ]
    \[[0-9:]{1,12}<(?P<left>[0-9:?]{1,12})(?:\sday[^,\]]{0,20})?,(?P<rate>[^\],]{1,40})""",
    re.VERBOSE,
)
_COUNTED = re.compile(
    rb"(?:[^:]{0,100}:\s)?\s{0,20}(?P<done>[0-9]{1,7})epochs?\s\[[0-9:]{1,12},\s{1,3}\S{1,12}(?:epochs?/s|s/epochs?)"
)
_OF_EPOCHS = re.compile(rb"(?:\A|[^0-9A-Za-z])(?:[Ee]pochs?|EPOCHS?)(?:\s{1,3}(?:progress|loop))?[^0-9A-Za-z]{0,20}\Z")
_OTHERWISE = re.compile(rb"\bper\b|\bin\b|/|[0-9]", re.IGNORECASE)  # batches per epoch; steps in epoch 3
_IN_EPOCHS = re.compile(rb"epochs?/s|s/epochs?")
_NAMELESS = re.compile(rb"[^0-9A-Za-z]*(?:train(?:ing)?[^0-9A-Za-z]*)?", re.IGNORECASE)


def over_epochs(line: bytes) -> Sighting | None:
    """Understand a bar over epochs."""
    bar = _BAR.match(line) if b"%|" in line else None
    if bar is None:
        counted = _COUNTED.match(line) if b"epoch [" in line or b"epochs [" in line else None
        return None if counted is None else _sighting(int(counted["done"]), None, begins=counted["done"] == b"0")
    named = _OF_EPOCHS.search(bar["name"]) is not None and _OTHERWISE.search(bar["name"]) is None
    return _counts(bar) if named or _IN_EPOCHS.search(bar["rate"]) is not None else None


def unnamed(line: bytes, epochs: int) -> Sighting | None:
    """Understand a bar without a name as one over epochs where it goes to `epochs`."""
    bar = _BAR.match(line) if b"%|" in line else None
    if bar is None or bar["all"] != b"%d" % epochs or b"it" not in bar["rate"] or not _NAMELESS.fullmatch(bar["name"]):
        return None
    return _counts(bar, "tqdm, unnamed")


def _counts(bar: re.Match[bytes], name: str = "tqdm") -> Sighting | None:
    done, of = int(bar["done"]), int(bar["all"])
    if done > of:
        return None
    return _sighting(done, of, begins=bar["left"] == b"?" and done < of, name=name)


def _sighting(done: int, of: int | None, *, begins: bool, name: str = "tqdm") -> Sighting | None:
    if begins:
        return Sighting(name, done + 1, of, "begins", first=1)
    return Sighting(name, done, of, "closes", first=1) if done else None
