"""« Mes réservations » : what a family sees, also after a filiation has ended."""

import datetime as dt
import re
from decimal import Decimal

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import User
from bookings.calendar import initials
from bookings.models import Booking
from checkout.actions import Means, cancel_bookings, cancel_for
from families.models import Beneficiary, Filiation
from portal.common.formats import day, month
from services.models import OpenDay
from tests.checkout.conftest import MaxQueries
from tests.checkout.http import text
from tests.factories import FiliationFactory, UserFactory, agent_of
from tests.shop import Shop, open_shop

pytestmark = pytest.mark.django_db
PAGE = "/mon-compte/reservations/"


def test_what_was_booked_for_a_child_of_a_former_filiation_can_still_be_cancelled() -> None:
    shop = open_shop(days=1, credit="10")
    shop.add()
    shop.pay(Means.WALLET, "7.90")
    Filiation.objects.filter(user=shop.user).update(ended_at=timezone.now())
    client = Client()
    client.force_login(shop.user)
    booking = Booking.objects.get()
    assert f'value="{booking.pk}"' in client.get(PAGE).content.decode()
    cancel_bookings(ids=[booking.pk], by=shop.user)
    assert shop.balance == 10


def test_a_former_parent_does_not_see_what_the_other_books() -> None:
    shop = open_shop(days=1, credit="10")
    former = FiliationFactory(beneficiary=shop.children[0], ended_at=timezone.now()).user
    shop.add()
    shop.pay(Means.WALLET, "7.90")
    client = Client()
    client.force_login(former)
    page = client.get(PAGE).content.decode()
    assert str(shop.children[0]) not in page and shop.activity.name not in page


def test_the_page_opens_on_the_month_of_the_next_booking() -> None:
    shop = open_shop(days=70, credit="10")
    last = shop.days[-1]
    shop.add(days=[last])
    shop.pay(Means.WALLET, "7.90")
    client = Client()
    client.force_login(shop.user)
    before = last.date.replace(day=1) - dt.timedelta(days=1)
    assert f'<h2 id="mois">{month(last.date)}</h2>' in client.get(PAGE).content.decode()
    page = client.get(PAGE, {"mois": f"{before:%Y-%m}"}).content.decode()
    assert f'<h2 id="mois">{month(before)}</h2>' in page and f"?mois={last.date:%Y-%m}" in page


def paid(days: int = 4, children: int = 1) -> Shop:
    shop = open_shop(days=days, children=children, credit="5000")
    shop.add()
    shop.pay(Means.WALLET, Decimal("7.90") * days * children)
    return shop


def browser(user: User) -> Client:
    client = Client()
    client.force_login(user)
    client.get("/")  # the session's first write of the minute is not the page's cost
    return client


class TestViews:
    @pytest.mark.parametrize("query", ["", "?vue=semaine", "?vue=liste", "?vue=liste&annee=2026&etat=toutes"])
    @pytest.mark.parametrize("days", [2, 60])
    def test_a_view_does_not_cost_more_with_more_in_it(self, at_most: MaxQueries, query: str, days: int) -> None:
        shop = paid(days=days, children=2)
        client = browser(shop.user)
        with at_most(10):
            assert client.get(PAGE + query).status_code == 200

    def test_a_week_has_its_days_hours_and_neighbours(self) -> None:
        shop = paid(days=1)
        date = shop.days[0].date
        monday = date - dt.timedelta(days=date.weekday())
        year, number, _day = (monday + dt.timedelta(days=7)).isocalendar()
        words = text(browser(shop.user).get(PAGE, {"vue": "semaine"}))
        assert f"Semaine du {day(monday).partition(' ')[2]} {monday.year}" in words
        assert " ".join(shop.slot.hours.split()) in words and shop.activity.name in words
        assert f"semaine={year}-W{number:02}" in browser(shop.user).get(PAGE, {"vue": "semaine"}).content.decode()
        other = browser(shop.user).get(PAGE, {"vue": "semaine", "semaine": f"{year}-W{number:02}"})
        assert "Aucune réservation cette semaine-là." in text(other)

    @pytest.mark.parametrize("week", ["2026-W54", "abc", "2026-50", "9999-W52", "0001-W01", "²-W1"])
    def test_a_week_that_cannot_be_is_passed_over(self, week: str) -> None:
        assert browser(UserFactory()).get(PAGE, {"vue": "semaine", "semaine": week}).status_code == 200

    @pytest.mark.parametrize("year", ["9999", "0", "x", "²", "9" * 30])
    def test_a_year_that_cannot_be_is_passed_over(self, year: str) -> None:
        response = browser(UserFactory()).get(PAGE, {"vue": "liste", "annee": year})
        assert "Aucune réservation à venir" in text(response)

    def test_a_school_year_is_read_page_by_page_with_what_is_past(self) -> None:
        shop = paid(days=40)
        first = shop.days[0].date
        year = first.year - (first.month < 9)
        page = browser(shop.user).get(PAGE, {"vue": "liste", "annee": year})
        assert f"Année scolaire {year}-{year + 1}" in text(page) and "Page 1 sur 2" in text(page)


