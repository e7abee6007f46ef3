"""The booking page: what each day says, what it costs."""

import datetime as dt
import gzip
import html
import re
from decimal import Decimal
from typing import Any

import pytest
from django.db.backends.postgresql.psycopg_any import DateRange
from django.utils import timezone
from psycopg.types.range import TimestamptzRange

from bookings.models import Booking, Hold
from checkout.actions import Means
from checkout.models import CartLine
from families.models import Filiation
from portal.common.formats import NBSP, PARIS, day, moment, today
from services.models import Activity, ActivityPeriod, OpenDay, SchoolHoliday, TariffGrid
from services.school_calendar import school_year
from tests.checkout.booking_page import Browse, MaxQueries, boxes, labels, monday_shop, ticked
from tests.checkout.http import form, page, text
from tests.checkout.test_prices import RANKS, ages, banded
from tests.factories import (
    DeadlineFactory,
    OpenDayFactory,
    SlotFactory,
    SubscriptionFactory,
    TariffFactory,
    only_open,
)
from tests.shop import Shop, family, open_shop
from tests.waiting import full_shop, neighbour, wait

pytestmark = pytest.mark.django_db


class TestWhatADaySays:
    def test_by_whom_it_is_booked(self, browse: Browse) -> None:
        """The other parent by the first name alone."""
        shop = monday_shop(weeks=1, children=2)
        other = family(shop.tariff)
        other.user.first_name, other.user.last_name = "Julien", "Mercier"
        other.user.save()
        Filiation.objects.create(user=other.user, beneficiary=shop.children[0], kind="FATHER")
        other.add(days=[shop.days[0]], children=[shop.children[0]])
        response = browse(shop).get(page(shop))
        name = shop.children[0].first_name
        assert f"dans le panier : {name} (par Julien)" in labels(response)[str(shop.days[0].date)]
        assert "Mercier" not in text(response)

    def test_few_places_are_shown(self, browse: Browse) -> None:
        shop = monday_shop(weeks=1, children=1)
        OpenDay.objects.filter(pk=shop.days[1].pk).update(capacity=3)
        response = browse(shop).get(page(shop))
        assert labels(response)[str(shop.days[1].date)].endswith(", 3 places libres")
        assert "<u>3 pl.</u>" in response.content.decode() and "dernières places" in text(response)

    def test_a_price_that_is_not_the_others_is_shown(self, browse: Browse) -> None:
        shop = monday_shop(weeks=2, children=1)
        turn = shop.days[4].date
        grid = shop.tariff.grid
        TariffGrid.objects.filter(pk=grid.pk).update(valid=DateRange(grid.valid.lower, turn, "[)"))
        TariffFactory(
            slot=shop.slot,
            profile=shop.tariff.profile,
            price=Decimal("8.10"),
            grid__valid=DateRange(turn, grid.valid.upper, "[)"),
        )
        response = browse(shop).get(page(shop))
        said = labels(response)
        assert "8,10 €" in said[str(turn)] and "€" not in said[str(shop.days[0].date)]
        assert "<em>8,10\u00a0€</em>" in response.content.decode()
        # The total adds each day's own price.
        assert "32,20 €" in text(
            browse(shop).post(
                page(shop),
                form(shop, dates=[str(shop.days[0].date), *(str(d.date) for d in shop.days[4:7])]) | {"pick": "show"},
            )
        )

    def test_a_slot_that_is_still_free_can_be_booked_beside_the_other(self, browse: Browse) -> None:
        """Garderie: the morning is booked, the evening of the same day is not."""
        shop = monday_shop(weeks=1, children=1)
        evening = SlotFactory(activity=shop.activity, name="Soir", starts_at=dt.time(16, 30), ends_at=dt.time(18, 30))
        TariffFactory(slot=evening, profile=shop.tariff.profile, price=Decimal("2.00"))
        shop.add(days=[shop.days[0]])
        client = browse(shop)
        response = client.get(page(shop))
        day = str(shop.days[0].date)
        assert f"dans le panier : {shop.children[0].first_name}, {shop.slot.name}" in labels(response)[day]
        shown = client.post(page(shop), form(shop, slot=evening.pk, dates=[day], pick="show"))
        assert "Quantité 1 Total 2,00 €" in text(shown)
        assert client.post(page(shop), form(shop, slot=evening.pk, dates=[day]))["Location"] == "/panier/"
        # With both, nothing is left to book that day.
        assert day not in labels(client.get(page(shop)))

    def test_overlapping_slots_exclude_each_other(self, browse: Browse) -> None:
        shop = monday_shop(weeks=1, children=1)
        whole = SlotFactory(activity=shop.activity, name="Journée", starts_at=dt.time(8), ends_at=dt.time(17))
        TariffFactory(slot=whole, profile=shop.tariff.profile)
        shop.add(days=[shop.days[0]])
        assert str(shop.days[0].date) not in labels(browse(shop).get(page(shop)))
        Activity.objects.filter(pk=shop.activity.pk).update(may_overlap=True)
        assert str(shop.days[0].date) in labels(browse(shop).get(page(shop)))

    def test_not_yet_open(self, browse: Browse) -> None:
        shop = monday_shop(weeks=1, children=2)
        OpenDay.objects.update(book_from=timezone.now() + dt.timedelta(days=3))
        for view in ("", "grille"):
            response = browse(shop).get(page(shop), {"vue": view})
            assert "réservable à partir du" in text(response) and not labels(response)


