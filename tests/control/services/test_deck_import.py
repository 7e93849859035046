"""Price lists as partners send them: taken whole, or refused whole with every bad row's line."""

import zipfile
from datetime import date, datetime
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control.services.deck_cells import moment_reader
from control.services.deck_import import ImportOptions, ImportReport, RowError, import_deck
from control.services.deck_sheets import cell_text
from rating.decks import Deck
from rating.money import format_amount
from rating.rows import RateRow


def load(
    folder: Path, content: str | bytes, options: ImportOptions | None = None
) -> tuple[ImportReport, list[RateRow]]:
    """The report, and the rows of the deck that was written."""
    source = folder / "rates.csv"
    source.write_bytes(content if isinstance(content, bytes) else content.encode())
    report = import_deck(source, folder / "deck", options)
    return report, list(Deck.open(folder / "deck").rows()) if report.written else []


def faults(report: ImportReport) -> list[tuple[int, str]]:
    return [(error.line, error.column) for error in report.errors]


def test_a_price_list_becomes_a_deck(tmp_path: Path) -> None:
    report, rows = load(
        tmp_path,
        "Code,Destination,Rate,Increments,Connect Fee,Effective Date,Comment\n"
        '44,"United Kingdom, fixed",0.0123,60/1,0.01,2026-01-31,x\n'
        "447,UK mobile,0.2,30/6,,,\n",
    )
    assert rows == [
        RateRow("44", "United Kingdom, fixed", 12_300_000, 60, 1, 10_000_000, 1_769_817_600_000),
        RateRow("447", "UK mobile", 200_000_000, 30, 6),
    ]
    assert (report.rows, report.prefixes, report.errors_total, report.written) == (2, 2, 0, True)
    assert report.columns["rate"] == "Rate"
    assert report.columns_ignored == ["Comment"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_all_usual_sorts_of_text_files_are_one(tmp_path: Path, delimiter: str, ending: str, encoding: str) -> None:
    lines = [["prefix", "name", "rate"], ["44", '"Köln, or; not|"', "0.01"], ["1", "NANP", "0.02"], []]
    text = ending.join(delimiter.join(line) for line in lines)
    report, rows = load(tmp_path, text.encode(encoding))
    assert [(row.prefix, row.name) for row in rows] == [("1", "NANP"), ("44", "Köln, or; not|")]
    assert report.delimiter == delimiter


@pytest.mark.parametrize(
    "header",
    [
        "PREFIX,DESCRIPTION,PRICE",
        "Dial Code,Country,Rate (USD/min)",
        "dialcode,Destination Name,Rate per minute",
        "code,breakout,cost",
    ],
)
def test_columns_are_found_by_their_usual_names(tmp_path: Path, header: str) -> None:
    assert [(row.prefix, row.name, row.rate_nanos) for row in load(tmp_path, f"{header}\n44,UK,0.5\n")[1]] == [
        ("44", "UK", 500_000_000)
    ]


def test_titles_above_the_header_and_blank_lines_are_passed_over(tmp_path: Path) -> None:
    report, rows = load(tmp_path, "Carrier Ltd,,\nPrices of May,,\n\ncode,name,rate\n44,UK,0.1\n,,\n\n1,US,x\n")
    assert faults(report) == [(8, "rate")]
    assert rows == []


def test_columns_can_be_named_or_counted(tmp_path: Path) -> None:
    text = "A,B,C,Price\n0.1,UK,44,9\n"
    _, named = load(tmp_path, text, ImportOptions(columns={"prefix": "c", "rate": "A", "name": "B"}))
    assert [(row.prefix, row.name, format_amount(row.rate_nanos)) for row in named] == [("44", "UK", "0.1")]
    _, counted = load(tmp_path, text, ImportOptions(columns={"prefix": 2, "rate": 0}))
    assert [(row.prefix, row.name, format_amount(row.rate_nanos)) for row in counted] == [("44", "", "0.1")]
    _, headless = load(tmp_path, "44,0.1\n45,0.2\n", ImportOptions(columns={"prefix": 0, "rate": 1}))
    assert [row.prefix for row in headless] == ["44", "45"]


@pytest.mark.parametrize(
    ("header", "columns", "line", "column"),
    [
        ("name,rate", {}, 0, ""),
        ("a,b", {}, 0, ""),
        ("code,rate,price", {}, 1, "rate"),
        ("code,rate,Rate", {}, 1, "rate"),
        ("code,rate", {"name": "title"}, 1, "name"),
        ("code,rate", {"nmae": "rate"}, 1, "nmae"),
        ("code,rate", {"prefix": 0, "rate": 7}, 1, "rate"),
    ],
)
def test_columns_that_cannot_be_told_are_a_question_not_a_guess(
    tmp_path: Path, header: str, columns: dict[str, str | int], line: int, column: str
) -> None:
    report, _ = load(tmp_path, f"{header}\n44,0.1,0.2\n", ImportOptions(columns=columns))
    assert faults(report) == [(line, column)]
    assert not report.written


@pytest.mark.parametrize(
    "rate",
    [
        *("NaN", "nan", "Infinity", "-inf", "1e5", "1E-5", "1e400", "0x1", "abc", "", " ", "-0.1", "-0", "0,1", "$0.1"),
        *("0.0000000001", "1_000", "１", "0.1 USD", "=1+1", "1" * 29, "5000000000"),
    ],
)
def test_a_price_that_is_no_price_refuses_the_file(tmp_path: Path, rate: str) -> None:
    report, _ = load(tmp_path, f'code,name,rate\n1,US,0.1\n44,UK,"{rate}"\n')
    assert faults(report) == [(3, "rate")]
    assert not report.written
    assert not (tmp_path / "deck.rates").exists()


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("code", "4a4"),
        ("code", "44 7"),
        ("code", "4" * 25),
        ("code", "0044"),
        ("code", "479-470"),
        ("code", "4.47E+11"),
        ("name", "a\x00b"),
        ("name", "x" * 201),
        ("increment", "6/0"),
        ("increment", "0"),
        ("increment", "1/2/3"),
        ("increment", "70000/1"),
        ("connect fee", "-1"),
        ("effective date", "31/01/2026"),
        ("effective date", "2026-02-30"),
        ("effective date", "1969-01-01"),
        ("status", "maybe"),
        ("grace", "1.5"),
        ("minimum", "-1"),
        ("max cost", "NaN"),
        ("tiers", "60:0.1"),
        ("tiers", "60=0.1;60=0.2"),
        ("windows", "mon 08:00-25:00=0.1"),
        ("windows", "mon 08:00-09:00=-0.1"),
        ("windows", "xyz 08:00-09:00=0.1"),
        ("windows", "mon-tue 08:00-10:00=0.1; tue 09:00-11:00=0.2"),
    ],
)
def test_a_bad_cell_is_named_by_line_and_column(tmp_path: Path, column: str, cell: str) -> None:
    cells = {"code": "44", "rate": "0.1", column: cell}
    report, _ = load(tmp_path, ",".join(cells) + "\n" + ",".join(f'"{value}"' for value in cells.values()) + "\n")
    fields = {"code": "prefix", "connect fee": "connect_fee", "effective date": "valid_from", "status": "blocked"}
    assert faults(report) == [(2, fields.get(column, column.replace(" ", "_")))]


