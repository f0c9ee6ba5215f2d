"""JSON as the standard has it, and nothing else: what Python's reader lets pass is refused with a reason.

Refused: a key given twice, NaN and Infinity, text after the document, nesting deeper than the reader's
stack, and text that is no Unicode (lone surrogates, NUL). No schema: that is each format's.
"""

from __future__ import annotations

import json
import re

NOT_TEXT = re.compile("[\ud800-\udfff\x00]")


class NotStrict(ValueError):
    """Text that isn't strict JSON: a reason code, and what is wrong."""

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise NotStrict("duplicate_key", f"key {twice[:80]!r} is given twice")
    return members


def _constant(name: str):
    raise NotStrict("not_finite", f"{name} is no JSON number")


def _integer(digits: str) -> int:
    # Longer ones are beyond any column, and slow to read.
    if len(digits) > 40:
        raise NotStrict("out_of_range", "holds an integer of more than 40 digits")
    return int(digits)


DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_int=_integer)


def document_of(text: str) -> object:
    """The value that a strict JSON text holds. NotStrict otherwise."""
    try:
        value = DECODER.decode(text)
    except json.JSONDecodeError as error:
        reason = "trailing_garbage" if error.msg == "Extra data" else "bad_json"
        raise NotStrict(reason, f"is not JSON: {error.msg} at character {error.pos + 1}") from error
    except RecursionError:
        raise NotStrict("too_deep", "is nested too deeply") from None
    return value


def text_is_clean(text: str) -> bool:
    """Whether a decoded string can be stored: no lone surrogate, no NUL."""
    return NOT_TEXT.search(text) is None
