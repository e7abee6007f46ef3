"""From July on nothing is left of the school year, and families book the next one: the page must show it by itself."""

import datetime as dt
import re
from collections.abc import Callable

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from services.school_calendar import school_year
from tests.e2e import baskets, steps
from tests.e2e.baskets import PARENT
from tests.e2e.steps import Visitor


@pytest.mark.parametrize("month, day", [(7, 10), (8, 31)])
def test_in_summer_the_next_school_year_is_booked(
    visit: Callable[..., Visitor], monkeypatch: pytest.MonkeyPatch, month: int, day: int
) -> None:
    end = school_year(timezone.localdate())[1].year
    summer = dt.date(end, month, day)
    monkeypatch.setattr(timezone, "localdate", lambda *_moment: summer)
    who = visit(user=PARENT)
    who.open("/services/rosieres-accueil-de-loisirs/mercredis/")
    years = who.group("Date de réservation").place.get_by_role("button", name=re.compile(r"^\d{4}-\d{4}$"))
    expect(years).to_have_text([f"{end - 1}-{end}", f"{end}-{end + 1}"])
    expect(years.last).to_have_attribute("aria-current", "true")

    # The year that is over says so, and leads back.
    years.first.click()
    who.reads("Plus aucun jour de cette année scolaire ne peut être réservé.")
    expect(years.first).to_have_attribute("aria-current", "true")
    years.last.click()
    expect(years.last).to_have_attribute("aria-current", "true")

    who.choose(re.compile("^Matin 7 h 30"))
    who.tick(re.compile("^Louane Dupont"))
    dates = steps.tick_dates(who, 4, weekdays=(2,))
    assert all(date >= dt.date(end, 9, 1) for date in dates)
    steps.add_to_cart(who, 4, "31,60 €")
    assert baskets.orders().count() == 0