class TestFilters:
    def test_one_child_one_activity_one_state(self) -> None:
        shop = paid(days=2, children=2)
        other = open_shop(days=1)
        one, two = shop.children
        cancel_bookings(ids=[Booking.objects.filter(beneficiary=two).order_by("period").first().pk], by=shop.user)  # type: ignore[union-attr]
        client = browser(shop.user)

        def shown(**asked: object) -> list[tuple[int, str]]:
            response = client.get(PAGE, {"vue": "liste", **asked})
            return sorted(
                (line.booking.beneficiary_id, line.booking.status)
                for _date, lines in response.context["days"]
                for line in lines
            )

        assert shown() == [(one.pk, "booked"), (one.pk, "booked"), (two.pk, "booked")]
        assert shown(enfant=two.pk) == [(two.pk, "booked")]
        assert shown(etat="annulees") == [(two.pk, "cancelled")]
        assert len(shown(etat="toutes")) == 4
        assert len(shown(activite=f"s{shop.activity.service_id}")) == 3
        assert shown(activite=f"s{other.activity.service_id}") == []
        assert len(shown(activite="s²")) == 3
        assert len(shown(activite=shop.activity.pk)) == 3 and shown(activite=other.activity.pk) == []
        assert len(shown(enfant="²", activite="x", etat="y")) == 3  # passed over

    def test_a_strangers_child_shows_nothing(self) -> None:
        shop, other = paid(days=1), paid(days=1)
        page = browser(other.user).get(PAGE, {"vue": "liste", "enfant": shop.children[0].pk, "etat": "toutes"})
        assert "Aucune réservation ne correspond à ces filtres." in text(page)


class TestLetters:
    @pytest.mark.parametrize(
        "names, expected",
        [
            (["Louane", "Théo"], ["L", "T"]),
            (["Alice", "Anna"], ["Al", "An"]),
            (["Alice", "Alix", "Alma"], ["Al", "A2", "A3"]),
            (["Léo", "Léo"], ["Lé", "L2"]),
        ],
    )
    def test_no_two_are_alike(self, names: list[str], expected: list[str]) -> None:
        rows = [Beneficiary(pk=number, first_name=name) for number, name in enumerate(names)]
        assert list(initials(rows).values()) == expected


