"""What in a text is a reference: a link to another report, to its publisher or to a tool; no sample."""

import re

from threatwalk.reports.scan import Found
from threatwalk.sample import Sample, registered_domain

# Hosts that reports link to: where people talk, what analysts look up, who publishes. A link to one is a
# sample only where it is defanged, or where a table declares it.
_PEOPLE = (
    "bsky.app facebook.com infosec.exchange linkedin.com medium.com reddit.com substack.com t.co twitter.com x.com "
    "youtube.com"
)
_LOOK_UPS = (
    "abuse.ch alienvault.com any.run censys.io domaintools.com fraunhofer.de github.com hybrid-analysis.com intezer.com "
    "joesandbox.com joesecurity.org riskiq.com shodan.io tria.ge urlscan.io validin.com virustotal.com"
)
_AUTHORITIES = (
    "archive.org bsi.bund.de cert.gov.ua cisa.gov cve.org first.org ic3.gov jpcert.or.jp lolbas-project.github.io "
    "mitre.org ncsc.gov.uk nist.gov us-cert.gov wikipedia.org"
)
_PUBLISHERS = (
    "ahnlab.com amnesty.org arstechnica.com avast.com bitdefender.com bleepingcomputer.com broadcom.com checkpoint.com "
    "cisco.com citizenlab.ca citizenlab.org crowdstrike.com cybereason.com darkreading.com deepinstinct.com dragos.com "
    "drweb.com eclecticiq.com elastic.co eset.com f-secure.com fireeye.com forcepoint.com fortinet.com "
    "gdatasoftware.com group-ib.com huntress.com ibm.com kaspersky.com krebsonsecurity.com lookout.com "
    "malware-traffic-analysis.net malwarebytes.com mandiant.com mcafee.com morphisec.com netskope.com "
    "paloaltonetworks.com proofpoint.com pwc.com qianxin.com rapid7.com recordedfuture.com redcanary.com secureworks.com "
    "securelist.com securityintelligence.com sekoia.io sentinelone.com sophos.com sucuri.net symantec.com "
    "talosintelligence.com team-cymru.com thedfirreport.com thehackernews.com therecord.media threatpost.com "
    "trellix.com trendmicro.com trustwave.com volexity.com welivesecurity.com withsecure.com zimperium.com zscaler.com"
)
_KNOWN = frozenset(" ".join((_PEOPLE, _LOOK_UPS, _AUTHORITIES, _PUBLISHERS)).split())

_TITLES = (
    r"(?:(?:original|additional|external|other|related|unit 42|more|useful|further)\s+)*"
    r"(?:references?|sources?|links?|see also|further (?:reading|information)|additional (?:resources|information)"
    r"|read more|acknowledge?ments?|credits?|related (?:posts|articles|reading|content)|bibliography|footnotes"
    r"|about (?:us|the authors?)|参考(?:文献|資料|情報|リンク)?|出典)"
)
_HEADING = re.compile(rf"[\W\d_]*{_TITLES}(?:\(s\))?\s*[:：]?[\s#*=_-]*\Z", re.IGNORECASE)
_LINE = re.compile(
    rf"[\s\-*•>#(]*(?:{_TITLES}|source|reference|via|read|see|blog(?: post)?|report|tweet|original(?: post)?"
    r"|press release|more (?:info|details|information)(?: (?:at|here))?)\s*(?:\([^)]{0,40}\)\s*)?[:：-]",
    re.IGNORECASE,
)
_ITEM = re.compile(r"\s*(?:[-*•‣◦+>]|--|\d{1,3}[.)]|\[\d{1,3}\])\s")
_LONGEST_HEADING = 80


def split(text: str) -> tuple[str, str]:
    """A text as what it reports, and its references: their sections, and lines that say they are one."""
    if "://" not in text:
        return text, ""
    kept: list[str] = []
    cited: list[str] = []
    inside = False
    for line in text.splitlines():
        if len(line) <= _LONGEST_HEADING and _is_heading(line):
            inside = _HEADING.match(line) is not None
        (cited if inside or ("://" in line and _LINE.match(line)) else kept).append(line)
    return "\n".join(kept), "\n".join(cited)


def _is_heading(line: str) -> bool:
    """Whether a line can begin a section: it ends in a colon, is marked as one, is a title that we know, or all capitals."""
    bare = line.strip()
    if not bare or "://" in bare or _ITEM.match(line):
        return False
    return bare[-1] in ":：#" or bare[0] in "#=*" or bare.isupper() or _HEADING.match(bare) is not None


def is_known(link: Sample) -> bool:
    """Whether a URL leads to a host that reports refer to."""
    place = link.value.partition("://")[2].partition("/")[0].rpartition("@")[2].partition(":")[0]
    return place in _KNOWN or place.removeprefix("www.") in _KNOWN or registered_domain(place) in _KNOWN


def samples(found: Found, *, defanged: bool) -> set[Sample]:
    """What of a text's links and names are samples, where the document as a whole is `defanged` or not.

    Who defangs what is dangerous means a plain link to be followed.
    """
    kept = found.samples | found.names
    if not defanged:
        kept.update(link for link in found.links if not is_known(link))
    return kept
