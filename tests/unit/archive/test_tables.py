from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from threatwalk.archive import tables
from threatwalk.errors import DataError

HEAD = "filter,kind,value,found_kind,found_value"


def csv(folder: Path, *lines: str, name: str = "a.csv") -> Path:
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_csv_and_parquet_are_read_alike(tmp_path: Path) -> None:
    one, other = tmp_path / "csv", tmp_path / "parquet"
    one.mkdir()
    other.mkdir()
    lines = (f"{HEAD},asked_at,reference", "dns,domain,a.example,ipv4,192.0.2.1,2026-01-02T03:04:05.678901Z,r1",
             "dns,domain,b.example,,,,")  # fmt: skip
    table = tables.read_answers(csv(one, *lines))

    tables.write(table, other / "a.parquet")

    assert tables.read_answers(other).equals(table)
    assert table.schema.equals(tables.SCHEMA)
    assert table["asked_at"].to_pylist() == [datetime(2026, 1, 2, 3, 4, 5, 678901, UTC), None]
    assert table["found_kind"].to_pylist() == ["ipv4", None]
    assert table["first_seen"].null_count == 2


def test_files_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    csv(tmp_path, HEAD, "b,domain,a.example,,", name="2.csv")
    csv(tmp_path, HEAD, "a,domain,a.example,,", name="1.csv")
    (tmp_path / "notes.txt").write_text("not an answer")
    (tmp_path / ".hidden.csv").write_text("not an answer")

    assert tables.read_answers(tmp_path)["filter"].to_pylist() == ["a", "b"]


def test_a_folder_without_files_has_no_answers(tmp_path: Path) -> None:
    assert tables.read_answers(tmp_path).equals(tables.SCHEMA.empty_table())


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-01-02", datetime(2026, 1, 2, tzinfo=UTC)),
        ("2026-01-02T03:04:05", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02 03:04:05", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05+02:00", datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC)),
    ],
)
def test_times_without_a_zone_are_utc(tmp_path: Path, text: str, meant: datetime) -> None:
    csv(tmp_path, f"{HEAD},asked_at", f"dns,domain,a.example,,,{text}")

    assert tables.read_answers(tmp_path)["asked_at"].to_pylist() == [meant]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1_767_225_600_000_000_000], pa.timestamp("ns")),
        pa.array([1_767_225_600], pa.timestamp("s", tz="Asia/Tokyo")),
        pa.array(["2026-01-01"], pa.large_string()),
        pa.array(["2026-01-01"]).dictionary_encode(),
    ],
    ids=str,
)
def test_parquet_times_of_every_form_are_read(tmp_path: Path, column: pa.Array) -> None:
    text = {
        name: pa.array([value])
        for name, value in zip(HEAD.split(","), ("dns", "md5", "x", "", ""), strict=True)
    }
    pq.write_table(pa.table({**text, "asked_at": column}), tmp_path / "a.parquet")

    assert tables.read_answers(tmp_path)["asked_at"].to_pylist() == [datetime(2026, 1, 1, tzinfo=UTC)]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("dns,domain,a.example,bogus,x,", "line 3, column found_kind: 'bogus' is not one of md5"),
        ("dns,domain,a.example,ipv4,,", "line 3, column found_value: None is not given together"),
        ("dns,domain,a.example,,x,", "line 3, column found_value: 'x' is not given together"),
        ("dns,host,a.example,,,", "line 3, column kind: 'host' is not one of md5"),
        ("dns,domain,,ipv4,x,", "line 3, column value: None is not a value"),
        ("../dns,domain,a.example,,,", "line 3, column filter: '../dns' is not a filter's name"),
        (",domain,a.example,,,", "line 3, column filter: None is not a filter's name"),
        ("dns,domain,a.example,,,yesterday", "line 3, column asked_at: 'yesterday' is not an ISO 8601 time"),
        ("dns,domain,a.example", "Row #3: Expected 6 columns, got 3"),
        ("dns,domain,\udcff,,,", "invalid UTF8 data"),
    ],
)
def test_a_wrong_row_is_named_with_its_line_and_column(tmp_path: Path, line: str, said: str) -> None:
    text = f"{HEAD},asked_at\ndns,domain,good.example,,,\n{line}\n"
    (tmp_path / "a.csv").write_bytes(text.encode("utf-8", "surrogateescape"))

    with pytest.raises(DataError) as caught:
        tables.read_answers(tmp_path)

    assert "a.csv" in str(caught.value)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "cannot be read: Empty CSV file"),
        ("filter,kind\na,b\n", "lacks the column 'value'"),
        (f"{HEAD},fist_seen\n", "has an unknown column 'fist_seen'"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "a.csv").write_text(content)

    with pytest.raises(DataError, match=said):
        tables.read_answers(tmp_path)


def test_a_broken_parquet_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 no PAR1")

    with pytest.raises(DataError, match=r"a\.parquet cannot be read"):
        tables.read_answers(tmp_path)


def test_parts_are_the_same_rows_and_name_a_wrong_one_by_its_place_in_the_file(tmp_path: Path) -> None:
    lines = [f"dns,domain,a{i}.example,ipv4,192.0.2.1" for i in range(7)]
    table = tables.read_answers(csv(tmp_path, HEAD, *lines))
    (tmp_path / "parquet").mkdir()
    file = tmp_path / "parquet" / "answers.parquet"
    tables.write(table, file)

    parts = list(tables.each_part(file.parent, rows=3))

    assert [part.num_rows for part in parts] == [3, 3, 1]
    assert pa.concat_tables(parts).equals(table)
    wrong = table.set_column(1, "kind", pa.array([*["domain"] * 5, "colour", "domain"]))
    pq.write_table(wrong, file)
    with pytest.raises(DataError, match=r"row 5, column kind: 'colour'"):
        list(tables.each_part(file.parent, rows=3))


def test_a_folder_that_is_absent_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no folder"):
        tables.read_answers(tmp_path / "nowhere")


def test_equal_tables_are_equal_files(tmp_path: Path) -> None:
    table = tables.read_answers(csv(tmp_path, HEAD, "dns,domain,a.example,ipv4,192.0.2.1"))

    tables.write(table, tmp_path / "1.parquet")
    tables.write(table, tmp_path / "2.parquet")

    assert (tmp_path / "1.parquet").read_bytes() == (tmp_path / "2.parquet").read_bytes()
