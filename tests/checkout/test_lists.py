"""« Mes listes »: saved from the calendar or the cart, changed, applied to a month, and never anybody else's."""

import datetime as dt
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.test import Client

from bookings.list_actions import change_list, delete_list, save_list
from bookings.lists import SavedList, SavedListRow
from families.models import Filiation
from portal.common.errors import Refused
from portal.common.formats import WEEKDAYS, month
from services.models import OpenDay, Slot
from tests.checkout.booking_page import boxes, monday_shop, ticked
from tests.checkout.http import page, text
from tests.factories import FiliationFactory, SlotFactory, SubscriptionFactory, TariffFactory
from tests.guards import guarded, sql, undone
from tests.shop import Shop, family

pytestmark = pytest.mark.django_db
MaxQueries = Callable[[int], AbstractContextManager[Any]]
Browse = Callable[[Shop], Client]
LISTS = "/mon-compte/listes/"


@pytest.fixture
def shop() -> Shop:
    return monday_shop(weeks=3, children=2)


def keep(shop: Shop, name: str = "Semaine d’école", **days: Any) -> SavedList:
    """Louane on Mondays and Thursdays, her brother on Tuesdays."""
    chosen = days.get("days") or {shop.children[0].pk: [0, 3], shop.children[1].pk: [1]}
    return save_list(user=shop.user, name=name, slot=shop.slot, profile=shop.tariff.profile, days=chosen, by=shop.user)


def in_month(shop: Shop, *pairs: tuple[int, int]) -> list[tuple[int, int]]:
    """Those of the (child, day) pairs that lie in the month of the first day."""
    first = shop.days[0].date
    return [pair for pair in pairs if shop.days[pair[1]].date.month == first.month]


class TestSaving:
    def test_from_the_grid(self, browse: Browse, shop: Shop) -> None:
        sent = {"slot": shop.slot.pk, "vue": "grille", "days": boxes(shop, (0, 0), (0, 4), (0, 2), (1, 1))}
        response = browse(shop).post(page(shop), sent | {"pick": "liste", "liste_nom": "Semaine d’école"})
        assert "La liste « Semaine d’école » est enregistrée." in text(response)
        assert ticked(response, "days") == set(sent["days"])  # the choice goes on
        saved = SavedList.objects.get()
        assert (saved.user, saved.slot, saved.profile) == (shop.user, shop.slot, shop.tariff.profile)
        assert [(row.beneficiary, row.weekdays) for row in saved.rows.all()] == [
            (shop.children[0], [0, 3]),
            (shop.children[1], [1]),
        ]

    def test_from_the_calendar_without_a_name_or_a_day(self, browse: Browse, shop: Shop) -> None:
        client = browse(shop)
        sent = {"slot": shop.slot.pk, "people": [shop.children[0].pk], "dates": [str(shop.days[0].date)]}
        response = client.post(page(shop), sent | {"pick": "liste", "liste_nom": "  "})
        assert "Donnez un nom à votre liste" in text(response) and ticked(response) == {str(shop.days[0].date)}
        response = client.post(page(shop), {"slot": shop.slot.pk, "pick": "liste", "liste_nom": "Vide"})
        assert "Choisissez au moins un jour" in text(response)
        assert not SavedList.objects.exists()

    def test_from_the_cart(self, browse: Browse, shop: Shop) -> None:
        shop.add(days=shop.days[:2])
        client = browse(shop)
        words = text(client.get(LISTS))
        assert "Garder ce qui est dans mon panier" in words and str(shop.activity) in words
        what = f"{shop.slot.pk}-{shop.tariff.profile_id}"
        response = client.post(f"{LISTS}du-panier/", {"what": what, "name": "Cantine"}, follow=True)
        assert "La liste « Cantine » est enregistrée." in text(response)
        assert [row.weekdays for row in SavedListRow.objects.all()] == [[0, 1], [0, 1]]

    @pytest.mark.parametrize("what", ["", "x", "1-999999", "²"])
    def test_from_a_cart_that_has_changed(self, browse: Browse, shop: Shop, what: str) -> None:
        response = browse(shop).post(f"{LISTS}du-panier/", {"what": what, "name": "X"}, follow=True)
        assert "rien n’a été enregistré" in text(response) and not SavedList.objects.exists()

    def test_a_name_is_taken_once_whatever_its_case(self, shop: Shop) -> None:
        keep(shop)
        with pytest.raises(Refused, match="Vous avez déjà une liste « SEMAINE d’école »"):
            keep(shop, "SEMAINE d’école")
        keep(family(shop.tariff, children=2), "Semaine d’école")  # another family's may be called so
        assert SavedList.objects.count() == 2

    @pytest.mark.parametrize(
        ("name", "code"), [("", "name_missing"), (" \0 ", "name_missing"), ("x" * 61, "name_too_long")]
    )
    def test_names(self, shop: Shop, name: str, code: str) -> None:
        with pytest.raises(Refused) as refusal:
            keep(shop, name)
        assert refusal.value.code == code

    def test_another_familys_child(self, shop: Shop) -> None:
        other = FiliationFactory().beneficiary
        with pytest.raises(Refused) as refusal:
            keep(shop, days={other.pk: [0]})
        assert refusal.value.code == "not_yours" and not SavedList.objects.exists()

    def test_a_day_that_does_not_exist(self, shop: Shop) -> None:
        with pytest.raises(Refused) as refusal:
            keep(shop, days={shop.children[0].pk: [7]})
        assert refusal.value.code == "no_such_day"

    def test_there_is_an_end_to_it(self, shop: Shop) -> None:
        SavedList.objects.bulk_create(
            SavedList(user=shop.user, name=f"L{number}", slot=shop.slot, profile=shop.tariff.profile)
            for number in range(50)
        )
        with pytest.raises(Refused, match="supprimez d’abord"):
            keep(shop)


