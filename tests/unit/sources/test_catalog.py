"""The catalog: eleven sources, in the paper's order, and the page that is made from it."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from threatwalk import params
from threatwalk.cli.sources import ask, sources
from threatwalk.errors import UsageError
from threatwalk.sample import Kind
from threatwalk.sources import catalog
from threatwalk.sources.filter import Opsec, Status

ROOT = Path(__file__).parents[3]
ELEVEN = (
    *("dns", "whois", "virustotal", "isc", "passivetotal", "shodan", "censys", "threatcrowd", "threatexpert"),
    *("otx", "nsrl"),
)


def test_the_eleven_sources_of_the_paper_are_named_in_its_order_and_in_params() -> None:
    assert tuple(f.name for f in catalog.PAPER) == ELEVEN
    assert catalog.CATALOG[:11] == catalog.PAPER
    assert params.load(ROOT / "params.yaml").filters == ELEVEN


def test_an_archive_only_filter_takes_every_kind() -> None:
    assert catalog.accepts("fofa") == frozenset(Kind)
    assert catalog.known("fofa") is None
    assert not catalog.is_live("fofa")


def test_each_source_says_what_it_takes_gives_and_asks_for() -> None:
    for f in catalog.CATALOG:
        assert f.accepts, f.name
        assert f.yields, f.name
        assert f.terms.endswith("."), f.name
        assert f.endpoints or f.opsec is Opsec.LOCAL, f.name
        assert f.status is not Status.ARCHIVE, f.name
    assert catalog.accepts("dns") == {Kind.IPV4, Kind.IPV6, Kind.DOMAIN, Kind.HOSTNAME}
    assert catalog.accepts("nsrl") == {Kind.MD5, Kind.SHA1, Kind.SHA256, Kind.FILENAME}
    assert Kind.FILENAME not in catalog.accepts("virustotal")


def test_the_page_of_the_documentation_is_what_the_code_says() -> None:
    page = CliRunner().invoke(sources, ["--markdown"]).output

    assert (ROOT / "docs" / "sources.md").read_text(encoding="utf-8") == page


def test_the_list_says_whether_a_key_is_there_and_never_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THREATWALK_KEY_VIRUSTOTAL", "a-key-nobody-may-see")

    result = CliRunner().invoke(sources, ["--json"])

    assert '"name": "virustotal"' in result.stdout
    assert '"key": "present"' in result.stdout
    assert "a-key-nobody-may-see" not in result.output
    assert "business workflows" in result.stderr


def test_an_unknown_source_is_a_usage_error_that_names_the_known_ones() -> None:
    result = CliRunner().invoke(ask, ["shodn", "ipv4:1.1.1.1", "--params", str(ROOT / "params.yaml")])

    assert isinstance(result.exception, UsageError)
    assert "shodan" in str(result.exception)


def test_the_catalog_needs_no_client_library_and_no_torch() -> None:
    code = (
        "import sys; import threatwalk.sources.catalog; "
        "print(sorted({'aiohttp', 'shodan', 'requests', 'torch', 'mlflow', 'sqlalchemy'} & set(sys.modules)))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert loaded.strip() == "[]"
