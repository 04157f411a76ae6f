"""What training programs print when an epoch begins or ends, format by format.

Pure: one line of bytes in, a `Sighting` or nothing out. A line comes without its end and without ANSI sequences; a
progress bar that was drawn to its end is a line too.

- `words`: the word "epoch" and a number, as Keras, Lightning and people's own loops write it.
- `bars`: tqdm bars that count the epochs themselves.
- `entries`: dictionaries and JSON with an "epoch" in them, as the Trainer of Hugging Face prints.
- `tables`: a header, then a row an epoch: fastai, Ultralytics, skorch.
- `rounds`: XGBoost, LightGBM, CatBoost and scikit-learn, which have no epochs but count rounds.
- `told`: what the user says that a line looks like.

`search` picks the lines that may matter out of megabytes, `boundaries` makes marks of what was seen. A new format takes
a function here or in a module of its own, one line in `search.KEYWORDS` (or the word "epoch" in its lines), one in
`sight`, and its recorded output in the tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from greenrun.sampler.formats.bars import over_epochs, unnamed
from greenrun.sampler.formats.entries import parse as parse_entry
from greenrun.sampler.formats.rounds import parse as parse_round
from greenrun.sampler.formats.words import parse as parse_words

if TYPE_CHECKING:
    from greenrun.sampler.formats.sighting import Sighting


def sight(line: bytes, epochs: int | None = None) -> Sighting | None:
    """Understand a line that needs no other line to be understood; `epochs` is the number that the user told."""
    if b"poch" in line or b"POCH" in line:
        return over_epochs(line) or parse_entry(line) or parse_words(line)
    return parse_round(line) or (None if epochs is None else unnamed(line, epochs))
