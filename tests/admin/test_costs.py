"""Lists cost the same with one row as with forty."""

import datetime as dt
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import User
from portal.common.bank_days import next_bank_day
from portal.common.formats import today
from services.models import Category
from tests.admin.test_access import RIGHTS
from tests.admin.world import Town, book, client_of, order_of, registered, tickets_of, url, vouchers_of, waiting
from tests.factories import (
    AccessProfileFactory,
    ActivityFactory,
    CommuneFactory,
    DeadlineFactory,
    FiliationFactory,
    OpenDayFactory,
    ServiceFactory,
    SlotFactory,
    SubscriptionFactory,
    TariffFactory,
    TermsFactory,
    UserFactory,
    agent_of,
)

pytestmark = pytest.mark.django_db
MANY = 40


def many_more(town: Town) -> None:
    """Forty more rows of every table, each with parents of its own where it may have."""
    from decimal import Decimal

    from checkout.models import CounterReceipt, Payment, ProviderCheck, ProviderEvent, Refund
    from checkout.papers.actions import issue, the_regie
    from checkout.papers.content import Content
    from checkout.papers.models import InvoiceRun, Kind, Series
    from portal.outbox.models import Call, Email
    from services.models import SchoolHoliday
    from wallet import actions as ledger
    from wallet.closings.models import Closing
    from wallet.models import LOADED, Movement, TopUpPack
    from wallet.withdrawals.models import TransferOrder, Withdrawal

    commune = town.commune
    for index in range(MANY):
        CommuneFactory()
        agent_of(commune)
        user = UserFactory(commune=commune, pending=True)
        for _child in range(2):
            child = FiliationFactory(user=user).beneficiary
        service = ServiceFactory(commune=commune)
        profile = AccessProfileFactory(service=service)
        slot = SlotFactory(activity=ActivityFactory(service=service))
        TariffFactory(slot=slot, profile=profile)
        SubscriptionFactory(user=user, profile=profile, pending=True)
        day = OpenDayFactory(activity=slot.activity)
        booking = book(town, day=day, slot=slot, beneficiary=child, made_by=user)
        waiting(town, child)
        order, _line = order_of(town, booking)
        receipt = Content(
            kind=Kind.RECEIPT,
            user=user,
            subject=f"order:{order.pk}",
            amount=Decimal(1),
            title="Reçu",
            links={"order": order},
        )
        issue(content=receipt, by=None)
        Series.objects.create(regie=the_regie(), kind=Kind.INVOICE, year=2030 + index)
        InvoiceRun.objects.create(month=f"20{30 + index}-01-01", families=1)
        tickets_of(town)
        vouchers_of(town, order)
        payment = Payment.objects.create(order=order, provider="demo", amount=Decimal(1), status="started")
        ProviderEvent.objects.create(provider="demo", payment=payment, source="test", raw="x")
        ProviderEvent.objects.create(provider="demo", source="notification", raw="x")
        ProviderCheck.objects.create(provider="demo", configured=True, answers=True, sentence="x", asked_by=user)
        ledger.adjust(user=user, amount=Decimal(1), reason="Dépôt", key=f"cost:{index}", by=town.agent)
        credited = Payment.objects.create(
            order=order, provider="demo", amount=Decimal(1), status="credited", ended_at=timezone.now()
        )
        CounterReceipt.objects.create(payment=credited, number=f"C-{index}", by=town.agent)
        moved = Movement.objects.get(key=f"{LOADED}cost:{index}")
        Refund.objects.create(payment=credited, amount=Decimal(1), reason="x", movement=moved, by=town.agent)
        Email.objects.create(key=f"cost:{index}", to="a@exemple.fr", subject="x", body="y", status="dead")
        Call.objects.create(key=f"cost:{index}", name="test", payload={}, status="dead")
        Withdrawal.objects.create(user=user, amount=Decimal(1), holder="x", iban="FR7630006000011234567890189")
        TransferOrder.objects.create(
            file="x", total=1, count=1, execution_date=next_bank_day(today()), created_by=town.agent
        )
        TopUpPack.objects.create(amount=Decimal(100 + index))
        TermsFactory(version=f"v{index}")
        date = dt.date(2020, 1, 7) + dt.timedelta(days=index)
        Closing.objects.create(
            kind="day", first_day=date, last_day=date, movements=0, turnover=0, totals={}, closed_by=town.agent
        )
        Category.objects.create(name=f"Univers {index}", slug=f"univers-{index}")
        DeadlineFactory(name=f"Délai {index}")
        SchoolHoliday.objects.create(name="x", first_day=f"20{30 + index}-01-01", last_day=f"20{30 + index}-01-02")


def costs(user: User, labels: list[str]) -> dict[str, int]:
    client = client_of(user)
    counted = {}
    for label in labels:
        address = url(label, "changelist")
        client.get(address)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert client.get(address).status_code == 200, label
        counted[label] = len(queries)
    client.get("/admin/")
    with CaptureQueriesContext(connection) as queries:
        client.get("/admin/")
    counted["home"] = len(queries)
    return counted


def test_lists_and_home_cost_the_same_with_forty_rows_more(
    everything: dict[str, Any], rosieres: Town, operator: User
) -> None:
    agents = [label for label, (agent, _operator) in RIGHTS.items() if agent]
    before = costs(rosieres.agent, agents), costs(operator, sorted(registered()))
    many_more(rosieres)
    after = costs(rosieres.agent, agents), costs(operator, sorted(registered()))
    assert after == before
    # The home page asks each table that may wait for somebody's decision how many of its rows do.
    assert max(table.pop("home") for table in after) <= 24
    assert max(cost for table in after for cost in table.values()) <= 14


def test_a_file_costs_the_same_with_ten_children(rosieres: Town) -> None:
    client = client_of(rosieres.agent)
    address = url("accounts.user", "change", rosieres.parent.pk)
    client.get(address)
    with CaptureQueriesContext(connection) as before:
        client.get(address)
    for _child in range(10):
        FiliationFactory(user=rosieres.parent)
        profile = AccessProfileFactory(service=rosieres.rows["services.service"])
        SubscriptionFactory(user=rosieres.parent, profile=profile, pending=True)
        User.objects.filter(pk=rosieres.parent.pk).update(phone=f"06 00 00 00 {_child:02}")
    with CaptureQueriesContext(connection) as after:
        client.get(address)
    assert len(after) == len(before) <= 20
