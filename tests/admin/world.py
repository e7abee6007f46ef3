"""A commune with one row in every table that it may reach, and the tables that belong to nobody."""

import datetime as dt
import uuid
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.db import transaction
from django.db.backends.postgresql.psycopg_any import DateRange, DateTimeTZRange
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import Commune, CommuneFile, SupportingDocument, User
from bookings.closures.models import Closure
from bookings.models import Absence, AbsenceDay, Booking, Controller, Hold, Ticket, TicketUse
from bookings.waiting.models import WaitingListEntry
from checkout.models import (
    CounterReceipt,
    DeclarationCorrection,
    Order,
    OrderLine,
    Payment,
    ProviderCheck,
    ProviderEvent,
    Refund,
    TillDeposit,
)
from checkout.papers.actions import issue
from checkout.papers.content import Content
from checkout.papers.models import InvoiceRun, Kind
from checkout.regie.models import Settlement, Statement, Verification
from checkout.vouchers.models import Voucher, VoucherScope, VoucherUse
from portal.common.bank_days import next_bank_day
from portal.common.formats import PARIS, today
from portal.outbox.models import Call, Email
from services.models import Category, SchoolHoliday
from tests.factories import (
    AbsenceRuleFactory,
    AccessProfileFactory,
    ActivityFactory,
    BusStopFactory,
    ClassroomFactory,
    CommuneFactory,
    DeadlineFactory,
    EnrolmentFactory,
    FiliationFactory,
    OpenDayFactory,
    PassActivityFactory,
    PassFactory,
    QuotientFactory,
    SchoolFactory,
    ServiceFactory,
    SlotFactory,
    SubscriptionFactory,
    TariffFactory,
    TermsFactory,
    UserFactory,
    agent_of,
)
from tests.regie.ledger import corrected
from wallet import actions as ledger
from wallet.closings.actions import totals_of
from wallet.closings.models import Closing
from wallet.corrections.models import Correction
from wallet.models import LOADED, Account, Entry, Movement, TopUpPack, Wallet
from wallet.withdrawals.models import TransferOrder, Withdrawal

PASSED = dt.timedelta(days=40)


@dataclass
class Town:
    """A commune, its agent, and one row of each table by the label that the admin knows."""

    commune: Commune
    agent: User
    rows: dict[str, Any] = field(default_factory=dict)

    @property
    def parent(self) -> User:
        return self.rows["accounts.user"]


@transaction.atomic
def town(name: str) -> Town:
    commune = CommuneFactory(name=name)
    place = Town(commune, agent_of(commune))
    service = ServiceFactory(commune=commune, name=f"Mairie de {name} – Cantine")
    profile = AccessProfileFactory(service=service, label=f"Résident de {name}")
    activity = ActivityFactory(service=service, name=f"Repas {name}")
    slot = SlotFactory(activity=activity, name=f"Midi {name}")
    tariff = TariffFactory(slot=slot, profile=profile)
    parent = UserFactory(commune=commune, pending=True, last_name=f"Parent-{name}")
    child = FiliationFactory(user=parent, beneficiary__last_name=f"Enfant-{name}").beneficiary
    day = OpenDayFactory(activity=activity)
    school = SchoolFactory(commune=commune, name=f"École de {name}")
    activity.schools.add(school)
    place.rows |= {
        "accounts.user": parent,
        "families.beneficiary": child,
        "families.incomequotient": QuotientFactory(user=parent),
        "families.enrolment": EnrolmentFactory(beneficiary=child, school=school),
        "services.school": school,
        "services.classroom": ClassroomFactory(school=school),
        "services.subscription": SubscriptionFactory(user=parent, profile=profile, pending=True),
        "services.service": service,
        "services.deadline": DeadlineFactory(commune=commune, name=f"Délai de {name}"),
        "services.accessprofile": profile,
        "services.activity": activity,
        "services.slot": slot,
        "services.tariffgrid": tariff.grid,
        "services.tariff": tariff,
        "services.openday": day,
    }
    booking = book(place)
    order, line = order_of(place, booking)
    absence = Absence.objects.create(
        beneficiary=child, service=service, kind="illness", refund="never", waiting_days=0, reported_by=parent
    )
    AbsenceDay.objects.create(absence=absence, booking=booking, refundable=False)
    place.rows["bookings.closure"] = Closure.objects.create(
        scope="activity",
        activity=activity,
        commune=commune,
        first_day=day.date,
        last_day=day.date,
        reason=f"Neige à {name}",
        made_by=place.agent,
        leaves_at=timezone.now() + PASSED,
    )
    place.rows |= {
        "bookings.booking": booking,
        "checkout.statement": statement_of(place),
        "checkout.declarationcorrection": DeclarationCorrection.objects.create(
            slot=slot,
            since=today(),
            nature="meal",
            before=[{"nature": "care", "meal_price": None, "lines": 1}],
            lines=1,
            families=1,
            reason=f"Saisie de {name}",
            by=place.agent,
        ),
        "bookings.absence": absence,
        "bookings.waitinglistentry": waiting(place, child),
        "checkout.order": order,
        **vouchers_of(place, order),
        "line": line,
    } | tickets_of(place)
    return place


