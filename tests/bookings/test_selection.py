"""What the quick choices of the booking page tick, without a page."""

import datetime as dt

import pytest

from bookings.actions import Wish
from bookings.selection import LastWeek, Pick, Selection, monday_of

DECEMBER = [dt.date(2026, 12, number) for number in range(1, 32)]
MONDAY = dt.date(2026, 12, 7)


def dates(*numbers: int) -> set[dt.date]:
    return {dt.date(2026, 12, number) for number in numbers}


class TestPick:
    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("3", {2, 9, 16, 23, 30}),
            ("2026-12:3", {2, 9, 16, 23, 30}),
            ("2027-01:3", set()),
            ("2026-12-07:1234567", {7, 8, 9, 10, 11, 12, 13}),
            ("2026-12-07:25", {8, 11}),
        ],
    )
    def test_dates(self, text: str, found: set[int]) -> None:
        pick = Pick.read(text)
        assert pick is not None and pick.dates(DECEMBER) == dates(*found)

    def test_one_person(self) -> None:
        assert Pick.read("2026-12:1234567/15") == Pick(frozenset(range(1, 8)), "2026-12", 15)

    @pytest.mark.parametrize(
        "text",
        ["", "²", "8", "0", "2026-12:" + "9" * 5000, "2026-12-32:1", "2026-13-01:1", "x:1", "1/", "1/" + "9" * 30],
    )
    def test_what_is_no_quick_choice(self, text: str) -> None:
        assert Pick.read(text) is None


class TestSelection:
    def test_a_second_press_takes_back_what_was_all_ticked(self) -> None:
        selection = Selection(dates=dates(1))
        selection.toggle_dates(dates(1, 2))
        assert selection.dates == dates(1, 2)
        selection.toggle_dates(dates(1, 2))
        assert not selection.dates
        selection.toggle_dates(set())
        assert not selection.dates

    def test_to_the_grid_and_back(self) -> None:
        selection = Selection(people={1, 2}, dates=dates(1, 2))
        selection.to_grid([1, 2, 3])
        assert selection.days == {Wish(person, date) for person in (1, 2) for date in dates(1, 2)}
        assert selection.to_calendar(left_out=[])
        assert (selection.people, selection.dates, selection.by_person) == ({1, 2}, dates(1, 2), False)

    def test_dates_ticked_for_nobody_yet_are_ticked_for_all_in_the_grid(self) -> None:
        selection = Selection(dates=dates(1))
        selection.to_grid([1, 2])
        assert {wish.beneficiary_id for wish in selection.days} == {1, 2}

    def test_days_that_differ_stay_in_the_grid(self) -> None:
        days = {Wish(1, dt.date(2026, 12, 1)), Wish(1, dt.date(2026, 12, 2)), Wish(2, dt.date(2026, 12, 1))}
        selection = Selection(days=days, by_person=True)
        assert not selection.to_calendar(left_out=[])
        assert selection.by_person and selection.days == days
        # What the other could not have anyway makes no difference.
        assert selection.to_calendar(left_out=[Wish(2, dt.date(2026, 12, 2))])
        assert selection.dates == dates(1, 2)


def test_the_week_before_is_repeated_day_by_day() -> None:
    past = LastWeek(MONDAY, 3, {1: frozenset({1, 4}), 2: frozenset({2})})
    found = past.wishes([MONDAY + dt.timedelta(weeks=1), MONDAY + dt.timedelta(weeks=3)])
    assert found == sorted(
        Wish(person, dt.date(2026, 12, number) if number < 32 else dt.date(2027, 1, number - 31))
        for person, number in ((1, 14), (1, 17), (2, 15), (1, 28), (1, 31), (2, 29))
    )


@pytest.mark.parametrize("number", range(7, 14))
def test_monday_of(number: int) -> None:
    assert monday_of(dt.date(2026, 12, number)) == MONDAY
