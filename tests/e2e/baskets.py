"""The parent of the demonstration with a cart that is ready to be paid: where the tests of faults start from."""

import datetime as dt
from decimal import Decimal

from django.db.models import F, QuerySet
from django.utils import timezone

from accounts.models import Address, Terms, User
from bookings.actions import Wish, release_expired_holds
from bookings.models import Booking, Hold
from checkout.actions import accept_sale_terms, add_to_cart, choose_address
from checkout.models import Order, Payment
from families.models import Beneficiary
from services.models import Activity, OpenDay, Slot, Subscription
from wallet.actions import wallet_of

PARENT = "parent@demo.example"  # Claire Dupont: Louane and Théo, 50,00 €, Rosières at 7,90 € and Aiguilhe
PAYMENT_PAGE = "/commande/paiement/"


def parent() -> User:
    return User.objects.get(email=PARENT)


def louane() -> Beneficiary:
    return Beneficiary.objects.get(first_name="Louane", last_name="Dupont")


def mercredis() -> Activity:
    return Activity.objects.get(slug="mercredis")


def free_days(count: int) -> list[OpenDay]:
    """Wednesdays with places, not the first two: their deadline may pass while the test runs."""
    days = OpenDay.objects.filter(activity=mercredis(), taken__lt=F("capacity"))
    return list(days.bookable(at=timezone.now()).order_by("date")[2 : 2 + count])


def fill_cart(count: int = 4) -> list[OpenDay]:
    """Put Louane's mornings of that many Wednesdays into the cart and answer the steps: only 05 Paiement is left."""
    user, activity, days = parent(), mercredis(), free_days(count)
    add_to_cart(
        user=user,
        activity=activity,
        slot=Slot.objects.get(activity=activity, name="Matin"),
        subscription=Subscription.objects.of(user).get(profile__service=activity.service),
        wishes=[Wish(louane().pk, day.date) for day in days],
    )
    choose_address(user=user, address=Address.objects.get(user=user))
    accept_sale_terms(user=user, terms=Terms.objects.current(Terms.Kind.SALE))
    return days


def let_the_time_run_out(*, swept: bool) -> None:
    """The half hour of the cart's places is over, and the sweeper has (or has not) come round since."""
    Hold.objects.filter(user=parent()).update(expires_at=timezone.now() - dt.timedelta(minutes=5))
    if swept:
        assert release_expired_holds() > 0


def others_take(day: OpenDay) -> None:
    """Other families have every place that is left on that day."""
    OpenDay.objects.filter(pk=day.pk).update(capacity=F("taken"), by_hand=True)


# --- What is so afterwards -------------------------------------------------------------------------------------------


def balance() -> Decimal:
    return wallet_of(parent()).balance


def orders() -> QuerySet[Order]:
    """What was ordered since; the money in the wallet came over a counter."""
    return Order.objects.of(parent()).exclude(payments__provider__in=Payment.COUNTER)


def booked() -> int:
    """Places that are paid for."""
    return Booking.objects.booked().filter(made_by=parent()).count()


def payments() -> list[tuple[str, str]]:
    """Provider and state of each payment, oldest first."""
    since = Payment.objects.filter(order__user=parent()).exclude(provider__in=Payment.COUNTER)
    return list(since.order_by("pk").values_list("provider", "status"))


def nothing_happened() -> bool:
    """No order, no place that is paid for, no cent gone."""
    return (orders().count(), booked(), balance()) == (0, 0, Decimal("50.00"))


def paid_once(by: str = "wallet") -> bool:
    """One paid order of four mornings, 31,60 € taken once, and by these means."""
    rest = Decimal("18.40") if by == Payment.WALLET else Decimal("50.00")
    captured = [provider for provider, status in payments() if status == Payment.Status.CAPTURED]
    return list(orders().values_list("status", "total")) == [(Order.Status.PAID, Decimal("31.60"))] and (
        booked(),
        balance(),
        captured,
    ) == (4, rest, [by])