def squares(response: Any) -> dict[str, str]:
    """The squares that cannot be ticked, by kind: their words, without the tags."""
    found: dict[str, str] = {}
    for kind, inner in re.findall(r'<td class="([a-z]) ?w?">(.*?)</td>', response.content.decode(), re.S):
        words = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", inner)).split())
        found[kind] = f"{found[kind]} | {words}" if kind in found else words
    return found


class TestTakenDays:
    def test_the_cart_is_not_a_booking(self, browse: Browse) -> None:
        """A parent who closes the browser knows that nothing is booked yet."""
        shop = monday_shop(weeks=1, children=1, credit="50")
        shop.add(days=shop.days[:1])
        shop.pay(Means.WALLET, "7.90")
        shop.add(days=shop.days[1:])
        client = browse(shop)
        for view in ("", "grille"):
            response = client.get(page(shop), {"vue": view})
            found, name = squares(response), shop.children[0].first_name
            assert found["m"].endswith(f"déjà réservé : {name}")
            assert found["h"].count("panier dans le panier") == 3
            words = text(response)
            assert "3 places sont dans votre panier, pas encore réservées" in words
            assert "Il ne reste aucun autre jour à choisir." in words and "Plus aucun jour" not in words
            assert "dans le panier, pas encore réservé" in words  # the legend

    def test_who_waits_sees_it_and_goes_to_the_lists(self, browse: Browse) -> None:
        shop = full_shop(days=2)
        who = neighbour(shop, children=2)
        wait(neighbour(shop), days=shop.days[:1])
        wait(who, days=shop.days[:1], children=who.children[:1])
        client = browse(who)
        response = client.get(page(shop))
        name = who.children[0].first_name
        assert squares(response)["q"].endswith(f"attente en attente : {name} (2e)")
        assert squares(response)["f"].endswith("complet")
        assert 'class="q w"><a href="/mon-compte/listes-d-attente/"' in response.content.decode()
        assert "en attente d’une place" in text(response)
        # In the grid the other child can still join.
        grid = client.get(page(shop), {"vue": "grille"})
        assert squares(grid)["q"] == "attente en attente (2e)"
        joins = re.findall(r"liste-d-attente/\?dates=[-\d]+&amp;people=(\d+)", grid.content.decode())
        first, second = (str(child.pk) for child in who.children)
        assert sorted(joins) == sorted([second, first, second])

    def test_a_full_day_without_a_list_promises_none(self, browse: Browse) -> None:
        shop = monday_shop(weeks=1, children=1)
        Activity.objects.update(waiting_list=False)
        assert "ouvre sa liste d’attente" not in text(browse(shop).get(page(shop)))

    def test_no_sum_stands_there_before_one_was_counted(self, browse: Browse) -> None:
        """Without JavaScript days are ticked and nothing follows: « 0,00 € » would read as free."""
        shop = monday_shop(weeks=2, children=1)
        client = browse(shop)
        first = client.get(page(shop)).content.decode()
        assert "<dl data-total hidden>" in first and "Total à l’étape suivante" in first
        asked = form(shop) | {"pick": "show"}
        counted = client.post(page(shop), asked).content.decode()
        assert "<dl data-total>" in counted and "Total à l’étape suivante" not in counted

    def test_the_months_that_are_over_say_what_was_booked(self, browse: Browse) -> None:
        shop = monday_shop(weeks=1, children=1)
        shop.days = [OpenDayFactory(activity=shop.activity, date=today() + dt.timedelta(days=1))]
        client = browse(shop)
        begins = school_year(today())[0] < today().replace(day=1)  # in September there is none
        assert bool(re.search(r"\d : mois passés? ", text(client.get(page(shop))))) is begins
        if not begins:
            return
        booked(shop, school_year(today())[0] + dt.timedelta(days=3))
        response = client.get(page(shop))
        assert "1 jour réservé" in text(response) and f"déjà réservé : {shop.children[0].first_name}" in text(response)
        assert "1 jour réservé" in text(client.get(page(shop), {"vue": "grille"}))
        following = client.get(page(shop), {"annee": school_year(today())[0].year + 1})
        assert "réservé" not in text(following).partition("fermé")[2]

    @pytest.mark.parametrize("view", ["", "grille"])
    def test_months_without_an_open_day_are_one_line(self, browse: Browse, view: str) -> None:
        shop = monday_shop(weeks=0, children=1)
        year = school_year(today())[0].year + 1
        for date in (dt.date(year, 10, 12), dt.date(year + 1, 2, 8), dt.date(year + 1, 3, 1)):
            OpenDayFactory(activity=shop.activity, date=date)
        response = browse(shop).get(page(shop), {"annee": year, "vue": view})
        words = text(response)
        assert f"Septembre {year} : aucun jour ouvert Octobre {year}" in words
        assert f"De novembre {year} à janvier {year + 1} : aucun jour ouvert Février {year + 1}" in words
        assert f"D’avril à août {year + 1} : aucun jour ouvert" in words
        assert words.count("aucun jour ouvert") == 3 and response.content.decode().count("<caption><h3>") == 3

    @pytest.mark.parametrize("view", ["", "grille"])
    def test_a_month_of_closed_days_alone_has_no_open_day(self, browse: Browse, view: str) -> None:
        shop = monday_shop(weeks=0, children=1)
        year = school_year(today())[0].year + 1
        for date in (dt.date(year, 10, 12), dt.date(year + 1, 2, 8)):
            OpenDayFactory(activity=shop.activity, date=date)
        for number in range(1, 29):
            date = dt.date(year, 12, number)
            OpenDayFactory(activity=shop.activity, date=date, is_open=False, closed_reason="Fermé")
        response = browse(shop).get(page(shop), {"annee": year, "vue": view})
        assert f"De novembre {year} à janvier {year + 1} : aucun jour ouvert Février {year + 1}" in text(response)
        assert response.content.decode().count("<caption><h3>") == 2

    def test_up_to_when_each_day_can_be_booked_and_cancelled(self, browse: Browse) -> None:
        shop = monday_shop(weeks=1, children=2)
        moment = dt.datetime.combine(shop.days[0].date - dt.timedelta(days=4), dt.time(10), tzinfo=PARIS)
        OpenDay.objects.filter(pk__in=[row.pk for row in shop.days[:2]]).update(
            book_until=moment, cancel_until=moment + dt.timedelta(hours=2)
        )
        client = browse(shop)
        for view in ("", "grille"):
            words = text(client.get(page(shop), {"vue": view}))
            monday, tuesday = (
                f"{short}. {row.date.day}" for short, row in zip(("lun", "mar"), shop.days, strict=False)
            )
            limit = f"{formats_day(moment)} à 10 h, annuler jusqu’au {formats_day(moment)} à 12 h"
            if shop.days[0].date.month == shop.days[1].date.month:
                assert f"{monday} et {tuesday} : réserver jusqu’au {limit}" in words

    def test_a_day_that_can_no_longer_be_cancelled_says_so(self, browse: Browse) -> None:
        shop = monday_shop(weeks=1, children=1)
        OpenDay.objects.update(cancel_until=timezone.now() - dt.timedelta(days=1))
        assert "ne s’annule plus" in text(browse(shop).get(page(shop)))

    def test_before_the_activity_opens_nothing_can_be_ticked(self, browse: Browse) -> None:
        shop = monday_shop(weeks=1, children=1)
        Activity.objects.update(booking_opens_on=today() + dt.timedelta(days=5))
        response = browse(shop).get(page(shop))
        assert not labels(response) and "réservable à partir du" in text(response)


