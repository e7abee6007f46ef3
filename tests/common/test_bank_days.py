"""The days on which banks move euros: no weekend, no holiday of TARGET."""

import datetime as dt

from portal.common.bank_days import is_bank_day, next_bank_day


def test_the_days_on_which_banks_move_euros() -> None:
    closed = [
        dt.date(2026, 12, 25),
        dt.date(2027, 1, 1),
        dt.date(2027, 3, 26),
        dt.date(2027, 3, 29),
        dt.date(2028, 5, 1),
    ]
    assert not any(is_bank_day(date) for date in [*closed, dt.date(2026, 11, 21), dt.date(2026, 11, 22)])
    assert all(is_bank_day(dt.date(*day)) for day in ((2026, 11, 23), (2026, 7, 14), (2026, 11, 11), (2027, 5, 6)))
    assert next_bank_day(dt.date(2026, 12, 24)) == dt.date(2026, 12, 28)
    assert next_bank_day(dt.date(2027, 3, 25)) == dt.date(2027, 3, 30)
