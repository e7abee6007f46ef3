"""The table, in French."""

from collections.abc import Sequence

from portal.demo.bench.measures import Row

HEADINGS = (
    "Mesure",
    "SQL",
    "médiane ms",
    "p95 ms",
    "req/s à 1",
    "req/s à 4",
    "× réf.",
    "CPU ms",
    "ko gzip",
    "Objectifs",
)


def number(value: float | int | None, places: int = 1) -> str:
    if value is None:
        return ""
    return f"{value:.{places}f}".replace(".", ",")


def aims(row: Row) -> str:
    return " ; ".join(f"{'✓' if reached else '✗ MANQUÉ :'} {text}" for text, reached in row.aims).replace(".", ",")


def lines(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    reference = rows[0].median or 1.0
    return [
        (
            row.name + (f" : {row.text.replace('.', ',')}" if row.text else ""),
            number(row.queries, 0),
            number(row.median),
            number(row.p95),
            number(row.rate_alone),
            number(row.rate),
            number(row.median / reference if row.median else None),
            number(row.cpu),
            number(row.size),
            aims(row),
        )
        for row in rows
    ]


def table(rows: Sequence[Row]) -> str:
    """The rows under their headings, in columns; the first and the last to the left, figures to the right."""
    body = [HEADINGS, *lines(rows)]
    # A row that has only words may run over the figures' columns.
    widths = [max(len(line[index]) for line in body if index or line[2]) for index in range(len(HEADINGS))]
    texts = []
    for line in body:
        figures = [cell.rjust(width) for cell, width in zip(line[1:-1], widths[1:-1], strict=True)]
        start = "  ".join([line[0].ljust(widths[0]), *figures])
        if not line[2]:
            start = line[0].ljust(len(start))
        texts.append(f"{start}  {line[-1]}".rstrip())
    texts.insert(1, "-" * (sum(widths[:-1]) + 2 * (len(widths) - 2)))
    return "\n".join([*texts, *(f"\n{row.note}" for row in rows if row.note)])


def missed(rows: Sequence[Row]) -> list[str]:
    return [f"{row.name} : {text}" for row in rows for text, reached in row.aims if not reached]
