"""hashlookup's recorded answers, read by two adapters. Expected pivots are written from the bodies."""

from pathlib import Path

import pytest
from tests.contract.sources.recordings import ELSEWHERE, bodies, found, pivots, text

from threatwalk.errors import AnswerError
from threatwalk.sample import parse

MANIFEST = "wow64_microsoft-windows-i..timezones.resources_31bf3856ad364e35_10.0.16299.579_de-de_f24979c73226184d.manifest"
HELLO = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
PACKAGES = {
    "sha1:0133fc19024b624e1d9da2cf7126e6843f2ccaed",
    "md5:236e42835f238a12810127b3b42b6528",
    "sha1:054668a2c7c20b7ac1857f7795ff9338b4ab2040",
    "sha256:aeb27dcc4f0df1677647ad8acc8e1e245f82b90078526b26ef1f5b8846276d93",
    "md5:a3b42bab8b2e2c8e8c2c5c8e6e8e8e8e",
    "sha1:b4c53cbc9c3f3d9f9d3d6d9f7f9f9f9f9f9f9f9f",
    "sha256:c5d64dcd0d4f4e0f0e4e7e0f8f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f",
}
EXPECTED = [
    pytest.param(
        "hashlookup_readme_2.json",
        "md5:8ed4b4ed952526d89899e723f3488de4",
        {"sha1:00000079fd7aac9b2f9c988c50750e1f50b27eb5", f"filename:{MANIFEST}"},
        id="by md5",
    ),
    pytest.param(
        "hashlookup_readme_3.json",
        "sha1:fffffdac1b1b4c513896c805c2c698d9688be69f",
        {"md5:131312a96cad4acaa7e2631a34a0d47c", "filename:.rela.dyn"},
        id="by sha1",
    ),
    pytest.param(
        "hashlookup_readme_4.json",
        "md5:6e2f8616a01725dcb37bed0a2495aeb2",
        {"sha1:00000903319a8ce18a03dfa22c07c6ca43602061", "filename:network"},
        id="the first of several",
    ),
    pytest.param(
        "hashlookup_readme_4.json",
        "md5:344428fa4ba313712e4ca9b16d089ac4",
        {"sha1:0000001ffef4be312bab534eca7aeaa3e4684d85", "filename:.text._ZNSt14overflow_errorC1ERKSs"},
        id="the last of several",
    ),
    pytest.param(
        "hashlookup_readme_4.json", "md5:131312a96cad4acaa7e2631a34a0d47c", set(), id="none of several"
    ),
    pytest.param(
        "hashlookup_readme_5.json",
        "sha1:ffffff4db8282d002893a9baf00e9e9d4ba45e65",
        {"md5:559d049f44942683093a91ba19d0af54", "filename:s_copypix.c"},
        id="one of several by sha1",
    ),
    pytest.param(
        "hashlookup_readme_5.json",
        "sha1:fffffe4c92e3f7282c7502f1734b243fa52326fb",
        {"md5:9e4c165089cba3653484c3f23f1cbc67", "filename:358.git2-msvstfs.dll"},
        id="another by sha1",
    ),
    pytest.param(
        "hashlookup_readme_6.json",
        "sha1:732458574c63c3790cad093a36eadfb990d11ee6",
        {
            "sha1:0844d3cb657f353ab2ce1db164ce6bdffd2bb6fd",
            "sha1:1a092638422762239916983cbb72de7dda4ac55c",
            "sha1:1d4ab60c729a361d46a90d92defaca518b2918d2",
            "sha1:1e10ea9987c122605dbe27813c264d123cd7f06d",
            "sha1:1eae139bc814d30fd0a35ea65de7b900d8f9b32e",
            "sha1:209721eed90badedfc6492ba88b2be47c4fd227f",
            "sha1:2536d5629a9f4e70415c84d29832d78196e5dfca",
            "sha1:314d0c987794c04cc36ff72f96512cefe230c374",
            "sha1:36acb0da0279b63059d0cc5b85f3b157492fb00e",
            "sha1:423520ac1d58e3c4aa8834e70026db930d9b2052",
        },
        id="packages",
    ),
    pytest.param(
        "hashlookup_readme_7.json",
        "sha1:732458574c63c3790cad093a36eadfb990d11ee6",
        {
            "sha1:44f00a8980d93f7b4d0c2736bed583c936d60ac4",
            "sha1:4d81c1067049d8c804fe5fd2da507664830d1374",
            "sha1:5910b8b3b9ba9d9a78bc0f5851eef945a9031066",
            "sha1:59335138486480f9c28cde7e99c636c0a3d78c96",
            "sha1:5fc0da1534ebe056703a9a7f789bc4040c0576a0",
            "sha1:621b7639c3b4770ad4511b3477c0d26316c5bd7b",
            "sha1:64eb8e8fdf7a505f3adcaa651197a393ad33597e",
            "sha1:669c2474462a883edcc619f2ec8884f60dab1c32",
            "sha1:6d2134f4245236db19784b37dc8200a5aff6d98a",
            "sha1:6f824cc9ba2d6cb6839144d1b697143309d98805",
        },
        id="more packages",
    ),
    pytest.param(
        "polarity_details.json",
        HELLO,
        {
            "md5:5d41402abc4b2a76b9719d911017c592",
            "sha1:aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d",
            "filename:response.txt",
            *PACKAGES,
        },
        id="by sha256, in packages and with files inside",
    ),
    pytest.param(
        "polarity_details.json",
        "md5:5d41402abc4b2a76b9719d911017c592",
        {HELLO, "sha1:aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d", "filename:response.txt", *PACKAGES},
        id="the same by md5",
    ),
]
ADAPTERS = pytest.mark.parametrize("adapter", ["hashlookup", "nsrl"])


