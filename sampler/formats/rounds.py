r"""Rounds of boosting, iterations of a solver and the like, told when they are over, without the word "epoch".

- XGBoost: `[3]\ttrain-rmse:0.5`, from 0. LightGBM: `[3]\tvalid_0's l2: 0.5`, from 1.
- CatBoost: `3:\tlearn: 0.5\ttotal: 1ms\tremaining: 2ms`, from 0.
- fastai without its progress bar: `[3, 0.5, 0.6, '00:01']`, the log of an epoch as a list, from 0.
- scikit-learn's multi-layer perceptron: `Iteration 3, loss = 0.5`, from 1.
"""

from __future__ import annotations

import re

from greenrun.sampler.formats.sighting import Sighting

_NUMBER = rb"[-+]?(?:[0-9]{1,20}(?:\.[0-9]{1,30})?(?:e[-+]?[0-9]{1,3})?|nan|inf)"
_XGBOOST = re.compile(
    rb"\[([0-9]{1,7})\](?:\t\s{0,8}[\w@.:,()-]{1,100}-[\w@.()-]{1,100}:"
    + _NUMBER
    + rb"(?:\+"
    + _NUMBER
    + rb")?){1,40}\s*"
)
_LIGHTGBM = re.compile(
    rb"\[([0-9]{1,7})\](?:\t[^\t:]{1,100}'s [^\t:]{1,100}: " + _NUMBER + rb"(?: \+ " + _NUMBER + rb")?){1,40}\s*"
)
_CATBOOST = re.compile(rb"([0-9]{1,7}):\t(?:learn|test): .{1,400}\ttotal: .{1,40}\tremaining: .{1,40}", re.DOTALL)
_ITERATION = re.compile(rb"Iteration ([0-9]{1,7}), loss = " + _NUMBER + rb"\s*")
_LIST = re.compile(rb"\[([0-9]{1,7})(?:, (?:" + _NUMBER + rb"|None)){1,40}, '[0-9:]{4,10}'\]\s*")


def parse(line: bytes) -> Sighting | None:
    """Understand a line that tells the result of a round."""
    if line.startswith(b"["):
        if found := _XGBOOST.fullmatch(line):
            return Sighting("XGBoost", int(found[1]), None, "closes", first=0)
        if found := _LIGHTGBM.fullmatch(line):
            return Sighting("LightGBM", int(found[1]), None, "closes", first=1)
        if found := _LIST.fullmatch(line):
            return Sighting("fastai", int(found[1]), None, "closes", first=0)
    elif found := _CATBOOST.fullmatch(line):
        return Sighting("CatBoost", int(found[1]), None, "closes", first=0)
    elif found := _ITERATION.fullmatch(line):
        return Sighting("scikit-learn", int(found[1]), None, "closes", first=1)
    return None
