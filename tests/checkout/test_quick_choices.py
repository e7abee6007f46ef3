"""The booking page: quick choices, like last week, the days of each person."""

import datetime as dt
import re
from typing import Any

import pytest
from django.utils import timezone
from psycopg.types.range import TimestamptzRange

from bookings.models import Booking, Hold
from checkout.models import CartLine
from portal.common.formats import PARIS, long_date, today
from services.models import OpenDay
from tests.checkout.booking_page import Browse, boxes, labels, monday_shop, ticked
from tests.checkout.http import form, page, text
from tests.factories import (
    FiliationFactory,
    OpenDayFactory,
)
from tests.shop import Shop, family

pytestmark = pytest.mark.django_db


class TestQuickChoices:
    def press(self, browse: Browse, shop: Shop, pick: str, **sent: Any) -> Any:
        return browse(shop).post(page(shop), form(shop, dates=[]) | {"pick": pick} | sent)

    def test_everything_a_month_and_a_week(self, browse: Browse) -> None:
        shop = monday_shop(weeks=6, children=2)
        everything = {str(day.date) for day in shop.days}
        assert ticked(self.press(browse, shop, "1234567")) == everything
        month = f"{shop.days[0].date:%Y-%m}"
        assert ticked(self.press(browse, shop, f"{month}:1234567")) == {d for d in everything if d.startswith(month)}
        week = {str(day.date) for day in shop.days[4:8]}
        assert ticked(self.press(browse, shop, f"{shop.days[4].date}:1234567")) == week

    def test_the_buttons_are_those_that_tick_something(self, browse: Browse) -> None:
        shop = monday_shop(weeks=3, children=1)
        words = text(browse(shop).get(page(shop)))
        assert (
            "Tous les : Tous les lundis Tous les mardis Tous les jeudis Tous les vendredis Cocher : La semaine du"
            in words
        )
        assert "Toute l’année Tout décocher" in words and "lundis, mardis, jeudis et vendredis" not in words
        OpenDayFactory(activity=shop.activity, date=shop.days[0].date + dt.timedelta(days=2))
        assert "lundis, mardis, jeudis et vendredis" in text(browse(shop).get(page(shop)))

    def test_a_typical_week_over_a_period(self, browse: Browse) -> None:
        shop = monday_shop(weeks=4, children=1)
        du, au = shop.days[4].date, shop.days[11].date
        response = self.press(browse, shop, "semaine", sem=["1", "4"], du=str(du), au=str(au))
        assert ticked(response) == {str(shop.days[index].date) for index in (4, 6, 8, 10)}
        assert f"4 jours cochés, du {du:%d/%m/%Y} au {au:%d/%m/%Y}." in text(response)
        assert ticked(response, "sem") == {"1", "4"}  # the typical week stays as it was sent

    @pytest.mark.parametrize(
        ("sent", "words"),
        [
            ({"sem": []}, "Cochez au moins un jour de la semaine type."),
            ({"du": "demain"}, "La période n’est pas lisible"),
            ({"du": "9" * 30 + "/1/2026"}, "La période n’est pas lisible"),
            ({"du": "2027-06-01", "au": "2026-06-01"}, "La période finit avant de commencer"),
            ({"sem": ["9", "x:1"]}, "Aucun autre jour à cocher"),
        ],
    )
    def test_a_typical_week_that_cannot_be_read(self, browse: Browse, sent: dict[str, Any], words: str) -> None:
        shop = monday_shop(weeks=2, children=1)
        response = self.press(browse, shop, "semaine", **({"sem": ["1"]} | sent))
        assert response.status_code == 200 and words in text(response) and not ticked(response)

    def test_dates_typed_by_hand_are_read_too(self, browse: Browse) -> None:
        shop = monday_shop(weeks=2, children=1)
        day = shop.days[0].date
        response = self.press(browse, shop, "semaine", sem=["1"], du=f"{day:%d/%m/%Y}", au=f"{day:%d/%m/%Y}")
        assert ticked(response) == {str(day)}

    def test_late_days_are_left_to_be_ticked_by_hand(self, browse: Browse) -> None:
        """They cost more: nobody finds one in the cart for having pressed « Toute l’année »."""
        shop = monday_shop(weeks=1, children=1)
        now = timezone.now()
        OpenDay.objects.filter(pk=shop.days[0].pk).update(
            book_until=now - dt.timedelta(hours=1), late_until=now + dt.timedelta(hours=1)
        )
        response = self.press(browse, shop, "1234567")
        assert str(shop.days[0].date) not in ticked(response) and len(ticked(response)) == 3
        said = f"{long_date(shop.days[0].date)}, 7,90 €, réservation tardive"  # its price, surcharge or none
        assert labels(response)[str(shop.days[0].date)] == said

    def test_two_children_the_whole_year_in_five_interactions(self, browse: Browse) -> None:
        """Personnaliser, two children, « Toute l’année », « Ajouter au panier »: without JavaScript."""
        shop = monday_shop(weeks=35, children=2)
        client = browse(shop)
        response = client.get(page(shop))  # 1
        # 2 and 3 tick the children; 4 presses the chip
        response = client.post(
            page(shop), {"slot": shop.slot.pk, "people": [c.pk for c in shop.children], "pick": "1234567"}
        )
        dates = ticked(response) | set(
            re.findall(r'type="hidden" name="dates" value="([^"]+)"', response.content.decode())
        )
        shown = {str(day.date) for day in shop.days if str(day.date) in dates}
        sent = {"slot": shop.slot.pk, "people": [c.pk for c in shop.children], "dates": sorted(shown)}
        assert client.post(page(shop), sent)["Location"] == "/panier/"  # 5
        assert CartLine.objects.count() == 2 * len(shown) > 100


