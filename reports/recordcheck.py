"""What a record must hold, so that those who read a summary.json can rely on it: worked out from the types of `record`.

Pure. A record comes from a file that anybody may have written. Each field is there and of its type, within bounds in
which sums and dates do not overflow; text can be written again, and moments can be read. What is not known is left
alone, for a newer greenrun may have written it, as long as it is no tower of lists.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from greenrun.reports.life import parse_utc

_Check = Callable[[Any], bool]

# A run log's numbers go to 1e18, and the account makes products of three of them; sums of these are still finite.
_LARGEST_NUMBER = 1e60
_LARGEST_WHOLE = 1e18
_LONGEST_SECONDS = 1e10
_YEARS = range(1970, 3000)
_DEEPEST = 20  # of lists and objects within a field that is not known
_MOMENTS = frozenset(("started_at", "from", "to", "fetched_at"))
"""Text by these names is a time."""


def flaw(document: object) -> str | None:
    """Give what is wrong with a record as JSON told it, as a phrase that names the field; None if nothing is."""
    if not isinstance(document, dict):
        return "it is no JSON object"
    record = _fields()
    missing = next((name for name in record if name not in document), None)
    if missing is not None:
        return f"it has no {missing}"
    wrong = next((name for name, value in document.items() if not _fits(name, value, record)), None)
    return None if wrong is None else f"it has no valid {wrong if wrong in record else 'extra field'}"


@cache
def _fields() -> dict[str, _Check]:
    """Give the check for each field of a record; made once, for that takes as long as reading many summaries."""
    from greenrun.reports.record import Record

    return {name: _check_of(name, hint) for name, hint in get_type_hints(Record).items()}


def _fits(name: str, value: Any, checks: dict[str, _Check]) -> bool:
    return checks[name](value) if name in checks else _is_shallow(value, _DEEPEST)


def _check_of(name: str, hint: Any) -> _Check:
    """Give the check for a value of a type; `name` is that of the field that it is in."""
    origin, inner = get_origin(hint), get_args(hint)
    if is_typeddict(hint):
        return _object({one: _check_of(one, of) for one, of in get_type_hints(hint).items()})
    if origin in (Union, types.UnionType):
        return _either([_check_of(name, one) for one in inner])
    if origin is Literal:
        return lambda value: isinstance(value, str) and value in inner
    if origin is list:
        each = _check_of(name, inner[0])
        return lambda value: isinstance(value, list) and all(map(each, value))
    if origin is dict:
        each = _check_of(name, inner[1])
        return lambda value: isinstance(value, dict) and all(_is_text(key) and each(one) for key, one in value.items())
    if hint is str and name in _MOMENTS:
        return _is_moment
    if hint is float and name.endswith("_seconds"):
        return lambda value: _is_number(value) and abs(value) <= _LONGEST_SECONDS
    return _PLAIN[hint]


def _object(fields: dict[str, _Check]) -> _Check:
    def check(value: Any) -> bool:
        if not isinstance(value, dict) or fields.keys() - value.keys():
            return False
        for name, one in value.items():  # noqa: SIM110  a generator takes twice as long, and records are many
            if not _fits(name, one, fields):
                return False
        return True

    return check


def _either(checks: list[_Check]) -> _Check:
    if len(checks) == 2 and checks[1] is _is_none:
        (check, _) = checks
        return lambda value: value is None or check(value)
    return lambda value: any(check(value) for check in checks)


def _is_number(value: Any) -> bool:
    if type(value) is float:  # by far the most: the others take longer to tell
        return -_LARGEST_NUMBER <= value <= _LARGEST_NUMBER
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _LARGEST_NUMBER


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST_WHOLE


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_none(value: Any) -> bool:
    return value is None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and (value.isascii() or value == value.encode("utf-8", "replace").decode())


def _is_moment(value: Any) -> bool:
    try:
        return isinstance(value, str) and parse_utc(value).year in _YEARS
    except ValueError:
        return False


def _is_shallow(value: Any, deepest: int) -> bool:
    if not isinstance(value, (dict, list)):
        return True
    inside = value.values() if isinstance(value, dict) else value
    return deepest > 0 and all(_is_shallow(one, deepest - 1) for one in inside)


_PLAIN: dict[Any, _Check] = {
    float: _is_number,
    int: _is_whole,
    str: _is_text,
    bool: _is_flag,
    type(None): _is_none,
}
