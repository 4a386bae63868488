"""Mutations: broken bytes, broken JSON and hostile names, each drawn from a seed."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

NAMES = (
    "", ".", "..", "../../outside", "/etc/passwd", "~", "~root", "-rf", "--help", "a\0b", "\0",
    "CON", "nul", "COM1", "/dev/zero", "/proc/self/mem", "//host/share", "C:\\x", "a/b", "a\\b",
    "a\nb", "a\rb", "\x1b[2J\x1b[31mred", "\x07", "[/x]", "[red]x[/red]", "[link=file:///x]y[/link]",
    "{0}", "%s%n", "$(id)", "`id`", "'; DROP TABLE runs; --", "\u202egnp.exe", "\u200b", "\ufeffa",
    "e\u0301", "ﬁle", "İ", "𝕏" * 3, "\ud800", "\udcff", "a" * 64, "a" * 65, "a" * 5000, "run.json",
    "level_0000.h5", "level_99999.h5", "index.sqlite", ".lock", ".h5", "x.pt", "x.safetensors",
    "imp@1", "imp@last", "imp@0.final", "imp@1.step-40", "imp@1.step-999999999999", "__class__",
    "__metadata__", "os.system", "nan", "inf", "-inf", "1e999", "0x10", "१२", "1_000", " 1 ",
)  # fmt: skip
NUMBERS = (
    0, 1, -1, 2, 3, 7, 8, 9, 127, 128, 255, 256, 32767, 65535, 65536, 10**6, 2**31 - 1, 2**31,
    2**32 - 1, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**31), -(2**63) - 1,
    10**30, 10**400, 0.5, -0.0, 1e-320, 1e308, float("nan"), float("inf"), -float("inf"),
)  # fmt: skip
_TOKENS = (
    b"\0" * 8, b"\xff" * 8, b"\0", b"\xff", b"\x7f\xff\xff\xff", b"\x80", b"[[[[[[[[", b'{"":',
    b"]", b"}", b'"', b"\\u0000", b"\\ud800", b"NaN", b"-Infinity", b"1e999", b"null", b"\n",
    b"OHDR", b"GCOL", b"TREE", b"SNOD", b"HEAP", b"FRHP", b"BTHD", b"PK\x03\x04", b"PK\x05\x06",
    b"cos\nsystem\n", b"\x80\x02", b"SQLite format 3\0", b"../../", b"/dev/zero\0",
)  # fmt: skip

Draw = Callable[[Random], Any]


def damaged(draws: Random, content: bytes, tokens: Sequence[bytes] = _TOKENS) -> bytes:
    """`content` with one to eight faults: bits, bytes, numbers, cuts, repeats, strange words."""
    broken = bytearray(content)
    for _ in range(draws.choice((1, 1, 1, 2, 2, 3, 5, 8))):
        _break(draws, broken, tokens)
    return bytes(broken)


def _break(draws: Random, content: bytearray, tokens: Sequence[bytes]) -> None:
    """One fault, in place."""
    at = draws.randrange(len(content) + 1)
    kind = draws.randrange(10)
    if kind < 3 and at < len(content):
        content[at] ^= 1 << draws.randrange(8)
    elif kind < 4 and at < len(content):
        content[at] = draws.randrange(256)
    elif kind < 6:
        width = draws.choice((1, 2, 4, 8))
        number = int(draws.choice([n for n in NUMBERS if isinstance(n, int)])) % 256**width
        content[at : at + width] = number.to_bytes(width, draws.choice(("little", "little", "big")))
    elif kind < 7:
        token = draws.choice(tokens)
        content[at : at + draws.choice((0, len(token)))] = token
    elif kind < 8:
        del content[at : at + draws.choice((1, 2, 4, 8, 64, 512, len(content)))]
    elif kind < 9:
        start = draws.randrange(len(content) + 1)
        piece = content[start : start + draws.choice((1, 4, 8, 16, 64, 512))]
        content[at : at + draws.choice((0, len(piece)))] = piece
    else:
        size = draws.choice((1, 8, 64, 512))
        content[at : at + size] = draws.choice((b"\0", b"\xff")) * size


def text(draws: Random) -> str:
    """A hostile name, alone, joined with another, or of any characters."""
    kind = draws.randrange(6)
    if kind < 3:
        return draws.choice(NAMES)
    if kind < 5:
        return draws.choice(("", "/", "@", ".", "=", " ")).join(
            draws.choice(NAMES) for _ in range(draws.randrange(2, 4))
        )
    return "".join(chr(draws.choice((draws.randrange(128), draws.randrange(0x110000))))
                   for _ in range(draws.randrange(12)))  # fmt: skip


def altered(draws: Random, value: Any) -> Any:
    """Plain JSON with one to three entries changed: wrong types, huge, missing, nested."""
    whole = [copy.deepcopy(value)]
    for _ in range(draws.choice((1, 1, 1, 2, 3))):
        _alter(draws, whole)
    return whole[0]


def _alter(draws: Random, whole: list[Any]) -> None:
    """Change one entry somewhere below `whole`, in place."""
    places = list(_places(whole))
    holder, key = draws.choice(places)
    kind = draws.randrange(12)
    if kind == 0 and holder is not whole:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[text(draws)] = holder.pop(key)
    elif kind == 2:
        other, name = draws.choice(places)
        holder[key] = copy.deepcopy(other[name])
    elif kind == 3 and isinstance(holder[key], list):
        holder[key] = holder[key] * draws.choice((0, 2, 3, 50))
    elif kind == 4 and isinstance(holder[key], list):
        draws.shuffle(holder[key])
    elif kind == 5:
        holder[key] = draws.choice(([holder[key]], {"a": holder[key]}, str(holder[key])))
    elif kind < 9 and isinstance(holder[key], int | float):
        holder[key] = draws.choice((draws.choice(NUMBERS), holder[key] + 1, -holder[key]))
    else:
        holder[key] = strange(draws)


def strange(draws: Random) -> Any:
    """Any value that JSON holds."""
    kind = draws.randrange(8)
    if kind < 2:
        return draws.choice(NUMBERS)
    if kind < 5:
        return text(draws)
    return draws.choice(
        (
            None,
            True,
            False,
            [],
            {},
            [[]],
            [None],
            {"": None},
            [0] * 1000,
            {"a": {"a": {}}},
            [[1]] * 3,
        )
    )


def _places(value: Any) -> Any:
    """Every (holder, key) below a list or a dict."""
    keys = list(value) if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key
        if isinstance(value[key], list | dict):
            yield from _places(value[key])


def json_bytes(draws: Random, value: Any) -> bytes:
    """JSON of an altered value; now and then nested without end, with a name twice, or broken."""
    kind = draws.randrange(20)
    content = json.dumps(value).encode()
    if kind == 0:
        depth = draws.choice((10, 1000, 100_000))
        hole = json.dumps(draws.choice(("version", "record", "kind", "spec", "config"))).encode()
        return b"{" + hole + b": " + b"[" * depth + b"]" * depth + b", " + content[1:]
    if kind == 1 and isinstance(value, dict) and value:
        name = draws.choice(list(value))
        again = json.dumps({name: strange(draws)}).encode()
        return content[:-1] + b", " + again[1:]
    if kind == 2:
        return damaged(draws, content)
    return content
