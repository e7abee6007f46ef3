"""Tables as files that a spreadsheet opens: CSV as French spreadsheets read it, and XLSX. No cell is ever a formula."""

import csv
import datetime as dt
import io
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal

import xlsxwriter
from django.http import HttpResponse

Cell = str | int | Decimal | dt.date | dt.time | None

# Written as the format's rules want it, in American: each reader sees the separators of their own language.
EUROS = '#,##0.00"\u00a0€"'
NOT_IN_A_SHEETS_NAME = str.maketrans(dict.fromkeys("[]:*?/\\'", "-"))

LONGEST_SHEETS_NAME = 31
DATE = re.compile(r"(?<!\d)\d{4}-\d\d(?:-\d\d)?(?!\d)")

# A text that begins so is computed by a spreadsheet: a name typed by anybody must not be.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def as_csv(name: str, heads: Sequence[str], rows: Iterable[Sequence[Cell]]) -> HttpResponse:
    """`name`.csv to be downloaded: UTF-8 with its mark, semicolons, decimal commas."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=";", lineterminator="\r\n")
    writer.writerow([_plain(head) for head in heads])
    writer.writerows([_plain(cell) for cell in row] for row in rows)
    return _download(f"{name}.csv", "text/csv; charset=utf-8", b"\xef\xbb\xbf" + text.getvalue().encode())


def as_xlsx(name: str, heads: Sequence[str], rows: Iterable[Sequence[Cell]]) -> HttpResponse:
    """`name`.xlsx to be downloaded: one sheet of that name, its head frozen, amounts, dates and hours as such."""
    file = io.BytesIO()
    book = xlsxwriter.Workbook(
        file, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    )
    sheet = book.add_worksheet(_sheet_name(name))
    bold, money = book.add_format({"bold": True}), book.add_format({"num_format": EUROS})
    day, hour = book.add_format({"num_format": "dd/mm/yyyy"}), book.add_format({"num_format": "hh:mm:ss"})
    widths = [len(head) for head in heads]
    sheet.write_row(0, 0, heads, bold)
    for number, row in enumerate(rows, start=1):
        for column, cell in enumerate(row):
            match cell:
                case Decimal():
                    sheet.write_number(number, column, float(cell), money)
                case dt.date():
                    sheet.write_datetime(number, column, dt.datetime.combine(cell, dt.time()), day)
                case dt.time():
                    sheet.write_datetime(number, column, cell, hour)
                case int():
                    sheet.write_number(number, column, cell)
                case str():
                    sheet.write_string(number, column, cell)
            widths[column] = min(max(widths[column], len(str(cell or "")) + 2), 60)
    for column, width in enumerate(widths):
        sheet.set_column(column, column, max(width, 10))
    sheet.freeze_panes(1, 0)
    book.close()
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    return _download(f"{name}.xlsx", kind, file.getvalue())


def _sheet_name(name: str) -> str:
    """The file's name as far as a sheet's may go: a date that does not fit is left out, half of one says another day."""
    end = LONGEST_SHEETS_NAME
    if cut := next((date for date in DATE.finditer(name) if date.start() < end < date.end()), None):
        end = cut.start()
    return name.translate(NOT_IN_A_SHEETS_NAME)[:end].rstrip("- ")


FORMATS = {"csv": as_csv, "xlsx": as_xlsx}


def _plain(cell: Cell) -> str:
    match cell:
        case None:
            return ""
        case Decimal():
            return f"{cell:.2f}".replace(".", ",")
        case dt.date():
            return f"{cell:%d/%m/%Y}"
        case dt.time():
            return f"{cell:%H:%M:%S}"
        case int():
            return str(cell)
    return f"'{cell}" if cell.startswith(FORMULA) else cell


def _download(name: str, kind: str, content: bytes) -> HttpResponse:
    return HttpResponse(content, content_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'})