class TestLikeLastWeek:
    @pytest.fixture
    def shop(self) -> Shop:
        """Last week the first child came on Monday and Thursday, the second on Tuesday."""
        shop = monday_shop(weeks=3, children=2)
        monday = today() - dt.timedelta(days=today().weekday() + 7)
        hold = Hold.objects.create(user=shop.user, expires_at=timezone.now())
        for child, offset in ((0, 0), (1, 1), (0, 3)):
            day = OpenDayFactory(activity=shop.activity, date=monday + dt.timedelta(days=offset))
            hours = (dt.datetime.combine(day.date, at, tzinfo=PARIS) for at in (shop.slot.starts_at, shop.slot.ends_at))
            Booking.objects.create(
                beneficiary=shop.children[child],
                open_day=day,
                slot=shop.slot,
                hold=hold,
                made_by=shop.user,
                period=TimestamptzRange(*hours),
                status=Booking.Status.BOOKED,
                booked_at=timezone.now() - dt.timedelta(days=20),
            )
        return shop

    def test_each_childs_days(self, browse: Browse, shop: Shop) -> None:
        sent = {"slot": shop.slot.pk, "pick": "comme", "pendant": "2"}
        response = browse(shop).post(page(shop), sent)
        assert ticked(response, "days") == set(boxes(shop, (0, 0), (1, 1), (0, 2), (0, 4), (1, 5), (0, 6)))
        assert "la grille les montre personne par personne" in text(response)

    def test_says_what_could_not_be_had(self, browse: Browse, shop: Shop) -> None:
        OpenDay.objects.filter(pk=shop.days[0].pk).update(is_open=False, closed_reason="Grève")
        response = browse(shop).post(page(shop), {"slot": shop.slot.pk, "pick": "comme", "pendant": "1"})
        assert ticked(response, "days") == set(boxes(shop, (1, 1), (0, 2)))
        assert re.search(rf"Non cochés : {shop.children[0].first_name}, lundi .* \(Grève\)\.", text(response))

    def test_the_chip_names_the_week(self, browse: Browse, shop: Shop) -> None:
        assert "Comme la semaine dernière" in text(browse(shop).get(page(shop)))

    @pytest.mark.parametrize("span", ["", "x", "9" * 5000, "-1"])
    def test_any_span(self, browse: Browse, shop: Shop, span: str) -> None:
        response = browse(shop).post(page(shop), {"slot": shop.slot.pk, "pick": "comme", "pendant": span})
        assert len(ticked(response, "days")) == 3