def test_every_bad_row_is_reported_and_good_ones_with_them_are_refused(tmp_path: Path) -> None:
    old, _ = load(tmp_path, "code,rate\n1,0.5\n")
    report, _ = load(tmp_path, "code,rate,fee\n44,x\n\n45,0.1\n4a,-1\n46\n47,0.1,,9\n")
    assert old.written
    assert faults(report) == [(2, "rate"), (5, "rate"), (5, "prefix"), (6, "rate"), (7, "")]
    assert [row.prefix for row in Deck.open(tmp_path / "deck").rows()] == ["1"]


def test_the_report_lists_a_thousand_bad_rows_and_counts_all(tmp_path: Path) -> None:
    report, _ = load(tmp_path, "code,rate\n" + "x,1\n" * 1500)
    assert (len(report.errors), report.errors_total) == (1000, 1500)


def test_the_line_is_right_below_cells_with_line_ends_in_them(tmp_path: Path) -> None:
    report, _ = load(tmp_path, 'code,name,rate\r\n44,"a\r\nb",0.1\r\n45,c,x\r\n')
    assert faults(report) == [(4, "rate")]


def test_a_prefix_twice_names_both_lines(tmp_path: Path) -> None:
    report, _ = load(tmp_path, "code,rate\n44,0.1\n45,0.1\n\n+44,0.2\n")
    assert report.errors == [RowError(5, "prefix", "44 stands on line 2 already")]


