"""What the office does without a family: a process is killed between any two steps of it, and it is done again.

The same as `test_killed` for the mail and its papers, for a provider's file and for the closing of days.
"""

import datetime as dt
import email
import itertools
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings

from checkout.papers.models import Document, Series
from checkout.regie import settlements
from checkout.regie.models import Settlement
from checkout.verification import verify
from portal.common.errors import Refused
from portal.common.formats import today
from portal.outbox.actions import send_due
from portal.outbox.models import Email
from tests.factories import agent_of
from tests.faults.bank import Bank
from tests.faults.scene import at_the_bank
from tests.faults.victim import Victim
from tests.regie.ledger import corrected
from wallet.closings import actions as closings
from wallet.closings.models import Closing
from wallet.models import Account, Movement

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.parametrize("bank", ["demo"], indirect=True),  # which one it is makes no difference
]


@pytest.fixture
def postbox(tmp_path: Path, settings: Any) -> Path:
    """A folder into which the e-mails of this process and of the killed ones leave."""
    settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    settings.EMAIL_FILE_PATH = str(tmp_path / "postbox")
    return tmp_path / "postbox"


@pytest.fixture
def victim(bank: Bank, postbox: Path) -> Iterator[Victim]:
    names = ("SITE_URL", "EMAIL_BACKEND", "EMAIL_FILE_PATH")
    with Victim({**bank.settings, **{name: getattr(django_settings, name) for name in names}}) as victim:
        yield victim


def left(postbox: Path) -> Counter[str]:
    """How often each e-mail left, by its Message-ID."""
    parts = [part for file in postbox.glob("*.log") for part in file.read_bytes().split(b"\n" + b"-" * 79 + b"\n")]
    return Counter(email.message_from_bytes(part)["Message-ID"] for part in parts if part.strip())


def test_the_mail_and_the_receipt_that_goes_with_it(bank: Bank, victim: Victim, postbox: Path) -> None:
    """None is lost, and a second copy says that it is one; the receipts are numbered without a gap."""
    for step in itertools.count(1):
        scene = at_the_bank(bank)
        bank.pay(scene.payment)
        assert scene.tell() == 200
        before = left(postbox)
        died = victim.dies(step, "mail")
        send_due()
        assert not Email.objects.exclude(status=Email.Status.SENT).exists()
        copies = left(postbox) - before
        assert len(copies) == 1 and set(copies.values()) <= ({1, 2} if died else {1})
        numbers = sorted(Document.objects.filter(series__kind="receipt").values_list("number", flat=True))
        assert numbers == list(range(1, step + 1)) and Series.objects.get(kind="receipt").last == step
        assert list(verify()) == []
        if not died:
            assert step > 6
            return


def test_a_providers_file(bank: Bank, victim: Victim) -> None:
    """The whole file is in the books, or nothing of it: imported again it is posted once."""
    operator = agent_of()
    for step in itertools.count(1):
        references = []
        for _payment in range(2):
            scene = at_the_bank(bank)
            bank.pay(scene.payment)
            assert scene.tell() == 200
            references.append(scene.payment.reference)
        content = "Référence;Montant;Commission\n" + "".join(f"{each};31,60;0,25\n" for each in references)
        died = victim.dies(step, "settle", every=True, provider=bank.slug, content=content, by=operator.pk)
        assert list(verify()) == []
        imported = Settlement.objects.count() == step
        assert imported or died
        again = {"provider": bank.slug, "name": "a.csv", "content": content.encode(), "by": operator}
        if imported:
            with pytest.raises(Refused, match="déjà été importé"):
                settlements.post(**again)
        else:
            settlements.post(**again)
        assert Settlement.objects.count() == step
        assert Movement.objects.filter(kind=Movement.Kind.SETTLEMENT).count() == 2 * step
        assert Account.objects.get(code="bank").balance() == -2 * step * Decimal("31.35")
        if not died:
            assert step > 10
            return


def test_the_closing_of_days(bank: Bank, victim: Victim) -> None:
    """All the days asked for are closed, or none: asked again, each is closed once and follows the one before."""
    operator, first = agent_of(), today() - dt.timedelta(days=300)
    for step in itertools.count(1):
        day = first + dt.timedelta(days=2 * step)
        for number in range(2):
            corrected(day + dt.timedelta(days=number), f"{step}:{number}", revenue__agglo="10.00", bank="-10.00")
        until = day + dt.timedelta(days=1)
        died = victim.dies(step, "close", every=True, until=until.isoformat(), by=operator.pk)
        assert list(verify()) == []
        closed = Closing.objects.filter(last_day__gte=day).count()
        assert closed == (0 if closings.closed_until() != until else 2) and (closed or died)
        if not closed:
            closings.close_days(until=until, by=operator)
        days = list(Closing.objects.order_by("first_day"))
        assert [row.last_day for row in days] == [first + dt.timedelta(days=2 + each) for each in range(2 * step)]
        assert all(row.turnover == 10 for row in days)
        if not died:
            assert step > 10
            return