class TestGrid:
    def test_different_days_of_each_child_enter_the_cart(self, browse: Browse) -> None:
        shop = monday_shop(weeks=1, children=2)
        sent = {"slot": shop.slot.pk, "vue": "grille", "days": boxes(shop, (0, 0), (0, 1), (1, 3))}
        assert browse(shop).post(page(shop), sent)["Location"] == "/panier/"
        found = {
            (line.booking.beneficiary_id, line.booking.date) for line in CartLine.objects.select_related("booking")
        }
        first, second = shop.children
        assert found == {(first.pk, shop.days[0].date), (first.pk, shop.days[1].date), (second.pk, shop.days[3].date)}

    def test_a_typical_week_of_each(self, browse: Browse) -> None:
        shop = monday_shop(weeks=2, children=2)
        first, second = shop.children
        sent = {"slot": shop.slot.pk, "vue": "grille", "pick": "semaine", "sem": [f"{first.pk}:1", f"{second.pk}:2"]}
        response = browse(shop).post(page(shop), sent)
        assert ticked(response, "days") == set(boxes(shop, (0, 0), (0, 4), (1, 1), (1, 5)))
        assert "4 jours cochés" in text(response)
        assert re.search(rf"{first.first_name} 2 · 15,80 €", text(response))

    def test_a_column_of_a_month(self, browse: Browse) -> None:
        shop = monday_shop(weeks=1, children=2)
        pick = f"{shop.days[0].date:%Y-%m}:1234567/{shop.children[1].pk}"
        response = browse(shop).post(page(shop), {"slot": shop.slot.pk, "vue": "grille", "pick": pick})
        within = [n for n, day in enumerate(shop.days) if day.date.month == shop.days[0].date.month]
        assert ticked(response, "days") == set(boxes(shop, *((1, n) for n in within)))

    def test_to_and_fro(self, browse: Browse) -> None:
        shop = monday_shop(weeks=1, children=2)
        client = browse(shop)
        grid = client.post(page(shop), form(shop) | {"pick": "grille"})
        assert len(ticked(grid, "days")) == 8
        sent = {"slot": shop.slot.pk, "vue": "grille", "pick": "calendrier"}
        back = client.post(page(shop), sent | {"days": sorted(ticked(grid, "days"))})
        assert ticked(back) == {str(day.date) for day in shop.days} and ticked(back, "people")
        # Days that differ cannot be shown as the same for all: nothing is lost, and the page says so.
        kept = client.post(page(shop), sent | {"days": boxes(shop, (0, 0), (1, 1))})
        assert ticked(kept, "days") == set(boxes(shop, (0, 0), (1, 1)))
        assert "la grille les montre personne par personne" in text(kept)

    def test_one_child_has_no_grid(self, browse: Browse) -> None:
        shop = monday_shop(weeks=1, children=1)
        response = browse(shop).get(page(shop), {"vue": "grille"})
        assert "Jours de chacun" not in text(response) and 'name="days"' not in response.content.decode()

    @pytest.mark.parametrize(
        ("days", "words"),
        [
            ([], "Choisissez au moins un jour dans la grille."),
            (["x"], "Une des dates n’est pas lisible"),
            (["1:2026-02-30"], "Une des dates n’est pas lisible"),
            (["²:2026-12-01"], "Une des dates n’est pas lisible"),
            (["999999:2026-12-01"], "ne fait pas partie de vos filiations"),
            ([f"1:{dt.date(2026, 1, 1) + dt.timedelta(days=n)}" for n in range(401)], "400 dates au plus"),
        ],
    )
    def test_bad_input(self, browse: Browse, days: list[str], words: str) -> None:
        shop = monday_shop(weeks=1, children=2)
        response = browse(shop).post(page(shop), {"slot": shop.slot.pk, "vue": "grille", "days": days})
        assert response.status_code == 422 and words in text(response) and not Booking.objects.exists()

    def test_errors_keep_every_tick(self, browse: Browse) -> None:
        shop = monday_shop(weeks=1, children=2)
        rival = family(shop.tariff, days=[shop.days[0]])
        OpenDay.objects.filter(pk=shop.days[0].pk).update(capacity=1)
        chosen = boxes(shop, (0, 0), (0, 1), (1, 3))
        client = browse(shop)
        client.get(page(shop))
        rival.add()
        response = client.post(page(shop), {"slot": shop.slot.pk, "vue": "grille", "days": chosen})
        assert response.status_code == 409 and "Cette date est complète" in text(response)
        assert ticked(response, "days") == set(chosen[1:])

    def test_strangers_and_rows_of_others_are_left_out_of_the_page(self, browse: Browse) -> None:
        shop = monday_shop(weeks=1, children=2)
        other = FiliationFactory().beneficiary
        sent = {"slot": shop.slot.pk, "vue": "grille", "days": [f"{other.pk}:{shop.days[0].date}"], "pick": "show"}
        assert not ticked(browse(shop).post(page(shop), sent), "days")