def formats_day(moment: dt.datetime) -> str:
    return day(moment.date()).replace(NBSP, " ")


def booked(shop: Shop, date: dt.date) -> Booking:
    """The first child had a place on a date that is over."""
    hold = Hold.objects.create(user=shop.user, expires_at=timezone.now())
    hours = (dt.datetime.combine(date, at, tzinfo=PARIS) for at in (shop.slot.starts_at, shop.slot.ends_at))
    return Booking.objects.create(
        beneficiary=shop.children[0],
        open_day=OpenDayFactory(activity=shop.activity, date=date),
        slot=shop.slot,
        hold=hold,
        made_by=shop.user,
        period=TimestamptzRange(*hours),
        status=Booking.Status.BOOKED,
        booked_at=timezone.now(),
    )


class TestPrices:
    def test_dates_ticked_for_all_leave_out_who_may_not_come(self, browse: Browse) -> None:
        """What the page never counted is not refused: « Toute l’année » for two children, one of them too young at first."""
        shop = monday_shop(weeks=1, children=2)
        Activity.objects.filter(pk=shop.activity.pk).update(min_age=6)
        young = shop.children[1]
        young.birth_date = shop.days[2].date.replace(year=shop.days[2].date.year - 6)
        young.save()
        client = browse(shop)
        assert labels(client.get(page(shop)))[str(shop.days[0].date)].endswith(f", pas pour {young.first_name}")
        response = client.post(page(shop), form(shop), follow=True)
        assert CartLine.objects.count() == 6
        assert f"2 jours laissés de côté pour {young.first_name}. Le premier : {young.first_name} aura 5 ans" in text(
            response
        )
        # Asked for by name, or alone, it is refused as ever.
        sent = {"slot": shop.slot.pk, "vue": "grille", "days": boxes(shop, (1, 0))}
        assert "aura 5 ans" in text(client.post(page(shop), sent))
        alone = form(shop, people=[young.pk], dates=[str(shop.days[0].date)])
        assert client.post(page(shop), alone).status_code == 409

    def test_enter_in_the_name_of_a_list_saves_the_list(self, browse: Browse) -> None:
        """The browser presses the form's first button."""
        shop = monday_shop(weeks=1, children=1)
        client = browse(shop)
        response = client.post(page(shop), form(shop) | {"enter": "1", "liste_nom": "Semaine"})
        assert "La liste « Semaine » est enregistrée." in text(response) and not CartLine.objects.exists()
        assert client.post(page(shop), form(shop) | {"enter": "1"})["Location"] == "/panier/"

    def test_a_situation_without_a_fare_offers_nothing(self, browse: Browse) -> None:
        shop = monday_shop(weeks=1, children=1)
        grid = shop.tariff.grid
        TariffGrid.objects.filter(pk=grid.pk).update(valid=DateRange(grid.valid.lower, today(), "[)"))
        words = text(browse(shop).get(page(shop)))
        assert "Aucun tarif n’est fixé pour votre situation" in words and "Toute l’année" not in words

    def test_the_second_child_present_costs_less(self, browse: Browse) -> None:
        """The total is that of the cart: each day the ranks of those who come."""
        shop = banded(monday_shop(weeks=1, children=2), "present", rank=RANKS)
        ages(shop)
        sent = {"slot": shop.slot.pk, "vue": "grille", "days": boxes(shop, (0, 0), (1, 0), (1, 1))}
        client = browse(shop)
        words = text(client.post(page(shop), sent | {"pick": "show"}))
        first, second = (child.first_name for child in shop.children)
        assert f"{first} 1 · 1,90 €" in words and f"{second} 2 · 3,20 €" in words and "Total 5,10 €" in words
        shown = client.get(page(shop))
        assert f"{second} Dupont ( 1,90 € )" in text(shown)
        assert f"1,30 € les jours où {first} vient aussi" in text(shown)
        client.post(page(shop), sent)
        assert sum(CartLine.objects.values_list("unit_price", flat=True)) == Decimal("5.10")

    def test_a_late_day_says_its_price(self, browse: Browse) -> None:
        shop = monday_shop(weeks=1, children=1)
        last = DeadlineFactory(name="Le jour même", offset=0)
        rule = DeadlineFactory(name="Avec retard", late=last, surcharge="added", surcharge_amount=Decimal("1.00"))
        Activity.objects.filter(pk=shop.activity.pk).update(booking_deadline=rule)
        now = timezone.now()
        OpenDay.objects.filter(pk=shop.days[0].pk).update(
            book_until=now - dt.timedelta(hours=1), late_until=now + dt.timedelta(hours=1)
        )
        client = browse(shop)
        response = client.get(page(shop))
        late = str(shop.days[0].date)
        assert labels(response)[late].endswith("8,90 €, réservation tardive")
        assert "7,90 €" in text(response)  # what stands beside the slot is the price in time
        shown = client.post(page(shop), form(shop, dates=[late, str(shop.days[1].date)], pick="show"))
        assert "Total 16,80 €" in text(shown)

    def test_a_child_who_is_too_young_from_some_day_on(self, browse: Browse) -> None:
        shop = monday_shop(weeks=1, children=2)
        Activity.objects.filter(pk=shop.activity.pk).update(min_age=6)
        young = shop.children[1]
        young.birth_date = shop.days[2].date.replace(year=shop.days[2].date.year - 6)
        young.save()
        client = browse(shop)
        response = client.get(page(shop), {"vue": "grille"})
        offered = {value for value in labels(response) if value.startswith(f"{young.pk}:")}
        assert offered == set(boxes(shop, (1, 2), (1, 3)))
        pressed = client.post(page(shop), {"slot": shop.slot.pk, "vue": "grille", "pick": "1234567"})
        assert len(ticked(pressed, "days")) == 6