class TestCancellingAllOfAKind:
    def test_what_is_alike_is_named_with_its_price_and_cancelled_once(self) -> None:
        shop = paid(days=3, children=2)
        OpenDay.objects.filter(pk=shop.days[0].pk).update(cancel_until=timezone.now() - dt.timedelta(hours=1))
        child = shop.children[0]
        one = Booking.objects.filter(beneficiary=child).order_by("period").first()
        assert one is not None
        client = browser(shop.user)
        page = client.get(f"{PAGE}annuler/", {"comme": one.pk})
        words = text(page)
        assert "Annuler ces 2 réservations ?" in words and "recevra aussitôt 15,80 €" in words
        assert "Trop tard pour celles-ci" in words and str(shop.children[1]) not in words
        ids = [row.pk for row, _price in page.context["rows"]]
        assert "2 réservations annulées" in text(client.post(f"{PAGE}annuler/", {"r": ids}, follow=True))
        before = shop.balance
        again = client.post(f"{PAGE}annuler/", {"r": ids}, follow=True)
        assert "C’est déjà fait" in text(again) and shop.balance == before
        assert Booking.objects.booked().count() == 4

    def test_what_the_other_parent_booked_is_said_to_be_theirs(self) -> None:
        shop = paid(days=1)
        other = FiliationFactory(beneficiary=shop.children[0]).user
        words = text(browser(other).get(f"{PAGE}annuler/", {"r": Booking.objects.get().pk}))
        assert "qui seule peut les annuler" in words and "Confirmer" not in words and "7,90" not in words

    def test_the_page_of_a_whole_year_asks_few_questions(self, at_most: MaxQueries) -> None:
        shop = paid(days=120)
        client = browser(shop.user)
        with at_most(9):
            client.get(f"{PAGE}annuler/", {"comme": Booking.objects.order_by("period")[0].pk})

    def test_all_that_the_filters_show_on_every_page_is_named_and_cancelled_at_once(self, at_most: MaxQueries) -> None:
        shop = paid(days=40, children=2)
        client = browser(shop.user)
        page = client.get(PAGE, {"vue": "liste", "enfant": shop.children[0].pk}).content.decode()
        (address,) = re.findall(r'href="(/mon-compte/reservations/annuler/[^"]*toutes=1[^"]*)"', page)
        with at_most(9):
            recap = client.get(address.replace("&amp;", "&"))
        assert len(recap.context["rows"]) == 40 and "316,00 €" in text(recap)
        ids = re.findall(r'name="r" value="(\d+)"', recap.content.decode())
        client.post("/mon-compte/reservations/annuler/", {"r": ids})
        assert set(Booking.objects.booked().values_list("beneficiary", flat=True)) == {shop.children[1].pk}
        asked = {"toutes": "1", "vue": "liste", "enfant": shop.children[0].pk}
        assert "plus rien ne peut être annulé" in text(
            client.get("/mon-compte/reservations/annuler/", asked, follow=True)
        )

    @pytest.mark.parametrize("view", ["mois", "semaine", "liste"])
    def test_of_a_month_a_week_or_a_year_only_what_is_in_it(self, view: str) -> None:
        shop = paid(days=40)
        first = shop.days[0].date
        year, number, _day = first.isocalendar()
        asked = {
            "mois": {"mois": f"{first:%Y-%m}"},
            "semaine": {"semaine": f"{year}-W{number:02}"},
            "liste": {"annee": str(first.year - (first.month < 9) + 1)},
        }[view]
        recap = browser(shop.user).get(
            "/mon-compte/reservations/annuler/", {"toutes": "1", "vue": view} | asked, follow=True
        )
        expected = {
            "mois": [row.date for row in shop.days if row.date.month == first.month],
            "semaine": [row.date for row in shop.days if row.date.isocalendar()[:2] == (year, number)],
            "liste": [],
        }[view]
        assert (
            [row.date for row, _price in recap.context["rows"]] == expected if expected else "plus rien" in text(recap)
        )

    @pytest.mark.parametrize("forged", ["enfant=²", "activite=s9999999999999999", "mois=2026-99", "vue=x&annee=1"])
    def test_a_forged_address_names_no_stranger_s(self, forged: str) -> None:
        paid()
        address = f"/mon-compte/reservations/annuler/?toutes=1&{forged}"
        assert "plus rien ne peut être annulé" in text(browser(UserFactory()).get(address, follow=True))

    def test_a_strangers_booking_is_like_none(self) -> None:
        paid(days=1)
        stranger = browser(UserFactory())
        assert stranger.get(f"{PAGE}annuler/", {"comme": Booking.objects.get().pk}).status_code == 404


class TestOneBooking:
    def test_both_parents_read_who_did_what_and_the_payer_alone_the_price(self, at_most: MaxQueries) -> None:
        shop = paid(days=2)
        other = FiliationFactory(beneficiary=shop.children[0]).user
        agent = agent_of()
        rows = list(Booking.objects.order_by("period"))
        cancel_bookings(ids=[rows[0].pk], by=shop.user)
        cancel_for(ids=[rows[1].pk], by=agent, reason="Grève des agents")
        mine, theirs = browser(shop.user), browser(other)
        with at_most(12):
            words = text(mine.get(f"{PAGE}{rows[0].pk}/"))
        assert "Annulée par la famille" in words and "par vous" in words and "7,90 €" in words
        words = text(theirs.get(f"{PAGE}{rows[0].pk}/"))
        assert (
            f"par {shop.user}" in words
            and "7,90" not in words
            and "commande" not in words.lower().replace("mes commandes", "")
        )
        words = text(theirs.get(f"{PAGE}{rows[1].pk}/"))
        assert "Annulée : Grève des agents" in words and "par le service" in words and str(agent) not in words
