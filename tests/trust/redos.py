"""Texts that make a bad regular expression slow: what is repeated, between what begins and what ends it."""

from collections.abc import Iterator
from itertools import count

HASH = "d41d8cd98f00b204e9800998ecf8427e"
# A repeated piece alone; with an end that fits nothing; and behind a beginning that fits.
PUMPS = {
    "a": "a", "dots": ".", "a dot": "a.", "dot a": ".a", "hyphens": "-", "a hyphen": "a-", "underscores": "_", "digits": "1",
    "digit dots": "1.", "octets": "255.", "colons": ":", "hex colons": "f:", "zeros": "0000:", "hex": "0123456789abcdef",
    "capitals": "ABCDEF", "hash": HASH + " ", "hash dots": HASH + ".", "hash names": HASH + ".a.com ", "slashes": "/",
    "backslashes": "\\", "marks": "://", "schemes": "http://", "fanged schemes": "hxxp://", "odd schemes": "h**ps:\\\\", "ftp": "fxp://",
    "schemes in one": "http:hxxp:", "urls": "http://a.com/ ", "urls without blanks": "http://a.com/,", "hosts": "evil.example.com ",
    "brackets": "[", "closing": "]", "pairs": "[]", "parentheses": "(", "closing parentheses": ")", "braces": "{", "angles": "<",
    "fangs": "[.]", "fangs of words": "[dot]", "a fang": "a[.]", "open fangs": "[.", "closed fangs": ".]", "wide fangs": "[ . ]",
    "double fangs": "((.))", "colon fangs": "[:]", "slash fangs": "[/]", "mark fangs": "[://]", "at fangs": "[at]", "at": "@",
    "a at": "a@", "mail": "a@b.c ", "at dots": "@a.", "blanks": " ", "tabs": "\t", "lines": "\n", "returns": "\r\n", "form feeds": "\f",
    "quotes": '"', "single quotes": "'", "commas": ",", "semicolons": ";", "bars": "|", "cells": "a,b\n", "quoted cells": '"a",',
    "stars": "*", "hashes": "# ", "headings": "# a\n", "equals": "=", "percent": "%", "questions": "?a=", "fragments": "#", "dollars": "$",
    "stops": "。", "wide stops": "．", "letter stops": "a。", "zero width": "\u200b", "a zero width": "a\u200b", "bidi": "\u202e",
    "combining": "e\u0301", "seams": "a漢", "kana": "カ", "umlauts": "ü", "umlaut dots": "ü.", "puny": "xn--a.", "emoji": "😀.",
    "wide digits": "１.", "private dots": "\ue000", "private colons": "\ue001", "mojibake": "ï»¿", "sources": "source ",
    "originals": "original ", "references": "Reference: ", "see": "see https://a.b ", "tlp": "TLP:", "dates": "2024-01-01", "date dots": "2024.",
    "published": "published on ", "imphash": f"imphash: {HASH} ", "networks": "1.2.3.0/24 ", "ports": "1.2.3.4:80 ", "v6": "2001:db8::1 ",
    "words": "evil ", "sentences": "done.In ", "files": "a.exe ", "paths": "a\\b.c", "calls": "a.b(", "tags": "<a>", "open tags": "<a ",
    "comments": "<!--", "entities": "&amp;", "nul": "\0", "dot blanks": ". ", "blank dots": " . ", "comma scheme": ",http:",
}  # fmt: skip
FITS = {
    "blanks after a source": ("\nsource", " ", "x://"),
    "blanks after see": ("\nsee", " ", "() \tx://"),
    "bars before a source": ("", "> ", "sourcex://"),
    "blanks in a heading": ("# a", " ", "a"),
    "marks in a heading": ("# a", "*-", "a"),
    "brackets after a URL": ("http://a.com/", ")", " "),
    "mixed brackets after a URL": ("http://a.com/", ")]}.", " "),
    "stops after a URL": ("http://a.com/", "...", " "),
    "brackets in a URL": ("http://a.com/[", "[a", "] "),
    "hosts of a URL": ("http://", "a.", "/"),
    "fangs of a URL": ("hxxp://", "[.]", "/"),
    "users of a URL": ("http://", "a:b@", "c.com/"),
    "labels after a hash": (HASH, ".a", ".com"),
    "hashes after a hash": (HASH, "." + HASH, ".com"),
    "labels of a mail": ("a@", "b.", "c"),
    "local part": ("", "a.", "@b.com"),
    "one line": ("evil[.]com ", "x", ""),
    "one cell": ('a,b\n"', "x", ""),
    "one word": ("", "[.]a", ""),
    "colons of an address": ("2001:", ":", ":1"),
    "groups of an address": ("1:", "2:", "::"),
}
# Pieces that differ each time, since what comes again may be remembered. Of internationalised names: plain letters, what is
# mapped, what no rule allows, both directions of writing, and long labels of ever other letters, which are long to encode.
DIFFERENT = {
    "names": "{:x}.com ", "unknown names": "{:x}.a ", "fanged names": "{:x}[.]com ", "umlaut names": "ü{:x}.de ", "capital umlaut names": "Ü{:X}.DE ",
    "cyrillic names": "почта{:x}.рф ", "kanji names": "例え{:x}.jp ", "hangul names": "한{:x}글.kr ", "arabic names": "مثال{:d}.ir ", "mixed names": "مثال{:x}.ir ",
    "thai names": "ก{:x}ข.th ", "fraction names": "¼{:x}.de ", "wide names": "ａ{:x}ｂ.jp ", "unassigned names": "\u0378{:x}.de ", "unknown umlaut names": "ü{:x}.a ",
    "long umlaut names": "{:x}àáâãäåæçèéêëìíîïðñòóôõöøùúûüýþÿ.de ", "long kanji names": "例{:x}一丁七万丈三上下不与丐丑且.jp ",
    "fanged umlaut names": "ü{:x}[.]de ", "umlaut links": "http://ü{:x}.de/ ", "emoji links": "http://😀{:x}.com/ ", "dotted links": "http://l·l{:x}.com/ ",
    "labels of umlauts": "ü.ä.{:x}.ö.de ", "links": "http://{:x}.com/ ",
    "no links": "http://{:x} ", "fanged links": "hxxp://a[.]com/{:x} ", "addresses": "2001:db8::{:x} ", "no addresses": "a:b:{:x}::: ",
    "octets": "10{0}.1.1.1 1.{0}.1 ", "digests": "{:032x} ", "long digests": "{:064x} ", "labels of digests": "key{:x}: " + HASH + " ",
    "mails": "a{:x}@b.com ", "rows": "{:x}.com,a\n", "files": "{:x}.exe ", "references": "\nSource: http://{:x}.com/ ",
}  # fmt: skip


def repeated(piece: str, size: int) -> str:
    return (piece * (size // len(piece) + 1))[:size]


def different(form: str, size: int, turn: int = 0) -> str:
    """Pieces that stand in no other turn's text."""
    pieces: list[str] = []
    length = 0
    for number in count(turn * size):
        if length >= size:
            break
        pieces.append(form.format(number))
        length += len(pieces[-1])
    return "".join(pieces)


def texts(size: int, turn: int = 0) -> Iterator[tuple[str, str]]:
    """Every text of the corpus, `size` characters long or a little longer, under its name."""
    for name, pump in PUMPS.items():
        yield name, repeated(pump, size)
        yield f"{name}, then nothing", f"x{repeated(pump, size)}\x01!"
    for name, (begin, pump, end) in FITS.items():
        yield name, begin + repeated(pump, size) + end
        yield f"{name}, again and again", repeated(f"{begin}{repeated(pump, 2000)}{end} ", size)
    for name, form in DIFFERENT.items():
        yield f"different {name}", different(form, size, turn)
