"""The days on which banks move euros: neither weekends nor the closing days of TARGET, the system of the central banks."""

import datetime as dt

import holidays

# The European Central Bank's calendar, which every SEPA transfer follows whatever the country.
TARGET = "XECB"


def is_bank_day(date: dt.date) -> bool:
    """Whether a transfer can be carried out on this day."""
    return date.weekday() < 5 and date not in holidays.financial_holidays(TARGET, years=date.year)


def next_bank_day(date: dt.date) -> dt.date:
    """The first day after this one on which a transfer can be carried out."""
    date += dt.timedelta(days=1)
    while not is_bank_day(date):
        date += dt.timedelta(days=1)
    return date
