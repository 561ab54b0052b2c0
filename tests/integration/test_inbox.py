"""Documents for people on their whole way: from a folder or a bucket, through the store, into the dataset."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from threatwalk.cli.reports import collect
from threatwalk.params import load
from threatwalk.settings import Settings
from threatwalk.stages import ingest

PARAMS = Path(__file__).parents[2] / "params.yaml"
MD5 = "d41d8cd98f00b204e9800998ecf8427e"
LINES = b"BT /F1 10 Tf 14 TL 20 780 Td (pdf[.]com) Tj T* (and 203.0.113.3) Tj ET"
PAPER = (
    b"%%PDF-1.4\n"
    b"1 0 obj <</Type /Catalog /Pages 2 0 R>> endobj\n"
    b"2 0 obj <</Type /Pages /Kids [3 0 R] /Count 1>> endobj\n"
    b"3 0 obj <</Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents 4 0 R"
    b" /Resources <</Font <</F1 5 0 R>>>>>> endobj\n"
    b"4 0 obj <</Length %d>> stream\n%s\nendstream endobj\n"
    b"5 0 obj <</Type /Font /Subtype /Type1 /BaseFont /Helvetica>> endobj\n"
    b"6 0 obj <</Title (A paper)>> endobj\n"
    b"trailer <</Root 1 0 R /Info 6 0 R /Size 7>>\nstartxref\n0\n%%%%EOF\n"
) % (len(LINES), LINES)
DOCUMENTS = {
    "2026-01-02 A loader/indicators/iocs.csv": f"type,value\ndomain,csv.com\nmd5,{MD5}\n".encode(),
    "2026-01-03-note.txt": b"A note (TLP:AMBER)\n\nhxxp://text[.]com/a 203.0.113.1",
    "page.html": b"<!doctype html><h1>A page</h1><p>html[.]com 203.0.113.2",
    "paper.pdf": PAPER,
    "notes.md": b"nothing to see",
    "README.md": b"readme[.]com beside[.]com",
    "tool.exe": b"MZ\x90\x00",
}


@pytest.fixture
def folder(tmp_path: Path) -> str:
    for name, data in DOCUMENTS.items():
        path = tmp_path / "inbox" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return str(tmp_path / "inbox")


@pytest.fixture
def bucket(s3: Any) -> str:
    s3.create_bucket(Bucket="inbox")
    for name, data in DOCUMENTS.items():
        s3.put_object(Bucket="inbox", Key=f"reports/{name}", Body=data)
    return "s3://inbox/reports"


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")  # of moto's server
@pytest.mark.parametrize("origin", ["folder", "bucket"])
def test_documents_for_people_come_into_the_dataset(
    origin: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = request.getfixturevalue(origin)
    text = PARAMS.read_text()
    start = text.index("feeds:\n")
    feed = f'feeds:\n  - {{name: inbox, form: folder, url: "{url}", tlp: green}}'
    params = tmp_path / "params.yaml"
    params.write_text(text[:start] + feed + text[text.index("\n\n", start) :])

    done = CliRunner().invoke(collect, ["--params", str(params)])

    assert done.exit_code == 0, done.output
    ingest.run(
        load(params), corpus=Settings.from_env().home, bundles=tmp_path / "bundles",
        reports=tmp_path / "reports.parquet", metrics=tmp_path / "metrics.json",
    )  # fmt: skip
    rows = pq.read_table(tmp_path / "reports.parquet").to_pylist()
    assert {(row["report"], row["title"], str(row["published"]), row["tlp"]) for row in rows} == {
        ("inbox/2026-01-02 A loader/indicators/iocs.csv", "2026-01-02 A loader", "2026-01-02", None),
        ("inbox/2026-01-03-note.txt", "A note (TLP:AMBER)", "2026-01-03", "amber"),
        ("inbox/page.html", "A page", "None", None),
        ("inbox/paper.pdf", "A paper", "None", None),
    }
    assert {row["value"] for row in rows} == {
        "csv.com", MD5, "http://text.com/a", "203.0.113.1", "html.com", "203.0.113.2", "pdf.com", "203.0.113.3",
    }  # fmt: skip