def test_a_day_that_can_be_ticked_for_another_child_tells_what_waits_in_the_cart(browse: Browse) -> None:
    shop = monday_shop(weeks=1, children=2)
    client = browse(shop)
    assert "pas encore réservé" not in text(client.get(page(shop)))
    shop.add(days=shop.days[:1], children=shop.children[:1])
    for view in ("calendrier", "grille"):
        response = client.get(page(shop), {"vue": view})
        assert "dans le panier, pas encore réservé" in text(response)
        assert response.content.decode().count("<em>panier</em>") == 1


def test_few_places_of_a_slot_are_shown_like_those_of_a_day(browse: Browse) -> None:
    shop = monday_shop(weeks=1, children=1)
    first = str(shop.days[0].date)
    type(shop.slot).objects.filter(pk=shop.slot.pk).update(capacity=2)
    response = browse(shop).get(page(shop))
    assert "2 places libres" in labels(response)[first] and "<u>2 pl.</u>" in response.content.decode()
    other = SlotFactory(activity=shop.activity, name="Journée")
    TariffFactory(slot=other, profile=shop.tariff.profile)
    response = browse(shop).get(page(shop))
    assert f"2 places libres pour {shop.slot}" in labels(response)[first] and "<u>" not in response.content.decode()


@pytest.mark.parametrize("view", ["calendrier", "grille"])
def test_a_day_that_is_not_open_yet_is_told_from_a_closed_one(browse: Browse, view: str) -> None:
    shop = monday_shop(weeks=1, children=2)
    client = browse(shop)
    assert "pas encore ouvert" not in text(client.get(page(shop), {"vue": view}))
    opens = timezone.now() + dt.timedelta(days=3)
    OpenDay.objects.filter(pk=shop.days[0].pk).update(book_from=opens)
    told = text(client.get(page(shop), {"vue": view}))
    assert "pas encore ouvert à la réservation" in told
    assert f"réservable à partir du {moment(opens)}".replace("\u00a0", " ") in told.replace("\u00a0", " ")


