r"""The word "epoch" and a number, in the spellings of Keras, Lightning, the examples of PyTorch and people's own loops.

The word opens the line, but for what `lead` knows. What follows the number tells what the line means:

- Nothing (`Epoch 3/10`, `epoch: 3`, `-- Epoch 3`), or nothing that is a figure: the epoch opens. Keras and
  scikit-learn's SGD print that.
- Figures (`Epoch 3, loss=0.5`), or that it is done: the epoch is over.
- How far it has come (`Step [100/600]`, `45%|####`, `[640/60000 (1%)]`): within the epoch; at its end it is over.

Numbers with a total, or with a word of training or a figure behind them, are sure, and so is `Epoch 17` on a line of
its own. Others (`epoch 17`) may count anything, cluster maps and leaders among them: they count from the beginning on,
or when the next number comes. Behind a logger's prefix they are not looked at. Lines that talk about an epoch (`Epoch
3: val_loss improved from ...`) are no marks.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from greenrun.sampler.formats.lead import Lead
from greenrun.sampler.formats.sighting import Sighting

_EPOCH = re.compile(
    rb"""(?<![0-9A-Za-z_])(?:[Ee]poch|EPOCH)(?P<many>[sS])?
    (?:\((?P<part>[a-z]{1,10})\))?                          # mmengine: Epoch(train)
    (?:\s{1,3}(?:no\.?|num(?:ber)?\.?|\#))?
    (?!\s{2,20}:)                                           # a key among others, in a column: dnf info
    (?:\s{0,3}-\s{0,3}(?=[0-9])|[\s:=\#\[(]{0,20})(?P<n>[0-9]{1,7})
    (?:\]?\s{0,8}(?:/|\bof\b|\bout\sof\b)\s{0,8}\[?(?P<of>[0-9]{1,7}))?
    (?![0-9A-Za-z_%/]|[.][0-9]|:[0-9]{2}:[0-9]|-step)       # neither a fraction, a time, a date nor a file's name
    (?P<rest>.*)""",
    re.VERBOSE | re.DOTALL,
)
_ABOUT = re.compile(  # callbacks and schedulers that talk about an epoch
    rb"improved from|not improve|stopping|sav(?:ed|ing)\b|(?:reducing|setting) learning rate|learning ?rate ?scheduler"
)
_WORDS_ABOUT = (b"improve", b"stopping", b"sav", b"learning")  # each such line has one of them
_OPTION = re.compile(rb"(?:\A|[^-])--\Z")  # --epoch 3: words of a command line
_LIGHTNINGS_CHECKPOINT = re.compile(rb", global step [0-9]+:")
_WORD = re.compile(rb"[a-z]+[0-9]?")
_OF_TRAINING = frozenset(
    b"loss losses acc accuracy train training val validation lr learning perplexity ppl bleu iou miou dice auc f1"
    b" mse mae rmse psnr ssim elbo nll reward".split()
)
# What follows the number is looked at in small letters.
_FIGURE = re.compile(rb"[a-z_][\w@-]{0,40}\s?[=:]\s{0,8}[-+]?[0-9]{1,9}\.[0-9]")
_DIGIT_OR_NAN = re.compile(rb"[0-9]|\bnan\b|\binf\b")
_LEARNING_RATE = re.compile(rb"(?:lr|learning.rate)\W{1,4}[0-9.e+-]{1,20}")
_ONLY_FIGURES = re.compile(rb"(?:[^a-z]|[0-9.]e[-+]?[0-9]|(?<=[0-9])s\b|\bnan\b|\binf\b){0,400}")
_LETTER = re.compile(rb"[a-z]")
_BEGUN = re.compile(rb"[^0-9a-z]*(?:start(?:s|ed|ing)?|begin(?:s|ning)?|began)\b")
_DONE = re.compile(
    rb"[^0-9a-z]*(?:(?:is|was|has) )?(?:finish(?:ed)?|completed?|done|ended|over|took|time|duration|elapsed"
    rb"|summary|results?|total time)\b"
)
_BAR = re.compile(rb"([0-9]{1,3})%\s{0,3}(?:\|[^|]{0,1000}\|\s{0,20}([0-9]{1,9})/([0-9]{1,9})[\s\[]|[|\x80-\xff])")
_NEXT_TO_IT = re.compile(rb"[^0-9a-z]{0,1000}?(?<![0-9.])([0-9]{1,9})\s{0,8}/\s{0,8}([0-9]{1,9})(?![0-9./a-z])")
_SHARE = re.compile(rb"[^0-9a-z]{0,20}\(\s{0,3}([0-9]{1,3})(?:\.[0-9]{1,9})?\s?%\s?\)")
_STEP = re.compile(
    rb"(?<![a-z_])(?:step|(?:mini-?)?batch|iter(?:ation)?)(?P<many>e?s)?[^0-9a-z_]{0,4}(?P<at>[0-9]{1,9})"
    rb"(?:\s{0,8}(?:/|\bof\b)\s{0,8}(?P<all>[0-9]{1,9}))?(?![0-9a-z_.])"
)
_BEGINNING = 0.02  # so much of an epoch may be over where a line still marks its beginning
_RICH_BAR = re.compile(rb"\xe2\x80\xa2.{0,200}it/s", re.DOTALL)


class _Way(NamedTuple):
    """How far an epoch has come: 0 to 1, None where only a step is told; and whether a line will tell that it is 1."""

    share: float | None
    closing_comes: bool = False


def parse(line: bytes) -> Sighting | None:
    """Understand a line that leads with an epoch's number."""
    found = _EPOCH.search(line)
    if found is None:
        return None
    head = line[: found.start()]
    lead = None if _OPTION.search(head) is not None and line.startswith(b"e", len(head)) else Lead.read(head)
    if lead is None or lead.says == "other" or found["part"] in (b"val", b"test"):
        return None
    rest = found["rest"].lower()
    n, of = int(found["n"]), None if found["of"] is None else int(found["of"])
    if (of is None and found["many"]) or (of is not None and n > of) or _is_about(rest):
        return None
    sure = of is not None or not _OF_TRAINING.isdisjoint(_WORD.findall(rest)) or _FIGURE.search(rest) is not None
    if lead.logged and not sure:
        return None
    drawn = share_of_bar(rest)
    way = _way(rest) if drawn is None else _Way(drawn)
    sure = sure or drawn is not None
    tells = lead.says or _tells(rest, way, sure=sure)
    if tells is None:
        return None
    sure = sure or (tells == "opens" and line.startswith(b"E", len(head)))  # on a line of its own, as a title
    if of is not None and _RICH_BAR.search(rest) is not None:
        # Lightning's prints the number of the last one as the total. Not on a terminal, it is drawn once, at the end.
        return Sighting("Lightning, rich", n, of + 1, tells, first=0, sure=False)
    return Sighting("epoch", n, of, tells, None, sure, way is not None and way.closing_comes)


def share_of_bar(rest: bytes) -> float | None:
    """Tell how full the progress bar on a line is, 0 to 1; None where there is none."""
    bar = _BAR.search(rest) if b"%" in rest else None
    if bar is None:
        return None
    if bar[2] is not None and int(bar[3]):
        return int(bar[2]) / int(bar[3])  # the percentage is rounded up to 100
    return int(bar[1]) / 100


def _is_about(rest: bytes) -> bool:
    if _LIGHTNINGS_CHECKPOINT.match(rest) is not None:
        return True
    return any(word in rest for word in _WORDS_ABOUT) and _ABOUT.search(rest) is not None


def _tells(rest: bytes, way: _Way | None, *, sure: bool) -> Literal["opens", "closes", "within"] | None:
    if way is not None:
        return "closes" if way.share is not None and way.share >= 1 else "within"
    if _DONE.match(rest) is not None:
        return "closes"
    if _BEGUN.match(rest) is not None:
        return "opens"
    if _DIGIT_OR_NAN.search(_LEARNING_RATE.sub(b"", rest)) is not None:
        return "closes" if sure or _ONLY_FIGURES.fullmatch(rest) is not None else None
    return "opens" if sure or _LETTER.search(rest) is None else None


def _way(rest: bytes) -> _Way | None:
    """Tell how far the epoch has come where no bar does; None where the line does not say."""
    if beside := _NEXT_TO_IT.match(rest):
        return _steps(int(beside[1]), int(beside[2]))
    if share := _SHARE.match(rest):
        return _Way(int(share[1]) / 100)
    step = _STEP.search(rest) if any(word in rest for word in (b"step", b"batch", b"iter")) else None
    if step is None or (step["many"] and step["all"] is None):
        return None
    return _Way(None) if step["all"] is None else _steps(int(step["at"]), int(step["all"]))


def _steps(done: int, of: int) -> _Way:
    if not of:
        return _Way(None)
    # Every hundredth of 600 is told until the last; every hundredth of 469 is not.
    return _Way(done / of, done > _BEGINNING * of and of % done == 0)
