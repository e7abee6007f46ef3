"""A family that can book and pay: what most tests of bookings, cart and payment start from."""

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from accounts.models import Terms, User
from bookings.actions import Wish
from checkout.actions import Added, Means, accept_sale_terms, add_to_cart, choose_address, pay
from checkout.actions.payment import Started
from checkout.models import Cart
from families.models import Beneficiary
from portal.common.formats import today
from services.models import Activity, OpenDay, Slot, Subscription, Tariff
from tests.factories import (
    AddressFactory,
    FiliationFactory,
    OpenDayFactory,
    SubscriptionFactory,
    TariffFactory,
    TermsFactory,
    UserFactory,
)
from wallet.actions import adjust, wallet_of


@dataclass
class Shop:
    """An activity with open days, and a parent with children, a validated access and money."""

    tariff: Tariff
    user: User
    children: list[Beneficiary]
    subscription: Subscription
    days: list[OpenDay] = field(default_factory=list)

    @property
    def slot(self) -> Slot:
        return self.tariff.slot

    @property
    def activity(self) -> Activity:
        return self.tariff.slot.activity

    def wishes(
        self, days: Sequence[OpenDay] | None = None, children: Collection[Beneficiary] | None = None
    ) -> list[Wish]:
        """Each child on each day."""
        return [
            Wish(child.pk, day.date)
            for day in (self.days if days is None else days)
            for child in (self.children if children is None else children)
        ]

    def add(self, days: Sequence[OpenDay] | None = None, children: Collection[Beneficiary] | None = None) -> Added:
        return add_to_cart(
            user=self.user,
            activity=self.activity,
            slot=self.slot,
            subscription=self.subscription,
            wishes=self.wishes(days, children),
        )

    @property
    def cart(self) -> Cart:
        return Cart.objects.live().get(user=self.user)

    def answer_steps(self) -> Cart:
        """Steps 03 and 04."""
        choose_address(user=self.user, address=AddressFactory(user=self.user))
        accept_sale_terms(user=self.user, terms=TermsFactory(kind=Terms.Kind.SALE))
        return self.cart

    def pay(self, means: Means, total: Decimal | str) -> Started:
        # A second try finds the answers that its order was placed with.
        cart = self.answer_steps() if self.cart.status == Cart.Status.OPEN else self.cart
        return pay(user=self.user, cart_id=cart.pk, means=means, shown_total=Decimal(total))

    def credit(self, amount: Decimal | str) -> None:
        adjust(user=self.user, amount=Decimal(amount), reason="Dépôt", key=f"t:{self.user.pk}:{amount}", by=self.user)

    @property
    def balance(self) -> Decimal:
        return wallet_of(self.user).balance

    def fresh(self, index: int = 0) -> OpenDay:
        """A day of the shop as the database has it now."""
        return OpenDay.objects.get(pk=self.days[index].pk)


def open_shop(
    *, days: int = 4, children: int = 1, capacity: int = 20, credit: str = "0", price: str = "7.90", **tariff: object
) -> Shop:
    """A parent with `children` who may book `days` days of an activity at `price` euros, `credit` euros in the wallet."""
    grid: Tariff = TariffFactory(price=Decimal(price), **tariff)
    shop = family(grid, children=children, credit=credit)
    first = today() + dt.timedelta(days=30)
    shop.days = [
        OpenDayFactory(activity=grid.slot.activity, capacity=capacity, date=first + dt.timedelta(days=index))
        for index in range(days)
    ]
    return shop


def family(tariff: Tariff, *, children: int = 1, credit: str = "0", days: Sequence[OpenDay] = ()) -> Shop:
    """Another parent with a validated access to the same tariff."""
    user = UserFactory()
    people = [FiliationFactory(user=user).beneficiary for _index in range(children)]
    shop = Shop(tariff, user, people, SubscriptionFactory(user=user, profile=tariff.profile), list(days))
    wallet_of(user)
    if Decimal(credit):
        shop.credit(credit)
    return shop
