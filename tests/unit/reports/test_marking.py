import pytest

from threatwalk.reports import marking
from threatwalk.reports.report import Tlp


@pytest.mark.parametrize(
    ("text", "tlp"),
    [
        ("tlp:white", Tlp.CLEAR),
        ("TLP:CLEAR", Tlp.CLEAR),
        ("TLP: green", Tlp.GREEN),
        ("tlp:amber+strict", Tlp.AMBER_STRICT),
        ("RED", Tlp.RED),
        ("tlp:ex:chr", None),
        ("tlp:purple", None),
        (None, None),
        (7, None),
    ],
)
def test_a_tag_says_its_tlp(text: object, tlp: Tlp | None) -> None:
    assert marking.tlp(text) is tlp


def test_the_strictest_tag_wins() -> None:
    assert marking.tagged(["tlp:green", "osint", "tlp:amber", "tlp:white"]) is Tlp.AMBER


def test_a_colour_that_is_no_tlp_tag_says_nothing() -> None:
    assert marking.tagged(["green", "red"]) is None


def test_a_badly_written_tag_tightens_but_never_loosens() -> None:
    assert marking.tagged([" TLP:WHITE"]) is None
    assert marking.tagged([" TLP:RED"]) is Tlp.RED


@pytest.mark.parametrize(
    ("tag", "campaign"),
    [
        ('threatwalk:campaign="Night Heron"', "Night Heron"),
        ('misp-galaxy:campaign="Operation Cobalt"', "Operation Cobalt"),
        ("campaign:Sandstone", "Sandstone"),
        ('osint:source-type="blog-post"', None),
        ("not a campaign", None),
    ],
)
def test_a_tag_names_a_campaign(tag: str, campaign: str | None) -> None:
    assert marking.campaign(["tlp:green", tag]) == campaign