def waiting(place: Town, child: Any, day: Any = None) -> WaitingListEntry:
    day = day or place.rows["services.openday"]
    return WaitingListEntry.objects.create(
        user=place.parent,
        beneficiary=child,
        open_day=day,
        slot=place.rows["services.slot"],
        profile=place.rows["services.accessprofile"],
        rank=WaitingListEntry.objects.filter(open_day=day).count() + 1,
    )


def book(place: Town, **kwargs: Any) -> Booking:
    day, slot = kwargs.pop("day", place.rows["services.openday"]), place.rows["services.slot"]
    start, end = (dt.datetime.combine(day.date, time, tzinfo=PARIS) for time in (slot.starts_at, slot.ends_at))
    hold = Hold.objects.create(user=place.parent, expires_at=timezone.now() + PASSED)
    return Booking.objects.create(
        **{
            "beneficiary": place.rows["families.beneficiary"],
            "open_day": day,
            "slot": slot,
            "hold": hold,
            "period": DateTimeTZRange(start, end, "[)"),
            "status": Booking.Status.BOOKED,
            "made_by": place.parent,
            "booked_at": timezone.now(),
            **kwargs,
        }
    )


def tickets_of(place: Town) -> dict[str, Any]:
    """A bus pass of the town's child that was used once."""
    activity = PassActivityFactory(service=place.rows["services.service"], name=f"Car {place.commune.name}")
    stop = BusStopFactory(line__activity=activity, line__name=f"Ligne {place.commune.name}")
    ticket = Ticket.objects.create(
        beneficiary=place.rows["families.beneficiary"],
        activity=activity,
        slot=PassFactory(activity=activity),
        stop=stop,
        hold=Hold.objects.create(user=place.parent, expires_at=timezone.now() + PASSED),
        valid=DateRange(today(), today() + PASSED, "[)"),
        status=Ticket.Status.BOOKED,
        made_by=place.parent,
        booked_at=timezone.now(),
    )
    use = TicketUse.objects.create(client_id=uuid.uuid4(), ticket=ticket, at=timezone.now(), by=place.agent)
    door = Controller.objects.create(user=UserFactory(), service=activity.service, activity=activity)
    return {
        "services.busline": stop.line,
        "bookings.ticket": ticket,
        "bookings.ticketuse": use,
        "bookings.controller": door,
    }


def order_of(place: Town, booking: Booking) -> tuple[Order, OrderLine]:
    order = Order.objects.create(user=place.parent, total=Decimal("7.90"))
    line = OrderLine.objects.create(
        order=order,
        booking=booking,
        commune=place.commune,
        label=booking.open_day.activity.name,
        detail=booking.slot.name,
        beneficiary_name=str(booking.beneficiary),
        date=booking.open_day.date,
        unit_price=Decimal("7.90"),
    )
    return order, line