class TestChanging:
    def test_name_and_days(self, browse: Browse, shop: Shop) -> None:
        saved = keep(shop)
        client = browse(shop)
        assert "Modifier une liste" in text(client.get(saved.get_absolute_url()))
        first, second = shop.children
        sent = {"name": "Jours de papa", "days": [f"{first.pk}:4", f"{first.pk}:0", "x", f"{second.pk}:9"]}
        response = client.post(saved.get_absolute_url(), sent, follow=True)
        assert "Votre liste est enregistrée." in text(response) and "lundi et vendredi" in text(response)
        saved.refresh_from_db()
        assert saved.name == "Jours de papa"
        assert [(row.beneficiary, row.weekdays) for row in saved.rows.all()] == [(first, [0, 4])]

    def test_errors_keep_what_was_typed(self, browse: Browse, shop: Shop) -> None:
        saved = keep(shop)
        response = browse(shop).post(saved.get_absolute_url(), {"name": "Autre", "days": []})
        assert response.status_code == 422 and "Choisissez au moins un jour" in text(response)
        assert 'value="Autre"' in response.content.decode()
        assert SavedListRow.objects.count() == 2

    def test_deleting_asks_first(self, browse: Browse, shop: Shop) -> None:
        saved = keep(shop)
        client = browse(shop)
        address = f"{saved.get_absolute_url()}supprimer/"
        assert "Vos réservations ne changent pas." in text(client.get(address)) and SavedList.objects.exists()
        assert "est supprimée" in text(client.post(address, follow=True)) and not SavedList.objects.exists()

    def test_a_strangers_list(self, browse: Browse, shop: Shop) -> None:
        saved = keep(shop)
        stranger = family(shop.tariff)
        for act in (
            lambda: change_list(saved=saved, name="X", days={}, by=stranger.user),
            lambda: delete_list(saved=saved, by=stranger.user),
        ):
            with pytest.raises(Refused) as refusal:
                act()
            assert refusal.value.code == "not_yours"
        client = browse(stranger)
        month_ = f"{shop.days[0].date:%Y-%m}"
        assert client.get(page(shop), {"liste": saved.pk, "mois": month_}).status_code == 404


