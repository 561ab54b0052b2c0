"""Mutations of JSON: documents and answers that are nearly what they should be, and nothing that was expected."""

import json
import random
from collections.abc import Sequence
from typing import Any

import orjson

Rng = random.Random

STRINGS = (
    *("", " ", "\0", "\x1b[31m", "\ud800", "a\udfffb", "\ufeff", "\u202egnp.exe", "é" * 40, "٣.٣.٣.٣", "１.１.１.１"),
    *("203.0.113.7", "203.0.113.7|443", "2001:db8::1", "::ffff:1.2.3.4", "fe80::1%lo", "999.1.1.1", "1.2.3.4/24", "0x7f.1"),
    *("evil.example.com", "evil[.]example[.]com", "hxxp://evil.example/a?b#c", "http://[::1]:99999/", "http://[", "//", "://"),
    *("xn--", "xn--a", "xn--mnchen-3ya.de", "münchen.de", "a" * 64 + ".com", "." * 300, "a." * 150, "..", "../../etc/passwd"),
    *("d41d8cd98f00b204e9800998ecf8427e", "D" * 32, "g" * 64, "a|b|c", "|", "x.exe|", "NaN", "null", "0000-00-00", "2024-02-30"),
    *("2024-01-01T00:00:00Z", "99999-01-01", "1e999", "-1", "9" * 400, "<a>", "{}", "[", "'", '"', "\\", "[a:b = 'c']"),
    *("[ipv4-addr:value = '203.0.113.7']", "[file:hashes.'MD5' = 'x", "[a:b IN ('a', 'b'", "[" * 50, "''" * 50, "\\'" * 50),
    *("TLP:RED", "tlp:amber+strict", "bundle", "indicator", "file", "url", "A", "domain", "md5", "filename|md5", "ip-dst"),
)  # fmt: skip
NUMBERS = (
    0,
    1,
    -1,
    2**31,
    2**53 + 1,
    2**63 - 1,
    -(2**63),
    10**20,
    1e308,
    -0.0,
    1e-300,
    1.5,
    253402300800,
    -62135596801,
)
TOKENS = ("NaN", "Infinity", "-Infinity", "1e999", "9" * 5000, '"\\ud800"', '"\\udc00x"', '"\\u0000"', "'a'", "/**/", ",", "}",
          "]", "[[[[", '{"a":1,"a":2}', "\\", "0x1", "+1", "01", '"', "\n", "\ufeff", "undefined")  # fmt: skip
# Longer texts, which cost more; seldom taken.
LONG = (
    "a" * 5000,
    "a." * 3000,
    "[.]" * 2000,
    ":" * 5000,
    "hxxp://" * 800,
    "é" * 4000,
    "'" * 5000,
    "\\" * 5001,
    " " * 5000,
    "1." * 4000,
)


def leaf(rng: Rng) -> Any:
    draw = rng.random()
    if draw < 0.45:
        return rng.choice(STRINGS)
    if draw < 0.65:
        return rng.choice(NUMBERS)
    if draw < 0.85:
        return rng.choice((None, True, False, [], {}, [[]], [None], {"": None}))
    if draw < 0.98:
        return "".join(
            chr(rng.choice((46, 58, 47, 91, 93, 97, 49, 0x3002, 0xE000, 0x130, 10, 0xD800)))
            for _ in range(rng.randrange(12))
        )
    return rng.choice(LONG)


def deep(rng: Rng, levels: Sequence[int] = (3, 30, 300, 990, 1010)) -> Any:
    """A value inside many lists or objects."""
    value = leaf(rng)
    for _ in range(rng.choice(levels)):
        value = [value] if rng.random() < 0.5 else {"Event": value}
    return value


def grown(rng: Rng, keys: list[str], depth: int = 0) -> Any:
    """A value of any shape, under keys that readers look for."""
    draw = rng.random()
    if depth > 4 or draw < 0.4:
        return leaf(rng)
    if draw < 0.6:
        return [grown(rng, keys, depth + 1) for _ in range(rng.randrange(4))]
    return {rng.choice(keys): grown(rng, keys, depth + 1) for _ in range(rng.randrange(5))}


def nodes(value: Any) -> list[tuple[Any, Any]]:
    """Every (holder, key) inside a value."""
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        holder = waiting.pop()
        pairs = holder.items() if isinstance(holder, dict) else enumerate(holder)
        for key, inner in pairs:
            found.append((holder, key))
            if isinstance(inner, dict | list):
                waiting.append(inner)
    return found


def keys_of(value: Any) -> list[str]:
    return sorted({key for holder, key in nodes(value) if isinstance(holder, dict)})


def _change(rng: Rng, value: Any, keys: list[str]) -> None:
    places = nodes(value)
    if not places:
        return
    holder, key = rng.choice(places)
    draw = rng.random()
    if draw < 0.5:
        holder[key] = leaf(rng)
    elif draw < 0.6:
        holder[key] = grown(rng, keys)
    elif draw < 0.63:
        holder[key] = deep(rng)
    elif draw < 0.73:
        del holder[key]
    elif draw < 0.8:
        holder[key] = [holder[key]]
    elif draw < 0.87:
        other, place = rng.choice(places)
        if place in other if isinstance(other, dict) else place < len(other):
            holder[key] = other[place] if isinstance(other[place], str) else leaf(rng)
    elif isinstance(holder, dict):
        holder[rng.choice(keys)] = holder.pop(key)
    else:
        holder.insert(rng.randrange(len(holder) + 1), leaf(rng))


def _dumped(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except (TypeError, orjson.JSONEncodeError):  # lone surrogates, large integers, depth
        try:
            return json.dumps(value).encode()
        except RecursionError:
            return b"[" * 1500 + b"]" * 1500


def _broken(rng: Rng, text: bytes) -> bytes:
    """The text with something done to it that no JSON value could say."""
    at = rng.randrange(len(text) + 1)
    draw = rng.random()
    if draw < 0.35:
        return text.replace(
            b":", b":" + rng.choice(TOKENS).encode("utf-8", "surrogatepass") + b',"a":', rng.randrange(1, 4)
        )
    if draw < 0.5:
        return text[:at] + rng.choice(TOKENS).encode("utf-8", "surrogatepass") + text[at:]
    if draw < 0.65:
        return text[:at]
    if draw < 0.8:
        return text[:at] + bytes([rng.randrange(256)]) + text[at + 1 :]
    if draw < 0.9:
        return text[:at] + text[max(at - 40, 0) :]
    doubled = text[text.find(b'"') :] if b'"' in text else text
    return text[:1] + doubled[: rng.randrange(200)] + b"," + text[1:]


def mutant(rng: Rng, seed: bytes, keys: list[str]) -> bytes:
    """A document or answer near to `seed`; one in ten is made of nothing but keys that were seen."""
    draw = rng.random()
    if draw < 0.1:
        return _dumped({rng.choice(keys): grown(rng, keys) for _ in range(3)})
    value = orjson.loads(seed)
    for _ in range(rng.randrange(1, 5)):
        _change(rng, value, keys)
    text = _dumped(value)
    return _broken(rng, text) if draw < 0.35 else text


def broken_text(rng: Rng, seed: str) -> str:
    """A text answer near to `seed`, which is no JSON."""
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(seed) + 1)
        draw = rng.random()
        if draw < 0.4:
            seed = seed[:at] + str(rng.choice(STRINGS)) + seed[at:]
        elif draw < 0.6:
            seed = seed[:at]
        elif draw < 0.8:
            seed = seed[:at] + seed[at + rng.randrange(30) :]
        else:
            seed = seed[:at] + seed[max(at - 80, 0) :]
    return seed