def test_dates_that_overlap_name_both_lines_and_those_that_meet_do_not(tmp_path: Path) -> None:
    header = "code,rate,valid_from,valid_to\n"
    meeting = "44,0.1,2026-01-01,2026-02-01\n44,0.2,2026-02-01,\n"
    assert load(tmp_path, header + meeting)[0].rows == 2
    report, _ = load(tmp_path, header + "44,0.2,2026-01-31,\n44,0.1,2026-01-01,2026-02-01\n")
    assert report.errors == [RowError(3, "valid_from", "44 has dates that overlap those of line 2")]


def test_a_cell_may_list_prefixes_and_ranges(tmp_path: Path) -> None:
    _, rows = load(tmp_path, 'code,rate\n"4470-4472, +45; 461",0.1\n')
    assert [row.prefix for row in rows] == ["4470", "4471", "4472", "45", "461"]
    report, _ = load(tmp_path, "code,rate\n10000-99999,0.1\n")
    assert faults(report) == [(2, "prefix")]


def test_all_other_fields_are_read(tmp_path: Path) -> None:
    _, rows = load(
        tmp_path,
        "code;rate;first;next;status;minimum;grace;max_cost;valid to;tiers;windows\n"
        "44;0.1;30;6;Blocked;10;3;5;2026-02-01T12:00:00+01:00;;\n"
        "45;0.1;;;active;;;;;600=0.04 ; 60=0.05;fri-mon 22:00-06:00=0.02\n".replace(
            "600=0.04 ; 60=0.05", '"600=0.04 ; 60=0.05"'
        ),
        ImportOptions(first_s=60, next_s=60),
    )
    day = 1440
    assert rows == [
        RateRow(
            *("44", "", 100_000_000, 30, 6),
            valid_to_ms=1_769_943_600_000,
            is_blocked=True,
            minimum_s=10,
            grace_s=3,
            max_cost_nanos=5 * 10**9,
        ),
        RateRow(
            *("45", "", 100_000_000, 60, 60),
            tiers=((60, 50_000_000), (600, 40_000_000)),
            windows=(
                (0, 360, 20_000_000),
                (22 * 60, day + 360, 20_000_000),
                (4 * day + 22 * 60, 5 * day + 360, 20_000_000),
                (5 * day + 22 * 60, 6 * day + 360, 20_000_000),
                (6 * day + 22 * 60, 7 * day, 20_000_000),
            ),
        ),
    ]


def test_local_dates_and_decimal_commas_are_read_when_asked_for(tmp_path: Path) -> None:
    options = ImportOptions(decimal=",", date_format="%d.%m.%Y", time_zone="Europe/Berlin")
    _, rows = load(tmp_path, "code;rate;valid from\n49;0,0123;01.07.2026\n", options)
    assert (rows[0].rate_nanos, rows[0].valid_from_ms) == (12_300_000, 1_782_856_800_000)
    report, _ = load(tmp_path, "code;rate\n49;1.000,5\n", options)
    assert faults(report) == [(2, "rate")]
    with pytest.raises(ValueError, match="time zone"):
        load(tmp_path, "code,rate\n", ImportOptions(time_zone="Mars/Olympus"))


def test_a_dry_run_writes_nothing_and_says_the_same(tmp_path: Path) -> None:
    source = tmp_path / "rates.csv"
    source.write_text("code,rate\n44,0.1\n44,0.1\n")
    dry = import_deck(source, None)
    wet = import_deck(source, tmp_path / "deck")
    assert dry == wet
    source.write_text("code,rate\n44,0.1\n")
    assert not import_deck(source, None).written
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rates.csv"]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", 0),
        (b"\n\n", 0),
        (b"code,rate\n", 0),
        (b"code,rate\n44,0.1\n45,\xff\n", 3),
        ("code,rate\n44,0.1\n".encode("utf-16") + b"x", 3),
        (b'code,rate\n44,0.1\n45,"0.1\n46,0.1\n', 3),
        (b'code,rate\n44,"0.1"x\n', 2),
        (b"code,rate\n44," + b"1" * 200_000 + b"\n", 2),
        (b"PK\x03\x04 no spreadsheet", 1),
        (b"\x00" * 100, 0),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: bytes, line: int) -> None:
    report, _ = load(tmp_path, content)
    assert (report.errors[0].line, report.written) == (line, False)


