"""Markup is bounded before it is parsed: it takes far more memory than bytes."""

import pytest

from threatwalk.errors import DocumentError
from threatwalk.reports import markup
from threatwalk.reports.read import parse


@pytest.mark.parametrize("name", ["a.xml", "a.html"])
@pytest.mark.parametrize("piece", ["<a/>", '<a b="">', "<a b=c>"])
def test_tags_without_end_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, piece: str) -> None:
    monkeypatch.setattr(markup, "MARKS", 1000)

    with pytest.raises(DocumentError, match="tags and attributes, more than 1000"):
        list(parse((piece * 1001).encode(), path=name))


@pytest.mark.parametrize(
    "head", ['<?xml version="1.0" encoding="UTF-7"?>', "<?xml encoding = 'unicode-1-1-utf-7'?>"]
)
def test_utf_7_hides_tags_and_is_refused(head: str) -> None:
    with pytest.raises(DocumentError, match="UTF-7"):
        list(parse(f"{head}+ADwAIQ-DOCTYPE a+AD4-+ADw-a/+AD4-".encode(), path="a.xml"))
