"""What the booking page adds up by itself, before anything is sent: at once, and the same as the cart will say."""

import datetime as dt
import random
import re
from collections.abc import Callable, Collection
from decimal import Decimal

import pytest
from django.db import transaction
from django.db.backends.postgresql.psycopg_any import NumericRange
from django.utils import timezone
from playwright.sync_api import Page, expect

from accounts.models import Terms, User
from bookings.actions import Wish
from checkout.actions import Means, accept_sale_terms, add_to_cart, choose_address, pay
from families.models import Beneficiary
from portal.common.formats import euros
from services.models import Activity, Deadline, OpenDay, Subscription, Tariff, TariffGrid
from tests.e2e.baskets import PARENT
from tests.e2e.steps import Visitor
from tests.factories import AddressFactory, FiliationFactory
from tests.shop import Shop

Visit = Callable[..., Visitor]
PAGE = "/services/aiguilhe-restauration-scolaire/repas/"
MIXES = 12


def canteen() -> Shop:
    """The family of the demonstration at the canteen of Aiguilhe, with a third child, and money."""
    user = User.objects.get(email=PARENT)
    third = Beneficiary.objects.of(user).latest("birth_date")
    FiliationFactory(
        user=user,
        beneficiary__first_name="Zoé",
        beneficiary__last_name="Dupont",
        beneficiary__birth_date=third.birth_date + dt.timedelta(days=400),
    )
    access = Subscription.objects.of(user).approved().get(profile__service__slug="aiguilhe-restauration-scolaire")
    tariff = Tariff.objects.get(slot__activity__slug="repas", profile=access.profile)
    days = OpenDay.objects.bookable(at=timezone.now()).filter(activity=tariff.slot.activity)
    return Shop(
        tariff,
        user,
        list(Beneficiary.objects.of(user).order_by("birth_date")),
        access,
        [row for row in days if row.free > 9][:12],
    )


def by_rank(shop: Shop, basis: str) -> None:
    """1,90 € the first, 1,30 € the second, 0,80 € the others."""
    TariffGrid.objects.filter(pk=shop.tariff.grid_id).update(rank_basis=basis)
    Tariff.objects.filter(grid=shop.tariff.grid_id).exclude(pk=shop.tariff.pk).delete()
    Tariff.objects.filter(pk=shop.tariff.pk).update(rank=NumericRange(1, 2), price=Decimal("1.90"))
    for first, after, price in ((2, 3, "1.30"), (3, None, "0.80")):
        row = Tariff.objects.get(pk=shop.tariff.pk)
        row.pk, row.rank, row.price = None, NumericRange(first, after), Decimal(price)
        row.save(force_insert=True)


def late(shop: Shop, count: int, **rule: object) -> None:
    """The first days are past their deadline, and may be booked late under this rule."""
    last = Deadline.objects.create(name="Le jour même", basis="days", offset=0, time=dt.time(23))
    main = Deadline.objects.create(name="Avec retard", basis="days", offset=1, time=dt.time(12), late=last, **rule)
    Activity.objects.filter(pk=shop.activity.pk).update(booking_deadline=main, cancel_deadline=last)
    shop.tariff.slot.activity.refresh_from_db()
    now = timezone.now()
    OpenDay.objects.filter(pk__in=[day.pk for day in shop.days[:count]]).update(
        book_until=now - dt.timedelta(hours=1), late_until=now + dt.timedelta(days=1)
    )


def cart_total(shop: Shop, wishes: Collection[Wish]) -> str:
    """What the cart would say, and nothing kept of it."""
    with transaction.atomic():
        added = add_to_cart(
            user=shop.user,
            activity=shop.activity,
            slot=shop.slot,
            subscription=shop.subscription,
            wishes=sorted(wishes),
        )
        transaction.set_rollback(True)
    return euros(added.total)


