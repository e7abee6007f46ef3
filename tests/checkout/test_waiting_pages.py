"""Waiting lists over HTTP: from a full day to the cart, what the pages cost, what they say to bad input."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client

from bookings.models import Booking
from bookings.waiting.models import WaitingListEntry
from checkout.models import CartLine
from portal.outbox.models import Email
from services.models import Activity, OpenDay, Slot
from tests.bookings.test_waiting import give_back, run_out
from tests.checkout.http import form, page, text
from tests.factories import FiliationFactory, SubscriptionFactory, TariffFactory, UserFactory
from tests.shop import Shop
from tests.waiting import entries, full_shop, neighbour, party, settled, statuses, wait

pytestmark = pytest.mark.django_db
MaxQueries = Callable[[int], AbstractContextManager[Any]]
Browse = Callable[[Shop], Client]
LISTS = "/mon-compte/listes-d-attente/"


def joining(shop: Shop, *days: OpenDay) -> str:
    return f"{page(shop)}liste-d-attente/?" + "&".join(f"dates={day.date}" for day in days)


def answers(who: Shop, **changes: Any) -> dict[str, Any]:
    return {"days": "ces-jours", "slot": who.slot.pk, "people": [child.pk for child in who.children]} | changes


class TestFromTheCalendar:
    def test_a_full_day_leads_to_its_list_and_one_more_press_joins(self, browse: Browse) -> None:
        shop = full_shop(days=2)
        who = neighbour(shop)
        client = browse(who)
        calendar = client.get(page(shop)).content.decode()
        (href,) = re.findall(rf'<td class="f w"><a href="(liste-d-attente/\?dates={shop.days[0].date})"', calendar)
        address = page(shop) + href
        asked = client.get(address)
        assert "ordre d’inscription" in text(asked) and not WaitingListEntry.objects.exists()
        values = {name: asked.context["form"][name].value() for name in ("days", "slot", "people")}
        done = client.post(address, values, follow=True)
        assert statuses(who) == ["waiting"] and "1er de la liste" in text(done)

    def test_without_a_waiting_list_a_full_day_leads_nowhere(self, browse: Browse) -> None:
        shop = full_shop()
        Activity.objects.update(waiting_list=False)
        client = browse(neighbour(shop))
        assert (
            "liste-d-attente/"
            not in client.get(page(shop)).content.decode().partition("<main")[2].partition("</main")[0]
        )
        assert client.get(joining(shop, *shop.days)).status_code == 404

    def test_a_refused_choice_offers_the_list_of_its_full_dates(self, browse: Browse) -> None:
        shop = full_shop(days=3)
        give_back(shop)
        who = neighbour(shop)
        refused = browse(who).post(page(shop), form(who))
        assert refused.status_code == 409
        (href,) = re.findall(r'href="(/services/[^"]*liste-d-attente/\?dates=[^"]*)"', refused.content.decode())
        query = parse_qs(urlsplit(href.replace("&amp;", "&")).query)
        assert query["dates"] == [str(day.date) for day in shop.days[1:]]
        assert query["people"] == [str(who.children[0].pk)] and query["slot"] == [str(who.slot.pk)]

    def test_every_full_day_of_a_weekday_at_once(self, browse: Browse) -> None:
        shop = full_shop(days=15)
        who = neighbour(shop)
        weekday = shop.days[0].date.isoweekday()
        browse(who).post(joining(shop, shop.days[0]), answers(who, days=str(weekday)))
        rows = WaitingListEntry.objects.of(who.user).select_related("open_day")
        assert sorted(row.open_day.date for row in rows) == [shop.days[index].date for index in (0, 7, 14)]

    def test_a_slot_that_is_full_on_a_day_that_is_not(self, browse: Browse) -> None:
        shop = full_shop(days=2, capacity=2)
        OpenDay.objects.update(capacity=9)
        Slot.objects.filter(pk=shop.slot.pk).update(capacity=2)
        who = neighbour(shop)
        client = browse(who)
        refused = client.post(page(shop), form(who))
        (href,) = re.findall(r'href="(/services/[^"]*liste-d-attente/\?dates=[^"]*)"', refused.content.decode())
        address = href.replace("&amp;", "&")
        assert len(parse_qs(urlsplit(address).query)["dates"]) == 2
        assert client.post(address, answers(who)).status_code == 302
        assert statuses(who) == ["waiting", "waiting"]
        give_back(shop)
        assert statuses(who) == ["offered", "waiting"]

    def test_together(self, browse: Browse) -> None:
        shop = full_shop()
        who = neighbour(shop, children=2)
        done = browse(who).post(joining(shop, *shop.days), answers(who, together="on"), follow=True)
        assert len({row.party for row in entries(who)}) == 1 and "ensemble" in text(done)

    @pytest.mark.parametrize(
        "changes, words",
        [
            ({"days": ""}, "Choisissez les jours que vous attendez"),
            ({"days": "8"}, "revenez au calendrier"),
            ({"days": "tous"}, "revenez au calendrier"),
            ({"slot": "0"}, "n’est pas proposé ici"),
            ({"slot": ""}, "Choisissez un type de prestation"),
            ({"people": []}, "Choisissez au moins un bénéficiaire"),
            ({"people": ["'; DROP TABLE"]}, "ne fait pas partie de vos filiations"),
        ],
    )
    def test_bad_input(self, browse: Browse, changes: dict[str, Any], words: str) -> None:
        shop = full_shop()
        who = neighbour(shop)
        response = browse(who).post(joining(shop, *shop.days), answers(who, **changes))
        assert response.status_code == 422 and words in text(response)
        assert not WaitingListEntry.objects.exists()

    @pytest.mark.parametrize(
        "dates", ["", "dates=2026-13-45", "dates=mercredi", "dates=1999-01-01", "people=x&slot=-1"]
    )
    def test_a_forged_address_shows_the_page(self, browse: Browse, dates: str) -> None:
        shop = full_shop()
        assert browse(neighbour(shop)).get(f"{page(shop)}liste-d-attente/?{dates}").status_code == 200

    def test_a_day_that_is_no_longer_full_is_said(self, browse: Browse) -> None:
        shop = full_shop(days=2)
        give_back(shop)
        client = browse(neighbour(shop))
        assert "n’est plus complet" in text(client.get(joining(shop, *shop.days)))
        OpenDay.objects.update(capacity=5)
        assert "Aucun jour n’est complet" in text(client.get(joining(shop, *shop.days)))

    def test_without_access_it_leads_to_the_service(self) -> None:
        shop = full_shop()
        client = Client()
        client.force_login(UserFactory())
        assert client.get(joining(shop, *shop.days))["Location"] == shop.activity.service.get_absolute_url()

    def test_with_two_situations_the_chosen_one_is_kept(self, browse: Browse) -> None:
        shop = full_shop()
        who = neighbour(shop)
        other = SubscriptionFactory(user=who.user, profile=TariffFactory(slot=who.slot).profile)
        type(other.profile).objects.filter(pk=other.profile_id).update(service=shop.activity.service)
        browse(who).post(joining(shop, *shop.days), answers(who, profile=other.pk))
        assert entries(who)[0].profile_id == other.profile_id


class TestMyLists:
    def test_what_is_offered_is_announced_at_home_and_in_the_menu(self, browse: Browse, at_most: MaxQueries) -> None:
        shop = full_shop(capacity=2)
        who = neighbour(shop, children=2)
        wait(who, together=True)
        client = browse(who)
        assert "proposée" not in text(client.get("/mon-compte/"))
        assert "les 2 prochaines places libres en même temps" in text(client.get(LISTS)).replace("\u00a0", " ")
        give_back(shop, places=2)
        with at_most(2):
            home = text(client.get("/mon-compte/")).replace("\u00a0", " ")
        assert (
            "2 places de liste d’attente vous sont proposées" in home and "Mes listes d’attente (2 proposées)" in home
        )
        lists = text(client.get(LISTS)).replace("\u00a0", " ")
        assert "2 places vous sont proposées" in lists and "2 places, ensemble" in lists and "Les laisser" in lists
        (letter,) = Email.objects.filter(to=who.user.email)
        assert letter.subject == "2 places vous sont proposées" and "Pour les prendre ou les laisser" in letter.body

    def test_an_offer_says_until_when_and_at_which_price_and_one_press_takes_it(self, browse: Browse) -> None:
        shop = full_shop()
        who = neighbour(shop)
        wait(who)
        give_back(shop)
        (letter,) = Email.objects.filter(to=who.user.email)
        assert f"{LISTS}{party(who)}/" in letter.body and "Rien n’a été débité" in letter.body
        client = browse(who)
        words = text(client.get(LISTS))
        assert "Une place vous est proposée" in words and "7,90 €" in words and "Gardée pour vous jusqu’au" in words
        address = f"{LISTS}{party(who)}/"
        said = text(client.get(address))
        assert "Mettre dans mon panier" in said and "cette limite reste la même" in said
        assert "avec mon porte-monnaie" not in said and "il y manque 7,90 €" in said
        assert client.post(address)["Location"] == "/panier/"
        assert statuses(who) == ["offered"] and CartLine.objects.get(cart__user=who.user).booking.status == "held"
        cart = text(client.get("/panier/"))
        assert "Place de liste d’attente" in cart and "Vos places sont gardées" not in cart
        assert "Payer depuis mon panier" in text(client.get(address)) and client.post(address)["Location"] == "/panier/"

    def test_one_press_orders_and_pays(self, browse: Browse) -> None:
        shop = full_shop()
        who = neighbour(shop, credit="50")
        wait(who)
        give_back(shop)
        settled(who)
        client = browse(who)
        address = f"{LISTS}{party(who)}/"
        said = text(client.get(address))
        assert "Prendre et payer 7,90 € avec mon porte-monnaie" in said
        assert "il y restera 34,20 €" in said
        for wrong in ("", "x", "sNaN", "-1", "7,90", "1e999999999"):
            refused = text(client.post(address, {"total": wrong}, follow=True))
            assert "Le prix a changé" in refused and "rien n’a été débité" in refused and statuses(who) == ["offered"]
        page = text(client.post(address, {"total": "7.90"}, follow=True))
        assert "C’est réservé et payé" in page and statuses(who) == ["taken"] and str(who.balance) == "34.20"
        assert "ne vous est plus proposée" in text(client.get(address))

    def test_what_is_gone_says_so_and_that_nothing_was_paid(self, browse: Browse) -> None:
        shop = full_shop()
        who = neighbour(shop)
        wait(who)
        give_back(shop)
        run_out(who)
        from bookings.actions import release_expired_holds

        release_expired_holds()
        words = text(browse(who).post(f"{LISTS}{party(who)}/", follow=True))
        assert "n’est plus valable" in words and "Rien n’a été débité" in words and "Proposition expirée" in words

    def test_leaving_is_asked_first(self, browse: Browse) -> None:
        shop = full_shop(days=2)
        who = neighbour(shop)
        wait(who)
        client = browse(who)
        row = entries(who)[0]
        asked = client.get(f"{LISTS}quitter/?e={row.pk}")
        assert "Vous perdez votre rang" in text(asked) and statuses(who) == ["waiting"] * 2
        words = text(client.post(f"{LISTS}quitter/", {"e": row.pk}, follow=True))
        assert statuses(who) == ["left", "waiting"] and "Vous n’attendez plus cette place" in words
        assert "déjà terminées" in text(client.post(f"{LISTS}quitter/", {"e": row.pk}, follow=True))
        assert "déjà terminées" in text(client.get(f"{LISTS}quitter/?e={row.pk}", follow=True))
        assert "Cochez d’abord" in text(client.get(f"{LISTS}quitter/", follow=True))

    def test_a_series_is_left_at_once(self, browse: Browse) -> None:
        shop = full_shop(days=3)
        who = neighbour(shop)
        wait(who, days=shop.days[:1])
        wait(who, days=shop.days[1:])
        client = browse(who)
        (href,) = re.findall(r'href="([^"]*quitter/[^"]*)"', client.get(LISTS).content.decode())
        address = href.replace("&amp;", "&")
        assert "Ne plus attendre ces 2 places" in text(client.get(address)).replace("\u00a0", " ")
        client.post(f"{LISTS}quitter/", {"e": parse_qs(urlsplit(address).query)["e"]})
        assert statuses(who) == ["waiting", "left", "left"]

    def test_nothing_waited_for_says_how(self, browse: Browse) -> None:
        assert "Vous n’attendez aucune place" in text(browse(full_shop()).get(LISTS))

    def test_a_stranger_finds_nothing(self, browse: Browse) -> None:
        shop = full_shop()
        who, stranger = neighbour(shop), neighbour(shop)
        wait(who)
        give_back(shop)
        client = browse(stranger)
        for ask in (client.get, client.post):
            assert ask(f"{LISTS}{party(who)}/").status_code == 404
        assert client.get(f"{LISTS}quitter/?e={entries(who)[0].pk}").status_code == 404
        client.post(f"{LISTS}quitter/", {"e": entries(who)[0].pk})
        assert statuses(who) == ["offered"]
        assert who.children[0].first_name not in text(client.get(LISTS)).partition("Une place")[2]

    @pytest.mark.parametrize("rows", ["e=x", "e=99999999999999999999999", "e=-4", "e=²"])
    def test_forged_rows(self, browse: Browse, rows: str) -> None:
        client = browse(full_shop())
        assert client.get(f"{LISTS}quitter/?{rows}").status_code in {302, 404}
        assert client.post(f"{LISTS}quitter/", dict([rows.split("=")])).status_code == 302


class TestCost:
    @pytest.mark.parametrize("days", [2, 40])
    def test_my_lists(self, browse: Browse, at_most: MaxQueries, days: int) -> None:
        shop = full_shop(days=days, capacity=2)
        who = neighbour(shop, children=2)
        wait(who)
        give_back(shop, places=days)
        client = browse(who)
        with at_most(12):  # of these six that say how the offers can be paid
            assert client.get(LISTS).status_code == 200
        with at_most(11):
            assert client.get(f"{LISTS}{party(who)}/").status_code == 200
        with at_most(7):
            rows = "&".join(f"e={row.pk}" for row in entries(who))
            assert client.get(f"{LISTS}quitter/?{rows}").status_code == 200

    @pytest.mark.parametrize("days", [2, 40])
    def test_joining(self, browse: Browse, at_most: MaxQueries, days: int) -> None:
        shop = full_shop(days=days)
        who = neighbour(shop)
        client = browse(who)
        with at_most(9):
            assert client.get(joining(shop, *shop.days)).status_code == 200
        with at_most(17):
            client.post(joining(shop, *shop.days), answers(who))
        assert WaitingListEntry.objects.count() == days

    @pytest.mark.parametrize("days", [1, 30])
    def test_offering(self, at_most: MaxQueries, days: int) -> None:
        """What a cancellation costs more when others wait: as much for one day as for thirty."""
        shop = full_shop(days=days)
        for _family in range(3):
            wait(neighbour(shop))
        with at_most(30):
            give_back(shop, places=days)
        assert Booking.objects.held().count() == days


def test_the_other_child_of_a_family_may_wait_where_one_has_a_place(browse: Browse) -> None:
    shop = full_shop(capacity=2)
    FiliationFactory(user=shop.user)
    assert 'class="m w"' in browse(shop).get(page(shop)).content.decode()
