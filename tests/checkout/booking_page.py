"""What the tests of the booking page read from it, and the shop that they open."""

import datetime as dt
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from django.test import Client

from bookings.selection import monday_of
from portal.common.formats import today
from services.school_calendar import school_year
from tests.factories import (
    OpenDayFactory,
)
from tests.shop import Shop, open_shop

MaxQueries = Callable[[int], AbstractContextManager[Any]]
Browse = Callable[[Shop], Client]


def ticked(response: Any, name: str = "dates") -> set[str]:
    return set(re.findall(rf'name="{name}" value="([^"]+)"[^>]* checked', response.content.decode()))


def labels(response: Any) -> dict[str, str]:
    """What is read out of each day that can be ticked, by its value."""
    found = re.findall(r'name="(?:dates|days)" value="([^"]+)" aria-label="([^"]+)"', response.content.decode())
    return {value: label.replace("\u00a0", " ") for value, label in found}


def boxes(shop: Shop, *pairs: tuple[int, int]) -> list[str]:
    """The grid's values of (child, day), by their numbers in the shop."""
    return [f"{shop.children[child].pk}:{shop.days[day].date}" for child, day in pairs]


def monday_shop(*, weeks: int, children: int, **options: Any) -> Shop:
    """Days from a Monday on, each weekday but Wednesday, of an activity that a family may book; few weeks in one year."""
    shop = open_shop(days=0, children=children, **options)
    first = today() + dt.timedelta(days=35 - today().weekday())
    if school_year(first) != school_year(first + dt.timedelta(weeks=6)):
        first = monday_of(school_year(first + dt.timedelta(weeks=6))[0] + dt.timedelta(days=13))
    dates = [first + dt.timedelta(weeks=week, days=day) for week in range(weeks) for day in (0, 1, 3, 4)]
    shop.days = [OpenDayFactory(activity=shop.activity, date=date, capacity=100) for date in dates]
    return shop
