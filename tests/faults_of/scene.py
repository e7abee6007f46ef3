"""The place of the faults: a town with a row in each table that has a guard, as it would be committed."""

import datetime as dt
import uuid
from decimal import Decimal

from django.utils import timezone

from accounts.models import Consent
from bookings.models import (
    AbsenceProof,
    Booking,
    CalendarFeed,
    Change,
    ClosedBooking,
    ClosedDay,
    SavedList,
    SavedListRow,
    TicketUse,
    TicketUseReview,
)
from bookings.waiting.models import WaitingListEntry
from checkout.models import Order, OrderLine
from checkout.regie import settlements
from checkout.vouchers.models import CartVoucher, Voucher, VoucherShare, VoucherUse
from services.models import OpenDay
from tests.admin.world import Town, book, document_of, shared_rows, town
from tests.factories import AddressFactory, BeneficiaryFactory, OpenDayFactory, UserFactory
from tests.guards import sql
from tests.shop import open_shop


def scene() -> Town:
    place = town("Aiguilhe")
    place.rows |= shared_rows(place)
    place.rows["checkout.orderline"] = place.rows["line"]
    fill_a_cart(place)
    place.rows["checkout.vouchershare"] = share_out(place, "5.00")
    close_a_day(place)
    change_a_booking(place)
    let_in(place)
    what_parents_keep(place)
    explain_twice(place)
    # Histories that are written with a change only have a row too.
    Voucher.objects.filter(pk=place.rows["checkout.voucher"].pk).update(label="Rentrée des classes")
    OpenDay.objects.filter(pk=place.rows["services.openday"].pk).update(capacity=21)
    WaitingListEntry.objects.update(priority=3, moved_by=place.agent, moved_at=timezone.now(), moved_reason="x")
    sql("SET CONSTRAINTS ALL IMMEDIATE")  # as committed: ALTER TABLE and TRUNCATE wait for no pending trigger
    sql("SET CONSTRAINTS ALL DEFERRED")
    return place


def explain_twice(place: Town) -> None:
    """A provider's file of which one line agrees with nothing."""
    row = settlements.post(provider="demo", name="b.csv", content=b"reference;montant\nX;1\n", by=place.agent)
    settlements.explain(settlement=row, words="Essai", by=place.agent)
    settlements.complete(settlement=row, words="Ligne 2", by=place.agent)


def fill_a_cart(place: Town) -> None:
    shop = open_shop(days=1)
    shop.add()
    place.rows["checkout.cart"] = shop.cart
    place.rows["checkout.cartline"] = shop.cart.lines.get()
    place.rows["checkout.cartvoucher"] = CartVoucher.objects.create(
        cart=shop.cart, voucher=place.rows["checkout.voucher"]
    )


def share_out(place: Town, *amounts: str, price: str = "7.90") -> VoucherShare:
    """Somebody's order of one line from which the place's voucher takes these shares; returns the last."""
    user = UserFactory()
    total = sum(map(Decimal, amounts), Decimal(0))
    order = Order.objects.create(user=user, total=0)
    line = OrderLine.objects.create(
        order=order, kind="fee", commune=place.commune, label="x", unit_price=Decimal(price), discount=total
    )
    use = VoucherUse.objects.create(
        voucher=place.rows["checkout.voucher"], user=user, order=order, amount=total, rank=1
    )
    shares = [VoucherShare(line=line, use=use, amount=Decimal(amount)) for amount in amounts]
    return VoucherShare.objects.bulk_create(shares)[-1]


def close_a_day(place: Town) -> None:
    closure, day = place.rows["bookings.closure"], place.rows["services.openday"]
    ClosedDay.objects.create(closure=closure, open_day=day, was_by_hand=False)
    ClosedBooking.objects.create(closure=closure, booking=place.rows["bookings.booking"])


def change_a_booking(place: Town) -> None:
    child, day = BeneficiaryFactory(), place.rows["services.openday"]
    other = OpenDayFactory(activity=day.activity, date=day.date + dt.timedelta(days=1))
    rows = [book(place, beneficiary=child, day=each) for each in (day, other)]
    Booking.objects.filter(pk=rows[0].pk).update(status="cancelled", ended_at=timezone.now())
    Change.objects.create(before=rows[0], after=rows[1], by=place.parent)


def let_in(place: Town) -> None:
    """With a ticket that had been used: a phone without network did not know."""
    use = TicketUse.objects.create(
        client_id=uuid.uuid4(),
        ticket=place.rows["bookings.ticket"],
        at=timezone.now(),
        by=place.agent,
        problem="used",
        offline=True,
    )
    TicketUseReview.objects.create(use=use, note="Vu", by=place.agent)


def what_parents_keep(place: Town) -> None:
    user = place.parent
    document_of(user)
    AddressFactory(user=user, is_default=True)
    Consent.objects.create(user=user, terms=place.rows["accounts.terms"])
    CalendarFeed.objects.create(user=user)
    found = SavedList.objects.create(
        user=user,
        name="Le midi",
        slot=place.rows["services.slot"],
        profile=place.rows["services.accessprofile"],
    )
    SavedListRow.objects.create(saved_list=found, beneficiary=place.rows["families.beneficiary"], weekdays=[2])
    AbsenceProof.objects.create(
        absence=place.rows["bookings.absence"], file="absences/x", name="x.pdf", content_type="x", size=1, sent_by=user
    )