def vouchers_of(place: Town, order: Order) -> dict[str, Any]:
    """A voucher that the town bears, of its service, taken once."""
    number = Voucher.objects.count()
    voucher = Voucher.objects.create(
        code=f"BON-{number}", label=f"Rentrée à {place.commune.name}", amount=Decimal(5), commune=place.commune
    )
    VoucherScope.objects.create(voucher=voucher, service=place.rows["services.service"])
    use = VoucherUse.objects.create(voucher=voucher, user=order.user, order=order, amount=Decimal(5), rank=1)
    return {"checkout.voucher": voucher, "checkout.voucheruse": use}


@transaction.atomic
def shared_rows(place: Town) -> dict[str, Any]:
    """One row of each table of the agglomération."""
    wallet = ledger.wallet_of(place.parent)
    ledger.adjust(user=place.parent, amount=Decimal("20"), reason="Dépôt", key="world", by=place.agent)
    payment = Payment.objects.create(
        order=place.rows["checkout.order"], provider="demo", amount=Decimal("7.90"), status=Payment.Status.STARTED
    )
    late = Payment.objects.create(
        order=place.rows["checkout.order"],
        provider="demo",
        amount=Decimal("7.90"),
        status=Payment.Status.CREDITED,
        ended_at=timezone.now(),
    )
    refund = Refund.objects.create(
        payment=late,
        amount=Decimal("7.90"),
        reason="Erreur",
        movement=Movement.objects.get(key=f"{LOADED}world"),
        by=place.agent,
    )
    return {
        "checkout.refund": refund,
        "checkout.tilldeposit": TillDeposit.objects.create(
            means="cash", amount=Decimal(5), number="B-1", movement=refund.movement, by=place.agent
        ),
        "checkout.counterreceipt": CounterReceipt.objects.create(payment=late, number="W-1", by=place.agent),
        "accounts.commune": place.commune,
        "accounts.staffrole": place.agent.staff_roles.get(),
        "accounts.terms": TermsFactory(published_at=timezone.now() + PASSED),  # a draft: what is published stays
        "services.category": Category.objects.first(),
        "services.absencerule": AbsenceRuleFactory(),
        "services.schoolholiday": SchoolHoliday.objects.create(
            name="Hiver", first_day=dt.date(2027, 2, 6), last_day=dt.date(2027, 2, 22)
        ),
        "wallet.wallet": wallet,
        "wallet.withdrawal": Withdrawal.objects.create(
            user=place.parent, amount=Decimal("5"), holder="Ada Roux", iban="FR7630006000011234567890189"
        ),
        "wallet.transferorder": TransferOrder.objects.create(
            file="<x/>", total=Decimal("5"), count=1, execution_date=next_bank_day(today()), created_by=place.agent
        ),
        "wallet.account": wallet.account,
        "wallet.movement": Movement.objects.get(key=f"{LOADED}world"),
        "wallet.entry": Entry.objects.filter(movement__key=f"{LOADED}world").first(),
        "wallet.closing": Closing.objects.get(),
        "checkout.verification": Verification.objects.create(
            started_at=timezone.now(), ended_at=timezone.now(), count=0, differences=[], entries=1
        ),
        "wallet.correction": Correction.objects.create(
            kind="wallet", wallet=wallet, amount=Decimal(3), reason="Erreur de caisse", proposed_by=place.agent
        ),
        "checkout.settlement": Settlement.objects.create(
            provider="demo",
            name="a.csv",
            sha256="0" * 64,
            lines=0,
            gross=0,
            fees=0,
            differences=[],
            imported_by=place.agent,
        ),
        "wallet.topuppack": TopUpPack.objects.create(amount=Decimal("25")),
        "checkout.payment": payment,
        "checkout.providerevent": ProviderEvent.objects.create(
            provider="demo", payment=payment, source="test", raw="x"
        ),
        "checkout.providercheck": ProviderCheck.objects.create(
            provider="demo", configured=True, answers=True, sentence="Elle répond.", asked_by=place.agent
        ),
        **papers_of(place, wallet),
        "outbox.email": Email.objects.create(key="world", to="a@exemple.fr", subject="Bonjour", body="…"),
        "outbox.call": Call.objects.create(key="world", name="test", payload={"payment": 1}),
    }