def test_progress_runs_up_to_the_files_size(tmp_path: Path) -> None:
    source = tmp_path / "rates.csv"
    source.write_text("code,rate\n" + "".join(f"{prefix},0.1\n" for prefix in range(10_000, 40_000)))
    seen: list[tuple[int, int]] = []
    assert import_deck(source, None, None, lambda done, total: seen.append((done, total))).rows == 30_000
    assert len(seen) > 3
    assert seen == sorted(seen)
    assert seen[-1] == (source.stat().st_size, source.stat().st_size)


@settings(max_examples=150, deadline=None)
@given(
    st.binary(max_size=200)
    | st.text('0123456789,;"\n\r.-=x', max_size=120).map(lambda text: f"code,rate\n{text}".encode())
)
def test_any_bytes_end_in_a_report(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    report, rows = load(tmp_path_factory.mktemp("import"), content)
    assert report.written == (not report.errors)
    assert len(rows) == (report.rows if report.written else 0)


def write_spreadsheet(path: Path, rows: list[list[str | float]]) -> None:
    """The least XLSX that there is (ECMA-376): one sheet, cells in line."""
    cells = [
        "".join(
            f"<c><v>{cell!r}</v></c>"
            if isinstance(cell, float)
            else f'<c t="inlineStr"><is><t>{escape(cell)}</t></is></c>'
            for cell in row
        )
        for row in rows
    ]
    spreadsheet = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"><Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships">'
        f'<Relationship Id="r1" Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{spreadsheet}" xmlns:r="{office}"><sheets>'
        '<sheet name="Rates" sheetId="1" r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships">'
        f'<Relationship Id="r1" Type="{office}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{spreadsheet}"><sheetData>'
        + "".join(f"<row>{row}</row>" for row in cells)
        + "</sheetData></worksheet>",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name, '<?xml version="1.0" encoding="UTF-8"?>' + text)


def test_a_spreadsheets_own_cells_read_as_what_they_show() -> None:
    cells: list[object] = ["x", None, True, False, 44, 44.0, 0.1 + 0.2, 1e-05, 4.4770012345e11, -2.50]
    shown = ["x", "", "true", "false", "44", "44", "0.3", "0.00001", "447700123450", "-2.5"]
    assert [cell_text(cell) for cell in cells] == shown
    read = moment_reader("%d/%m/%Y", "UTC")
    days = [read(cell_text(date(2026, 1, 31))), read(cell_text(datetime(2026, 1, 31))), read("31/01/2026")]
    assert days == [1_769_817_600_000] * 3


def test_a_file_without_end_is_refused_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control.services.deck_import.ROWS_MAX", 2)
    report, _ = load(tmp_path, "code,rate\n44,1\n45,1\n46,1\n4x,1\n")
    assert report.errors == [RowError(4, "", "more than 2 rows")]


def test_a_spreadsheet_is_read_like_a_text_file(tmp_path: Path) -> None:
    source = tmp_path / "rates.xlsx"
    write_spreadsheet(source, [["Code", "Destination", "Rate"], [44.0, "UK", 0.1 + 0.2], ["+1", "US", 1e-05]])
    report = import_deck(source, tmp_path / "deck")
    rows = [(row.prefix, row.name, format_amount(row.rate_nanos)) for row in Deck.open(tmp_path / "deck").rows()]
    assert rows == [("1", "US", "0.00001"), ("44", "UK", "0.3")]
    assert report.delimiter == ""
    write_spreadsheet(source, [["Code", "Rate"], [44.0, 0.1], [45.0, -0.1], [44.0, 0.2]])
    assert faults(import_deck(source, None)) == [(3, "rate"), (4, "prefix")]
    assert faults(import_deck(source, None, ImportOptions(sheet="Other"))) == [(1, "")]
