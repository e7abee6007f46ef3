"""The catalogue, the booking page in all its states and « Mes listes », as four readers see them: axe-core, no overflow."""

import datetime as dt
import re
from collections.abc import Callable
from decimal import Decimal

from django.utils import timezone

from accounts.models import User
from bookings.actions import Wish
from bookings.list_actions import save_list
from bookings.waiting.actions import join
from checkout.actions import add_to_cart
from services.models import OpenDay
from tests.e2e.baskets import PARENT
from tests.e2e.steps import Visitor
from tests.e2e.test_live_total import PAGE, by_rank, canteen, late
from tests.e2e.watch import Looks
from tests.factories import agent_of
from wallet.corrections import actions as corrections

Visit = Callable[..., Visitor]


def test_the_catalogue(visit: Visit) -> None:
    who, looks = visit(), Looks()
    for path in (
        "/activites/",
        "/activites/?q=periscolaire",
        "/activites/?q=zzz",
        "/communes/",
        "/communes/43002/",
        "/univers/cantines/",
        "/services/aiguilhe-restauration-scolaire/",
    ):
        who.open(path)
        looks.at(who.page)
    member = visit(PARENT)
    member.open("/services/aiguilhe-restauration-scolaire/")
    looks.at(member.page)
    looks.assert_fine()


def test_the_booking_page_and_the_lists(visit: Visit) -> None:
    """Days in the cart, waited for, late, with few places, at another price; both views, every fold open."""
    shop, looks = canteen(), Looks()
    by_rank(shop, "present")
    late(shop, 2, surcharge="times", surcharge_amount=Decimal(2))
    eldest, second, _third = shop.children
    shop.tariff.refresh_from_db()
    offer = {
        "user": shop.user,
        "activity": shop.activity,
        "slot": shop.slot,
        "subscription": shop.subscription,
    }
    add_to_cart(**offer, wishes=[Wish(pk, shop.days[5].date) for pk in (eldest.pk, second.pk)])
    add_to_cart(**offer, wishes=[Wish(child.pk, shop.days[6].date) for child in shop.children])
    full = [
        row for row in OpenDay.objects.filter(activity=shop.activity, book_until__gt=timezone.now()) if row.free <= 0
    ]
    join(**offer, wishes=[Wish(second.pk, full[0].date)], together=False)
    last = shop.days[8]
    OpenDay.objects.filter(pk=last.pk).update(capacity=OpenDay.objects.get(pk=last.pk).taken + 3)
    saved = save_list(
        user=shop.user,
        name="Semaine d’école",
        slot=shop.slot,
        profile=shop.subscription.profile,
        days={eldest.pk: {0, 1}, second.pk: {3}},
        by=shop.user,
    )
    who = visit(PARENT)
    following = (timezone.localdate().replace(day=1) + dt.timedelta(days=31)).strftime("%Y-%m")
    for path in (PAGE, f"{PAGE}?vue=grille", f"{PAGE}?liste={saved.pk}&mois={following}"):
        who.open(path)
        who.page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        if path == PAGE:
            who.page.get_by_role("checkbox", name=re.compile("Zoé Dupont")).check()
        who.page.locator(".months input:enabled").nth(3).check()
        looks.at(who.page)
    for path in ("/mon-compte/listes/", saved.get_absolute_url()):
        who.open(path)
        looks.at(who.page)
    looks.assert_fine()


def test_a_history_lies_within_a_phone(visit: Visit) -> None:
    """Its last column says what happened: nothing of it is outside its frame."""
    operator, looks = agent_of(), Looks()
    reason = "Dépôt de la quittance Q-2026-001, saisi cent euros au lieu de dix par le guichet d’Aiguilhe le matin même"
    row = corrections.propose(user=User.objects.get(email=PARENT), amount=Decimal(5), reason=reason, by=agent_of())
    who = visit(operator.email, width=390)
    who.open(f"/admin/wallet/correction/{row.pk}/history/")
    hidden = who.page.locator(".scroll").evaluate("each => each.scrollWidth - each.clientWidth")
    assert hidden == 0 and who.page.get_by_text(reason).is_visible()
    looks.at(who.page)
    looks.assert_fine()