def closed(place: Town) -> Closing:
    """A day of long ago, on which the first movement was written."""
    date = dt.date(2020, 1, 6)
    corrected(date, "world:first", bank_fees="1.00", bank="-1.00")
    totals = totals_of(date, date)
    row = Closing(
        kind="day", first_day=date, last_day=date, movements=1, turnover=1, totals=totals, closed_by=place.agent
    )
    row.save()
    return row


def statement_of(place: Town) -> Statement:
    """One euro that was paid over for days of long ago."""
    if not Closing.objects.exists():
        closed(place)
    revenue = ledger.revenue_code(place.commune)
    movement = ledger.post(
        kind=Movement.Kind.REMITTANCE,
        key=f"world:{place.commune.pk}",
        label="Reversement",
        amounts={revenue: Decimal(-1), ledger.REMITTING: Decimal(1)},
        by=place.agent,
    )
    return Statement.objects.create(
        account=Account.objects.get(code=revenue),
        commune=place.commune,
        period=DateRange(dt.date(2020, 1, 1), dt.date(2020, 1, 6), "[)"),
        gross=1,
        cancelled=0,
        vouchers=0,
        fees=0,
        net=1,
        rows=[],
        movement_id=movement,
        issued_by=place.agent,
    )


def papers_of(place: Town, wallet: Wallet) -> dict[str, Any]:
    """A paper of the town's parent, its series, its régie and a month's run."""
    content = Content(
        kind=Kind.RECEIPT,
        user=place.parent,
        subject=f"order:{place.rows['checkout.order'].pk}",
        amount=Decimal("7.90"),
        title="Reçu",
        links={"order": place.rows["checkout.order"]},
    )
    paper = issue(content=content, by=None)
    return {
        "checkout.document": paper,
        "checkout.series": paper.series,
        "checkout.regie": paper.series.regie,
        "checkout.invoicerun": InvoiceRun.objects.create(month=today().replace(day=1), families=1),
    }


def document_of(user: User) -> SupportingDocument:
    from django.core.files.base import ContentFile

    return SupportingDocument.objects.create(
        user=user,
        kind="home",
        file=ContentFile(b"%PDF-1.4 facture", name="facture.pdf"),
        name="facture.pdf",
        content_type="application/pdf",
        size=16,
    )


def shared_family(one: Town, other: Town) -> User:
    """A parent who lives in one commune and has asked the other for a service too: both hold the file."""
    user = UserFactory(commune=one.commune, pending=True)
    FiliationFactory(user=user)
    SubscriptionFactory(user=user, profile=other.rows["services.accessprofile"], pending=True)
    CommuneFile.objects.create(user=user, commune=other.commune, reason=CommuneFile.Reason.REQUEST)
    return user


def url(label: str, page: str, *args: Any) -> str:
    return reverse(f"admin:{label.replace('.', '_')}_{page}", args=args)


def client_of(user: User | None) -> Client:
    client = Client()
    if user is not None:
        client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


def registered() -> set[str]:
    return {model._meta.label_lower for model in admin.site._registry}


def texts(response: Any) -> list[str]:
    """The messages that the next page shows."""
    return [str(message) for message in response.context["messages"]]


def form_values(response: Any) -> dict[str, Any]:
    """What a browser would post back from an admin page: its form and its inlines, as they stand."""
    context = response.context
    forms = [context["adminform"].form]
    values: dict[str, Any] = {}
    for inline in context["inline_admin_formsets"]:
        forms += [inline.formset.management_form, *inline.formset.forms]
    for form in forms:
        for bound in form:
            value = bound.value()
            widget = bound.field.widget
            for name, part in _posted(bound.html_name, value, widget):
                values[name] = part
    return values


def _posted(name: str, value: Any, widget: Any) -> list[tuple[str, Any]]:
    if hasattr(widget, "widgets"):
        parts = widget.decompress(value)
        return [
            (f"{name}{suffix}", box.format_value(part) or "")
            for suffix, box, part in zip(widget.widgets_names, widget.widgets, parts, strict=True)
        ]
    if value is None or value is False:
        return []
    if value is True:
        return [(name, "on")]
    if isinstance(value, list):
        return [(name, [str(each) for each in value])]
    return [(name, str(value))]
