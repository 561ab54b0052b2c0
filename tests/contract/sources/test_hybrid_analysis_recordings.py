"""Hybrid Analysis's recorded answers, read by its adapter. Expected pivots are written from the bodies."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.contract.sources.recordings import ELSEWHERE, bodies, found, pivots, text

from threatwalk.errors import AnswerError
from threatwalk.sample import parse

EICAR = "sha256:275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f"
INSTALLER = "sha256:6f802a566778618b6a97db31e06f05deb18abd75871a6b972733e6a52c41c90c"


def body(shared: Path, name: str) -> str:
    return text(shared / "data" / "providers" / "hybridanalysis" / f"hybridanalysisx_{name}.json")


def kinds(read: set[str]) -> dict[str, int]:
    counted: dict[str, int] = {}
    for one in read:
        kind = one.partition(":")[0]
        counted[kind] = counted.get(kind, 0) + 1
    return counted


def test_every_recorded_body_is_read(shared: Path) -> None:
    read = {name: pivots("hybrid_analysis", ELSEWHERE, raw) for name, raw in bodies(shared, "hybridanalysis")}

    assert len(read) >= 8
    assert (
        sum(map(bool, read.values())) >= 5
    )  # a refresh, a state and a search without results hold no sample


def test_an_overview_names_the_file_its_parents_and_where_it_came_from(shared: Path) -> None:
    read = found("hybrid_analysis", EICAR, body(shared, "Overview__get_1_1_1"))

    assert kinds(read) == {"sha256": 6, "filename": 83, "url": 1}
    assert {one for one in read if not one.startswith("filename:")} == {
        "sha256:2546dcffc5ad854d4ddc64fbf056871cd5a00f2471cb7a5bfd4ac23b6e9eedad",
        "sha256:26fd8a2df651fd8227db511464778030ff405428ee0a3f3d22aae1f27e81c0cd",
        "sha256:617d1041e2f798790e14dace2a9c625772981448bf34cd098969c206800faa90",
        "sha256:e21378cda53f31781595f7397a4b9616fdf64ed3f8b7a353846c3ae137148cd2",
        "sha256:e1105070ba828007508566e28a2b8d4c65d192e9eaf3b7868382b7cae747b397",
        "sha256:a766dd89fa488ec16e1ab781c3b5cf353b01134f5105ca8ed474eb323c7d273d",
        "url:http://www.eicar.org/download/eicarcom2.zip",
    }
    assert {"filename:notavirus.bat", "filename:yoloswag.zip", "filename:Привет.com"} <= read


@pytest.mark.parametrize("name", ["Report__summary_1_2_1", "Report__summaries_1_3_1"])
def test_a_summary_names_dropped_files_and_where_the_file_was_downloaded(shared: Path, name: str) -> None:
    read = found("hybrid_analysis", INSTALLER, body(shared, name))

    assert kinds(read) == {"md5": 74, "sha1": 74, "sha256": 73, "filename": 74, "url": 1}
    assert {
        "md5:d10473f92e0da8ef699e180234181514",
        "sha1:520f191d6db8b2ddde2e35c5ea20ae46b3b3de52",
        "filename:gs901w32.exe",
        "url:http://www.plotsoft.com/download/gs901w32.exe",
        "md5:a584f9c9a6de43327b44889bd2f828d7",
        "sha1:7ef753ef1f52ec813333637e7d86ae3d92c8d2ae",
        "sha256:0379ca4dd048b6815ff7d430924cedf4761c4bbda93cb9f00fb39f95e5680243",
        "filename:gswin32c.exe",
        "filename:bdftops.cmd",
        "sha256:caee93711297a3ef8de035dd8d1cc9ffe700f7f2d17442854a0ab574271b763e",
    } <= read


def test_dropped_files_are_dated_by_the_run_and_a_download_by_its_submission(shared: Path) -> None:
    read = pivots("hybrid_analysis", parse(INSTALLER), body(shared, "Report__summary_1_2_1"))

    dates = {str(pivot.found): pivot.first_seen for pivot in read}
    assert dates["filename:gswin32c.exe"] == datetime(2020, 1, 25, 6, 26, 53, tzinfo=UTC)
    assert dates["url:http://www.plotsoft.com/download/gs901w32.exe"] == datetime(
        2020, 1, 25, 6, 26, 44, tzinfo=UTC
    )


@pytest.mark.parametrize("name", ["Search__hash_1_1_1", "Search__hashes_1_2_1"])
def test_a_search_for_a_hash_lists_summaries(shared: Path, name: str) -> None:
    read = found("hybrid_analysis", EICAR, body(shared, name))

    assert kinds(read) == {"md5": 1, "sha1": 1, "filename": 68, "url": 7}
    assert {one for one in read if not one.startswith("filename:")} == {
        "md5:44d88612fea8a8f36de82e1278abb02f",
        "sha1:3395856ce81f2b7382dee72602f798b642f14140",
        "url:http://media.kaspersky.com/utilities/ConsumerUtilities/eicar.zip",
        "url:https://support.kaspersky.com/us/downloads/eicar/eicar.zip",
        "url:https://www.ikarussecurity.com/fileadmin/user_upload/testviren/eicar_com.zip",
        "url:http://www.eicar.org/download/eicarcom2.zip",
        "url:https://secure.eicar.org/eicarcom2.zip",
        "url:http://ftp.zedz.net/vir/EICAR-Test-File",
        "url:http://www.eicar.org/download/eicar_com.zip",
    }
    assert {"filename:eicar.com.txt", "filename:1234.exe", "filename:notavirus.bat"} <= read


@pytest.mark.parametrize("name", ["Overview__refresh_1_2_1", "Report__state_1_1_1", "Search__terms_1_3_1"])
def test_bodies_without_samples_hold_no_pivot(shared: Path, name: str) -> None:
    assert found("hybrid_analysis", EICAR, body(shared, name)) == set()


# Of these no answer with content was recorded: they follow the interface's description.
TERMS = {
    "search_terms": [{"id": "host", "value": "198.51.100.8"}],
    "count": 2,
    "result": [
        {"sha256": EICAR[7:], "submit_name": "a.exe", "analysis_start_time": "2021-09-02 18:58:23"},
        {"sha256": None, "job_id": "61311eca7a48ee7a9e3041d7"},
    ],
}
RUN = {
    "job_id": "61311eca7a48ee7a9e3041d7",
    "sha256": EICAR[7:],
    "submit_name": "https://files.example.com/a?b=1",
    "target_url": "https://files.example.com/a?b=1",
    "hosts": ["198.51.100.8", "192.168.56.1", "255.255.255.255"],
    "domains": ["files.example.com", None],
    "compromised_hosts": ["198.51.100.9"],
    "extracted_files": [{"name": "b.dll", "md5": "93cc00543b369a24c4db031b0411c65a", "sha1": None}],
}
SEARCH = {"sha256s": [EICAR[7:]], "reports": [{"id": "61311eca7a48ee7a9e3041d7", "state": "SUCCESS"}]}
HOSTS = {"ipv4:198.51.100.8", "hostname:files.example.com", "ipv4:198.51.100.9"}
URLS = {"url:https://files.example.com/a?b=1"}
DROPPED = {"filename:b.dll", "md5:93cc00543b369a24c4db031b0411c65a"}


@pytest.mark.parametrize(
    ("sample", "answer", "expected"),
    [
        pytest.param("ipv4:198.51.100.8", TERMS, {EICAR}, id="a search for a host"),
        pytest.param(EICAR, RUN, HOSTS | URLS | DROPPED, id="a run with network"),
        pytest.param(
            EICAR, {"search": SEARCH, "report 61311eca": RUN}, HOSTS | URLS | DROPPED, id="by section"
        ),
        pytest.param("md5:44d88612fea8a8f36de82e1278abb02f", SEARCH, {EICAR}, id="a search of today"),
        pytest.param(EICAR, {"message": "Sample not found"}, set(), id="not found"),
        pytest.param(
            EICAR, {"hosts": 7, "domains": {}, "submissions": [None], "md5": 1}, set(), id="odd types"
        ),
    ],
)
def test_bodies_are_read_as_the_interface_describes_them(
    sample: str, answer: dict[str, object], expected: set[str]
) -> None:
    assert found("hybrid_analysis", sample, json.dumps(answer)) == expected


@pytest.mark.parametrize(
    "raw",
    [
        *("", '"ok"', "7", "<html>", '[{"job_id": "5e2'),
        '{"message": "Failed to authenticate api key"}',
        '{"response_code": -1, "response": {"error": "Exceeded maximum API requests per minute (5)."}}',
        '{"error": "Internal error"}',
    ],
)
def test_what_is_no_answer_is_refused(raw: str) -> None:
    with pytest.raises(AnswerError):
        pivots("hybrid_analysis", ELSEWHERE, raw)