def body(shared: Path, name: str) -> str:
    return text(shared / "data" / "providers" / "nsrl" / name)


@ADAPTERS
def test_every_recorded_body_is_read(adapter: str, shared: Path) -> None:
    read = {
        name: pivots(adapter, ELSEWHERE, raw)
        for name, raw in bodies(shared, "nsrl")
        if name.endswith(".json") and name != "hashlookup_readme_8.json"  # that one is of another matter
    }

    assert len(read) >= 7
    assert sum(map(bool, read.values())) >= 5  # the others are lists, of which nothing is about it


@ADAPTERS
@pytest.mark.parametrize(("name", "sample", "expected"), EXPECTED)
def test_a_body_yields_what_it_says(
    adapter: str, shared: Path, name: str, sample: str, expected: set[str]
) -> None:
    assert found(adapter, sample, body(shared, name)) == expected


def test_a_message_is_no_answer(shared: Path) -> None:
    with pytest.raises(AnswerError, match="Session test created"):
        pivots("hashlookup", ELSEWHERE, body(shared, "hashlookup_readme_8.json"))


@ADAPTERS
@pytest.mark.parametrize(
    "raw",
    [
        "",
        "[]",
        "<html>",
        '{"SHA-1": "00',
        '"ok"',
        "null",
        "{}",
        '{"message": "Non existing MD5", "query": "0"}',
    ],
)
def test_what_is_no_answer_is_refused(adapter: str, raw: str) -> None:
    with pytest.raises(AnswerError):
        pivots(adapter, ELSEWHERE, raw)


def test_odd_types_are_skipped_and_the_rest_is_kept() -> None:
    raw = (
        '{"SHA-1": 5, "MD5": null, "SHA-256": "", "sha1": "AAF4C61DDCC5E8A2DABEDE0F3B482CD9AEA9434D",'
        ' "FileName": ["x"], "parents": [null, 3, {"SHA-1": {}}], "children": {"a": 1}}'
    )

    assert found("hashlookup", HELLO, raw) == {"sha1:aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d"}
    assert found("hashlookup", HELLO, '{"nsrl-version": "2026.03.1"}') == set()
    assert parse(HELLO).value