class TestApplying:
    def apply(self, browse: Browse, shop: Shop, saved: SavedList, **asked: Any) -> Any:
        sent = {"liste": saved.pk, "mois": f"{shop.days[0].date:%Y-%m}"} | asked
        return browse(shop).get(page(shop), sent)

    def test_ticks_each_childs_days_of_the_month(self, browse: Browse, shop: Shop) -> None:
        saved = keep(shop)
        response = self.apply(browse, shop, saved)
        pairs = in_month(shop, (0, 0), (0, 2), (1, 1), (0, 4), (0, 6), (1, 5), (0, 8), (0, 10), (1, 9))
        assert ticked(response, "days") == set(boxes(shop, *pairs))
        count = f"{len(pairs)} place{'s' if len(pairs) > 1 else ''} cochée"
        assert f"Liste « Semaine d’école » : {count}" in text(response)
        assert month(shop.days[0].date).lower() in text(response)

    def test_the_same_days_for_all_come_in_the_calendar(self, browse: Browse, shop: Shop) -> None:
        saved = keep(shop, days={child.pk: [0] for child in shop.children})
        response = self.apply(browse, shop, saved)
        assert str(shop.days[0].date) in ticked(response) and len(ticked(response, "people")) == 2

    def test_says_what_could_not_be_had_and_why(self, browse: Browse, shop: Shop) -> None:
        saved = keep(shop, days={shop.children[0].pk: [0, 2], shop.children[1].pk: [0]})
        OpenDay.objects.filter(pk=shop.days[0].pk).update(is_open=False, closed_reason="Grève")
        words = text(self.apply(browse, shop, saved))
        both = " et ".join(child.first_name for child in shop.children)
        day = f"{WEEKDAYS[0]} {shop.days[0].date.day}".replace(" 1 ", " 1er ")
        assert re.search(rf"Non cochés : .*{both}, {day}\S* \S+ \(Grève\)", words), words
        assert "(fermé le mercredi)" in words

    def test_then_into_the_cart_in_one_action(self, browse: Browse, shop: Shop) -> None:
        saved = keep(shop)
        client = browse(shop)
        shown = client.get(page(shop), {"liste": saved.pk, "mois": f"{shop.days[0].date:%Y-%m}"})
        sent = {"slot": shop.slot.pk, "vue": "grille", "days": sorted(ticked(shown, "days"))}
        assert client.post(page(shop), sent)["Location"] == "/panier/"
        assert shop.cart.lines.count() == len(sent["days"]) > 0

    def test_its_own_slot_and_situation(self, browse: Browse, shop: Shop) -> None:
        evening = SlotFactory(activity=shop.activity, name="Soir", starts_at=dt.time(16), ends_at=dt.time(18))
        other = TariffFactory(slot=evening, price="2.00")
        access = SubscriptionFactory(user=shop.user, profile=other.profile)
        saved = save_list(
            user=shop.user,
            name="Soirs",
            slot=evening,
            profile=other.profile,
            days={shop.children[0].pk: [0]},
            by=shop.user,
        )
        body = self.apply(browse, shop, saved).content.decode()
        assert re.search(rf'name="slot" value="{evening.pk}"[^>]* checked', body)
        assert (
            re.search(rf'name="profile" value="{access.pk}"[^>]* checked', body)
            or access.profile_id == other.profile_id
        )

    def test_a_child_who_left_the_family(self, browse: Browse, shop: Shop) -> None:
        saved = keep(shop)
        Filiation.objects.filter(user=shop.user, beneficiary=shop.children[1]).delete()
        words = text(self.apply(browse, shop, saved))
        assert f"les jours de {shop.children[1].first_name}, qui ne fait plus partie de vos filiations" in words

    def test_a_slot_that_is_no_longer_offered(self, browse: Browse, shop: Shop) -> None:
        saved = keep(shop)
        SlotFactory(activity=shop.activity, name="Soir", starts_at=dt.time(16), ends_at=dt.time(18))
        Slot.objects.filter(pk=shop.slot.pk).update(is_active=False)
        assert "n’est plus proposée" in text(self.apply(browse, shop, saved))

    @pytest.mark.parametrize("asked", [{"mois": "x"}, {"mois": "9999-99"}, {"liste": "²"}, {"liste": ""}, {"mois": ""}])
    def test_bad_addresses(self, browse: Browse, shop: Shop, asked: dict[str, str]) -> None:
        saved = keep(shop)
        response = self.apply(browse, shop, saved, **asked)
        assert response.status_code == 200 and not ticked(response, "days")

    def test_a_month_that_is_over(self, browse: Browse, shop: Shop) -> None:
        saved = keep(shop)
        assert "aucun jour à cocher" in text(self.apply(browse, shop, saved, mois="2020-01"))


class TestGuards:
    """The database forbids what the actions forbid."""

    @pytest.mark.parametrize(
        ("name", "write"),
        [
            ("one_list_per_name", lambda row: SavedList.objects.create(
                user=row.user, name=row.name.upper(), slot=row.slot, profile=row.profile)),
            ("list_has_a_name", lambda row: SavedList.objects.create(
                user=row.user, name="", slot=row.slot, profile=row.profile)),
            ("one_row_per_person", lambda row: SavedListRow.objects.create(
                saved_list=row, beneficiary=row.rows.first().beneficiary, weekdays=[1])),
            ("list_row_has_weekdays", lambda row: row.rows.update(weekdays=[])),
            ("list_row_has_weekdays", lambda row: row.rows.update(weekdays=[7])),
        ],
    )  # fmt: skip
    def test_constraints(self, shop: Shop, name: str, write: Callable[[SavedList], Any]) -> None:
        saved = keep(shop)
        with pytest.raises(IntegrityError, match=name), transaction.atomic():
            write(saved)
        sql("SET CONSTRAINTS ALL IMMEDIATE")  # a table with pending triggers is not altered
        with undone():  # the fault, with the guard off
            if name == "one_list_per_name":
                sql(f"DROP INDEX {name}")
            else:
                sql(f"ALTER TABLE {write_table(name)} DROP CONSTRAINT {name}")
            write(saved)

    def test_a_list_keeps_its_owner_slot_and_situation(self, shop: Shop) -> None:
        saved, other = keep(shop), family(shop.tariff)
        guarded(
            "bookings.SavedList:list_is_frozen",
            lambda: SavedList.objects.filter(pk=saved.pk).update(user=other.user),
            "Cannot update rows",
            lambda: SavedList.objects.of(other.user).exists(),
        )


def write_table(constraint: str) -> str:
    return "bookings_savedlist" if constraint == "list_has_a_name" else "bookings_savedlistrow"


def test_cost(browse: Browse, at_most: MaxQueries, shop: Shop) -> None:
    """The pages cost the same with many lists as with one."""
    for number in range(12):
        keep(shop, f"Liste {number}")
    shop.add(days=shop.days[:2])
    client = browse(shop)
    with at_most(9):
        assert client.get(LISTS).status_code == 200
    saved = SavedList.objects.latest("pk")
    with at_most(9):
        assert client.get(saved.get_absolute_url()).status_code == 200
    with at_most(17):  # the booking page's, and the list with its rows and children
        client.get(page(shop), {"liste": saved.pk, "mois": f"{shop.days[0].date:%Y-%m}"})