def tick(page: Page, wishes: Collection[Wish]) -> None:
    page.evaluate(
        """(values) => {
          document.querySelectorAll(".months input").forEach((box) => { box.checked = values.includes(box.value); });
          document.querySelector("form.book").dispatchEvent(new Event("change", { bubbles: true }));
        }""",
        [f"{each.beneficiary_id}:{each.date}" for each in wishes],
    )


@pytest.mark.parametrize("basis", ["present", "enrolled", "declared", "none"])
def test_the_live_total_is_that_of_the_cart(visit: Visit, basis: str) -> None:
    """Any mix of children, days and late days, some booked before: the total follows without a request."""
    shop = canteen()
    late(shop, 4, surcharge="added", surcharge_amount=Decimal("1.00"), free_times=1, free_period="month")
    if basis != "none":
        by_rank(shop, basis)
    shop.tariff.refresh_from_db()
    before = shop.add(days=shop.days[3:8:2], children=shop.children[1:2])
    choose_address(user=shop.user, address=AddressFactory(user=shop.user))
    accept_sale_terms(user=shop.user, terms=Terms.objects.current(Terms.Kind.SALE))
    pay(user=shop.user, cart_id=shop.cart.pk, means=Means.WALLET, shown_total=before.total)
    who = visit(PARENT)
    who.open(PAGE)
    page = who.page
    page.get_by_role("button", name="Jours de chacun").click()
    page.wait_for_load_state("networkidle")  # the tab's icon comes late
    open_boxes = set(page.locator(".months input[name=days]").evaluate_all("all => all.map(box => box.value)"))
    free = [each for each in shop.wishes() if f"{each.beneficiary_id}:{each.date}" in open_boxes]
    assert len(free) == 3 * 12 - 3
    chance = random.Random(f"{basis} 2026")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    total = page.locator("[data-sum=total]")
    for size in (1, 2, 3, *(chance.randint(2, len(free)) for _mix in range(MIXES))):
        wishes = chance.sample(free, size)
        tick(page, wishes)
        assert total.inner_text() == cart_total(shop, wishes), wishes
    assert not asked


@pytest.mark.parametrize("javascript", [True, False], ids=["js", "sans-js"])
def test_late_days_say_their_price_before_they_are_ticked(visit: Visit, javascript: bool) -> None:
    """Twice the price after the deadline: the price beside the name and in the other squares stays the usual one."""
    shop = canteen()
    late(shop, 2, surcharge="times", surcharge_amount=Decimal(2))
    who = visit(PARENT, javascript=javascript)
    who.open(PAGE)
    page = who.page
    expect(page.locator("[data-slot-price]").first).to_have_text("3,80\u00a0€")
    expect(page.locator("[data-people] [data-price]").first).to_have_text("3,80\u00a0€")
    expect(page.locator(".months em")).to_have_text(["7,60\u00a0€"] * 2)
    first = page.locator(".months input").first
    expect(first).to_have_attribute("aria-label", re.compile("7,60\u00a0€, réservation tardive"))


def test_the_second_late_day_says_that_it_costs_more(visit: Visit) -> None:
    """« sauf la première fois du mois »: each late square says what it would cost with what is ticked."""
    shop = canteen()
    late(shop, 2, surcharge="added", surcharge_amount=Decimal("1.00"), free_times=1, free_period="year")
    who = visit(PARENT)
    who.open(PAGE)
    page = who.page
    page.get_by_role("checkbox", name=re.compile("^Louane|Louane Dupont")).first.check()
    prices, total = page.locator(".months em"), page.locator("[data-sum=total]")
    expect(prices).to_have_text(["3,80\u00a0€"] * 2)
    page.locator(".months input").first.check()
    expect(prices).to_have_text(["3,80\u00a0€", "4,80\u00a0€"])
    expect(total).to_have_text("3,80\u00a0€")
    page.locator(".months input").nth(1).check()
    expect(total).to_have_text("8,60\u00a0€")
