"""Every address of the site × everybody who might come (law 6). The administration has its own walk in tests/admin.

A new address fails here until somebody has said who may see it.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone

from accounts.models import SupportingDocument, Terms, User
from accounts.reminders import reminders_key
from bookings.feed_actions import open_feed
from bookings.list_actions import save_list
from bookings.lists import SavedList
from bookings.models import Absence, AbsenceDay, AbsenceProof, Booking, Ticket
from bookings.waiting.models import WaitingListEntry
from checkout.actions import Means
from checkout.models import Order, Payment
from checkout.papers.models import Document
from checkout.papers.receipts import issue_receipt
from portal.demo.models import BankPayment, Mail
from services.models import OpenDay, Subscription
from tests.factories import (
    AddressFactory,
    ControllerFactory,
    FiliationFactory,
    SubscriptionFactory,
    TermsFactory,
    UserFactory,
    agent_of,
)
from tests.shop import open_shop
from tests.tickets.kiosk import buy_ticket
from tests.waiting import wait

pytestmark = pytest.mark.django_db

ROLES = ("anonymous", "pending", "owner", "stranger", "agent", "operator")

# What each role gets on GET, in the order of ROLES. 302 to the log-in for anonymous, to « Mon compte » for pending.
PUBLIC = (200, 200, 200, 200, 200, 200)
OWN_PAGE = (302, 302, 200, 200, 200, 200)  # everybody's own, once validated
LOBBY = (302, 200, 200, 200, 200, 200)  # everybody's own, validated or not
OWNERS = (302, 302, 200, 404, 404, 404)  # one person's thing
ACTION = (302, 302, 405, 405, 405, 405)  # POST only
MOVED = (302, 302, 302, 302, 302, 302)
NOT_HERE = (404, 404, 404, 404, 404, 404)

EXPECTED: dict[str, tuple[int, ...]] = {
    "home": PUBLIC,
    "health": PUBLIC,
    "terms": PUBLIC,
    "simulation": PUBLIC,
    "activities": PUBLIC,
    "communes": PUBLIC,
    "commune": PUBLIC,
    "category": PUBLIC,
    "service": PUBLIC,
    "cart": PUBLIC,
    "gallery": PUBLIC,
    "demo_mailbox": PUBLIC,
    "demo_mail": PUBLIC,
    "demo_bank": NOT_HERE,  # without the platform's signature
    "demo_bank_refund": (405, 405, 405, 405, 405, 405),
    "demo_bank_status": PUBLIC,  # the reference is the key
    # Signing up and in: those who are in already are sent on.
    "account_signup": (200, 302, 302, 302, 302, 302),
    "account_login": (200, 302, 302, 302, 302, 302),
    "account_email_verification_sent": PUBLIC,
    "account_confirm_email": PUBLIC,  # a wrong key says so
    "account_inactive": PUBLIC,
    "account_logout": (302, 200, 200, 200, 200, 200),
    "account_reset_password": PUBLIC,
    "account_reset_password_done": PUBLIC,
    "account_reset_password_from_key": PUBLIC,
    "account_reset_password_from_key_done": PUBLIC,
    "signup_filiations": (302, 200, 302, 302, 302, 302),
    "signup_filiation_end": (302, 405, 405, 405, 405, 405),
    "signup_services": (302, 200, 302, 302, 302, 302),
    "signup_done": (302, 302, 302, 302, 302, 302),
    # Mon compte
    "account_home": LOBBY,
    "personal_details": LOBBY,  # the first step, to be corrected while one waits
    "account_change_password": LOBBY,
    "addresses": OWN_PAGE,
    "address_add": OWN_PAGE,
    "address_edit": OWNERS,
    "address_default": ACTION,
    "address_delete": OWNERS,
    "documents": LOBBY,  # a proof helps to be validated
    # The agent's commune holds the owner's file: a proof is there to be looked at by staff.
    "document_download": (302, 404, 200, 404, 200, 200),
    "document_delete": (302, 404, 200, 404, 404, 404),
    "reminders_stop": PUBLIC,  # the address is the key
    "filiations": OWN_PAGE,
    "quotient": OWN_PAGE,
    "quotient_withdraw": ACTION,
    "filiation_add": OWN_PAGE,
    "filiation_add_self": ACTION,
    "filiation_edit": OWNERS,
    "filiation_school": OWNERS,
    "filiation_end": OWNERS,
    "subscriptions": OWN_PAGE,
    "subscription_again": ACTION,
    "subscription_renew": ACTION,
    # Booking and paying
    "activity": (302, 302, 200, 302, 302, 302),  # without access: to the service's page
    "waiting_join": (302, 302, 200, 302, 302, 302),  # without access: to the service's page
    "saved_lists": OWN_PAGE,
    "saved_list": OWNERS,
    "saved_list_delete": OWNERS,
    "saved_list_from_cart": ACTION,
    "waiting_lists": OWN_PAGE,
    "waiting_offer": OWNERS,
    "waiting_leave": (302, 302, 200, 404, 404, 404),
    "cart_remove": ACTION,
    "cart_recover": ACTION,
    "cart_prolong": ACTION,
    "order_abandon": ACTION,
    "voucher_enter": ACTION,
    "voucher_remove": ACTION,
    "vouchers": OWN_PAGE,
    "checkout_summary": (302, 302, 200, 302, 302, 302),  # without a cart: to the cart's page
    "checkout_login": MOVED,
    "checkout_address": (302, 302, 200, 302, 302, 302),
    "checkout_terms": (302, 302, 200, 302, 302, 302),
    "checkout_payment": (302, 302, 200, 302, 302, 302),
    "payment_departure": (302, 302, 302, 404, 404, 404),  # nothing waits to be sent: to the order
    "payment_return": MOVED,  # unsigned: to « Mes commandes »
    "payment_notification": (405, 405, 405, 405, 405, 405),
    "orders": OWN_PAGE,
    "order_receipt": ACTION,
    "papers": OWN_PAGE,
    "paper": OWNERS,
    "certificate": OWN_PAGE,
    "order": OWNERS,
    "reservations": OWN_PAGE,
    "reservation": OWNERS,
    "reservation_change": OWNERS,
    "feed": OWN_PAGE,
    "feed_file": PUBLIC,  # the address is the key
    "absences": OWN_PAGE,
    "absence_report": OWN_PAGE,
    "absence": OWNERS,
    "absence_withdraw": ACTION,
    "absence_proof": OWNERS,  # the service's staff reads it in the administration
    "reservations_cancel": (302, 302, 200, 404, 404, 404),
    "tickets": OWN_PAGE,
    "tickets_worker": OWN_PAGE,
    "ticket": OWNERS,
    "ticket_pdf": OWNERS,
    "ticket_cancel": OWNERS,
    # At the door: staff, for the activities of their communes, and controllers (below).
    "ticket_checks": (302, 302, 404, 404, 200, 200),
    "ticket_check_worker": (302, 302, 404, 404, 200, 200),
    "ticket_check": (302, 302, 404, 404, 200, 200),
    "ticket_checklist": (302, 302, 404, 404, 200, 200),
    "ticket_passages": ACTION,
    "wallet": OWN_PAGE,
    "wallet_movements": OWN_PAGE,
    "wallet_statement": OWN_PAGE,
    "wallet_withdraw": (302, 302, 200, 302, 302, 302),  # nothing to take back: to the wallet
    "wallet_withdraw_check": MOVED,  # nothing typed yet: to the form, or to the wallet
    "wallet_withdraw_cancel": ACTION,
    "wallet_deposit": MOVED,  # without an amount: to the wallet
}


@dataclass
class World:
    users: dict[str, User | None]
    addresses: dict[str, str]


def named_patterns(resolver: URLResolver | None = None) -> set[str]:
    found: set[str] = set()
    for pattern in (resolver or get_resolver()).url_patterns:
        if isinstance(pattern, URLResolver):
            if not str(pattern.pattern).startswith("admin/"):
                found |= named_patterns(pattern)
        elif isinstance(pattern, URLPattern):
            assert pattern.name, f"an address without a name: {pattern.pattern}"
            found.add(pattern.name)
    return found


@pytest.fixture
def world() -> World:
    """A family that has one of everything, and everybody else."""
    shop = open_shop(days=2, credit="100")
    shop.add(days=shop.days[:1])
    order = shop.pay(Means.WALLET, "7.90").order
    ticket = buy_ticket(shop)
    shop.add(days=shop.days[1:])
    shop.answer_steps()
    commune = shop.activity.service.commune
    owner = shop.user
    owner.commune_files.create(commune=commune, reason="resident")  # type: ignore[attr-defined]
    document = SupportingDocument.objects.create(
        user=owner,
        kind="home",
        file=ContentFile(b"%PDF-1.7", "x"),
        name="a.pdf",
        content_type="application/pdf",
        size=8,
    )
    address = AddressFactory(user=owner)
    for kind in Terms.Kind:
        TermsFactory(kind=kind)
    refused = SubscriptionFactory(user=owner, refused=True)
    mail = Mail.objects.create(to="x@exemple.fr", subject="x", body="x", message_id="x")
    bank = BankPayment.objects.create(
        reference="R", amount=Decimal(1), label="x", return_url="http://127.0.0.1/", notify_url="http://127.0.0.1/"
    )
    given_up = Payment.objects.create(
        order=order, provider="demo", amount=Decimal(1), status=Payment.Status.ABANDONED, ended_at=timezone.now()
    )
    filiation = owner.filiations.get()  # type: ignore[attr-defined]
    booking = Booking.objects.booked().get()
    OpenDay.objects.filter(pk=shop.days[0].pk).update(capacity=1)
    sibling = FiliationFactory(user=owner).beneficiary
    (waiting,) = wait(shop, days=shop.days[:1], children=[sibling]).entries
    absence = Absence.objects.create(
        beneficiary=booking.beneficiary,
        service=shop.activity.service,
        kind="illness",
        refund="never",
        waiting_days=0,
        reported_by=owner,
    )
    AbsenceProof.objects.create(
        absence=absence,
        file=ContentFile(b"%PDF-1.7", "x"),
        name="a.pdf",
        content_type="application/pdf",
        size=8,
        sent_by=owner,
    )
    AbsenceDay.objects.create(absence=absence, booking=booking, refundable=False)
    saved = save_list(
        user=owner,
        name="Semaine",
        slot=shop.slot,
        profile=shop.tariff.profile,
        days={booking.beneficiary_id: [0]},
        by=owner,
    )
    arguments: dict[str, Any] = {
        "saved_list": [saved.pk],
        "saved_list_delete": [saved.pk],
        "terms": ["sale"],
        "commune": [commune.insee_code],  # type: ignore[union-attr]
        "category": [shop.activity.service.category.slug],
        "service": [shop.activity.service.slug],
        "simulation": [shop.activity.service.slug],
        "activity": [shop.activity.service.slug, shop.activity.slug],
        "waiting_join": [shop.activity.service.slug, shop.activity.slug],
        "waiting_offer": [waiting.party],
        "demo_mail": [mail.pk],
        "demo_bank_status": [bank.reference],
        "account_confirm_email": ["abc:def"],
        "account_reset_password_from_key": ["1", "abc-def"],
        "signup_filiation_end": [filiation.pk],
        "reminders_stop": [reminders_key(owner)],
        "address_edit": [address.pk],
        "address_default": [address.pk],
        "address_delete": [address.pk],
        "document_download": [document.pk],
        "document_delete": [document.pk],
        "filiation_edit": [filiation.pk],
        "filiation_school": [filiation.pk],
        "filiation_end": [filiation.pk],
        "subscription_again": [refused.pk],
        "subscription_renew": [refused.pk],
        "ticket": [ticket.pk],
        "ticket_pdf": [ticket.pk],
        "ticket_cancel": [ticket.pk],
        "ticket_check": [ticket.activity_id],
        "ticket_checklist": [ticket.activity_id],
        "ticket_passages": [ticket.activity_id],
        "order": [order.reference],
        "order_receipt": [order.reference],
        "paper": [issue_receipt(order=order).pk],
        "certificate": ["reglements", timezone.localdate().year],
        "reservation": [booking.pk],
        "reservation_change": [booking.pk],
        "absence": [absence.pk],
        "absence_withdraw": [absence.pk],
        "absence_proof": [absence.pk, absence.proofs.get().pk],
        "feed_file": [open_feed(user=owner, by=owner).key],
        "order_abandon": [order.reference],
        "payment_departure": [order.reference],
        "payment_return": ["demo", given_up.reference],
        "payment_notification": ["demo"],
        "wallet_withdraw_cancel": [1],
    }
    addresses = {name: reverse(name, args=arguments.get(name)) for name in EXPECTED}
    addresses["reservations_cancel"] += f"?r={booking.pk}"
    addresses["waiting_leave"] += f"?e={waiting.pk}"
    users = {
        "anonymous": None,
        "pending": UserFactory(unfinished=True),
        "owner": owner,
        "stranger": UserFactory(),
        "agent": agent_of(commune),  # type: ignore[arg-type]
        "operator": agent_of(),
    }
    return World(users, addresses)


def test_every_address_is_in_the_table() -> None:
    assert named_patterns() == set(EXPECTED)


@pytest.mark.parametrize("role", ROLES)
def test_who_sees_what(world: World, role: str) -> None:
    client = Client()
    user = world.users[role]
    if user is not None:
        client.force_login(user)
    got = {}
    leads_elsewhere = {"account_logout", "checkout_login", "payment_return"}
    for name, address in world.addresses.items():
        response = client.get(address)
        got[name] = response.status_code
        if response.status_code == 302 and role == "anonymous" and name not in leads_elsewhere:
            assert response["Location"].startswith("/connexion/"), name
    assert got == {name: statuses[ROLES.index(role)] for name, statuses in EXPECTED.items()}


@pytest.mark.parametrize("role", ["stranger", "agent", "operator"])
def test_nobody_acts_on_anothers_things(world: World, role: str) -> None:
    """POST to each address that names a row of the owner's: 404, and nothing changes."""
    client = Client()
    user = world.users[role]
    assert user is not None
    client.force_login(user)
    owner = world.users["owner"]
    assert owner is not None
    models = (Document, Order, Booking, Ticket, Subscription, SupportingDocument, WaitingListEntry, Absence, SavedList)
    before = [list(model.objects.order_by("pk").values()) for model in models]  # type: ignore[attr-defined]
    filiations = list(owner.filiations.values())  # type: ignore[attr-defined]
    addresses = list(owner.addresses.values())  # type: ignore[attr-defined]
    for name in (
        "saved_list",
        "saved_list_delete",
        "address_edit",
        "address_default",
        "address_delete",
        "document_delete",
        "filiation_edit",
        "filiation_school",
        "filiation_end",
        "signup_filiation_end",
        "subscription_again",
        "subscription_renew",
        "order_abandon",
        "order_receipt",
        "waiting_offer",
        "absence",
        "absence_withdraw",
        "reservation_change",
        "ticket_cancel",
    ):
        status = client.post(world.addresses[name], {"first_name": "X", "line1": "X"}).status_code
        assert status in {302, 404} if name == "signup_filiation_end" else status == 404, (name, status)
    assert [list(model.objects.order_by("pk").values()) for model in models] == before  # type: ignore[attr-defined]
    assert list(owner.filiations.values()) == filiations  # type: ignore[attr-defined]
    assert list(owner.addresses.values()) == addresses  # type: ignore[attr-defined]


DOOR = ("ticket_checks", "ticket_check_worker", "ticket_check", "ticket_checklist")


def test_a_controller_opens_the_door_and_is_a_stranger_elsewhere(world: World) -> None:
    """A bus driver or a pool's cashier: what any citizen sees, the door page, and nothing of the administration."""
    ticket = Ticket.objects.get()
    person = ControllerFactory(service=ticket.activity.service).user
    client = Client()
    client.force_login(person)
    got = {name: client.get(address).status_code for name, address in world.addresses.items()}
    stranger = ROLES.index("stranger")
    assert got == {name: 200 if name in DOOR else statuses[stranger] for name, statuses in EXPECTED.items()}
    assert client.get(reverse("admin:index")).status_code == 404
    User.objects.filter(pk=person.pk).update(status="refused", decided_by=agent_of(), decision_reason="Parti")
    assert {client.get(world.addresses[name]).status_code for name in DOOR} == {302}  # to « Mon compte », as anybody