class TestCost:
    @pytest.mark.parametrize("view", ["", "grille"])
    @pytest.mark.parametrize("weeks, children, slots", [(1, 1, 1), (36, 6, 4)])
    def test_a_year_with_six_children(
        self, browse: Browse, at_most: MaxQueries, weeks: int, children: int, slots: int, view: str
    ) -> None:
        """At most 14 statements and 60 kB compressed (issue, section « Cost »), whatever is shown."""
        shop = monday_shop(weeks=weeks, children=children)
        for _slot in range(slots - 1):
            TariffFactory(slot=SlotFactory(activity=shop.activity), profile=shop.tariff.profile)
        SubscriptionFactory(user=shop.user, profile=TariffFactory(slot=shop.slot).profile)
        shop.add(days=shop.days[:2])
        client = browse(shop)
        with at_most(14):
            response = client.get(page(shop), {"vue": view})
        assert len(gzip.compress(response.content, 6)) < 30_000
        with at_most(14):
            assert client.post(page(shop), {"vue": view, "pick": "1234567"}).status_code == 200

    @pytest.mark.parametrize("view, basis", [("calendrier", "none"), ("grille", "none"), ("calendrier", "present")])
    def test_280_lines_are_added_within_15_statements(
        self, browse: Browse, at_most: MaxQueries, view: str, basis: str
    ) -> None:
        shop = monday_shop(weeks=35, children=2)
        TariffGrid.objects.update(rank_basis=basis)
        sent = {"slot": shop.slot.pk, "vue": view}
        if view == "grille":
            sent["days"] = [f"{child.pk}:{day.date}" for day in shop.days for child in shop.children]
        else:
            sent |= {"people": [child.pk for child in shop.children], "dates": [str(day.date) for day in shop.days]}
        client = browse(shop)
        with at_most(15):
            assert client.post(page(shop), sent).status_code == 302
        assert CartLine.objects.count() == 280


def test_the_holidays_after_the_last_open_day_are_named(browse: Browse) -> None:
    """July shows why its second half is closed, though no day of the activity comes after the holidays' first."""
    shop = open_shop(days=0)
    end = school_year(today() + dt.timedelta(days=30))[1]
    only_open(shop.activity, [0, 1, 3, 4], ActivityPeriod.Kind.SCHOOL)
    SchoolHoliday.objects.create(name="Vacances d’été", first_day=dt.date(end.year, 7, 3), last_day=end)
    shop.days = [OpenDayFactory(activity=shop.activity, date=dt.date(end.year, 7, 2))]
    assert "(vacances d’été)" in text(browse(shop).get(page(shop)))
