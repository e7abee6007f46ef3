"""A full day in a browser: its list, the place that comes free, one press into the cart; with JavaScript and without."""

import re
from collections.abc import Callable

import pytest
from django.db.models import F
from django.utils import timezone
from playwright.sync_api import expect

from accounts.reminders import reminders_key
from bookings.models import Booking
from bookings.waiting.models import WaitingListEntry
from checkout.actions import cancel_bookings
from portal.common.formats import long_date
from services.models import OpenDay
from tests.e2e import baskets
from tests.e2e.baskets import PARENT
from tests.e2e.steps import Visitor
from tests.e2e.watch import Looks

Visit = Callable[..., Visitor]
both_ways = pytest.mark.parametrize("javascript", [True, False], ids=["with JavaScript", "without"])
LISTS = "Mes listes d’attente"


def full_day() -> OpenDay:
    days = OpenDay.objects.filter(activity=baskets.mercredis(), taken=F("capacity"), taken__gt=0)
    return days.bookable(at=timezone.now()).order_by("date")[0]


def comes_free(day: OpenDay) -> None:
    booking = Booking.objects.booked().filter(open_day=day).order_by("pk")[0]
    cancel_bookings(ids=[booking.pk], by=booking.made_by)


@both_ways
def test_from_a_full_day_to_the_cart(visit: Visit, javascript: bool) -> None:
    WaitingListEntry.objects.all()._raw_delete("default")
    day = full_day()
    who = visit(user=PARENT, javascript=javascript, width=390)
    who.looks = Looks() if javascript else None
    who.open(baskets.mercredis().get_absolute_url())
    who.follow(re.compile(f"^{long_date(day.date)}, complet : s’inscrire sur la liste d’attente$"))
    who.on("Liste d’attente")
    who.reads("Les places vont d’abord aux habitants de la commune, puis dans l’ordre d’inscription.")
    who.press("M’inscrire sur la liste d’attente")
    who.reads("Choisissez un type de prestation.")
    who.choose(re.compile(r"^Matin \("))
    who.tick("Louane Dupont")
    who.press("M’inscrire sur la liste d’attente")
    who.on(LISTS)
    who.reads("1er de la liste : la prochaine place est pour vous".replace(" :", "\u00a0:"))
    comes_free(day)
    who.open("/mon-compte/listes-d-attente/")
    who.on(LISTS)
    who.reads("Une place vous est proposée")
    who.page.get_by_role("button", name=re.compile("^Mettre dans mon panier")).click()
    who.on("Mon panier")
    who.reads("La place est dans votre panier")
    assert Booking.objects.held().get(open_day=day).made_by.email == PARENT
    if who.looks is not None:
        who.looks.assert_fine()


@both_ways
def test_declining_and_leaving_are_asked_first(visit: Visit, javascript: bool) -> None:
    day = full_day()
    comes_free(day)  # the demonstration's Louane waits for it
    who = visit(user=PARENT, javascript=javascript)
    who.looks = Looks() if javascript else None
    entry = WaitingListEntry.objects.offered().get()
    who.open(f"/mon-compte/listes-d-attente/{entry.party}/")
    who.on("Une place vous est proposée")
    who.follow(re.compile("^La laisser"))
    who.on(re.compile("^Ne plus attendre cette place"))
    who.press("Ne plus attendre")
    who.on(LISTS)
    who.reads("Vous n’attendez plus cette place.")
    expect(who.page.get_by_role("button", name=re.compile("^Mettre dans mon panier"))).to_have_count(0)
    who.open(f"/rappels/{reminders_key(baskets.parent())}/")
    who.on(re.compile("^Ne plus recevoir les rappels"))
    who.press("Ne plus recevoir les rappels")
    who.on("Vous ne recevez plus de rappels")
    if who.looks is not None:
        who.looks.assert_fine()
