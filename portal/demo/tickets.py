"""The demonstration's tickets and passes: the products, and a family that has bought and used some by the real actions."""

import datetime as dt
import uuid
from collections.abc import Sequence
from decimal import Decimal

from accounts.models import Address, Terms, User
from bookings.tickets.actions import Wish
from bookings.tickets.control import Passage, let_in
from bookings.tickets.doors import appoint
from bookings.tickets.models import Controller, Ticket
from checkout.actions import Means, accept_sale_terms, add_tickets_to_cart, choose_address, pay
from checkout.models import Cart
from portal.demo.catalogue import TicketPlan
from services.models import AccessProfile, Activity, BusLine, BusStop, Service, Slot, Subscription, Tariff, TariffGrid

# Who may buy what: « Mes services » of the demonstration's families opens these at once.
SERVICES = {
    "agglo-la-vague": "Tarif plein",
    "agglo-velo-en-velay": "Habitant de l’agglomération",
    "agglo-pass-card": "Titulaire du Pass’Card",
    "agglo-ramassage-scolaire": "Élève de l’agglomération",
}


def products(
    service: Service, profiles: Sequence[AccessProfile], grid: TariffGrid, plans: Sequence[TicketPlan]
) -> None:
    """A service's tickets and passes, their formulas, prices, and the stops of their buses."""
    for position, plan in enumerate(plans, start=service.activities.count()):
        activity = Activity.objects.create(
            service=service,
            kind=plan.kind,
            name=plan.name,
            slug=plan.slug,
            description=plan.description,
            unit_name=plan.unit,
            capacity=plan.stock,
            position=position,
        )
        for index, formula in enumerate(plan.formulas):
            slot = Slot.objects.create(
                activity=activity,
                name=formula.name,
                entries=formula.entries,
                validity=formula.validity,
                validity_unit=formula.unit,
                position=index,
            )
            for rank, profile in enumerate(profiles):
                Tariff.objects.create(grid=grid, slot=slot, profile=profile, price=formula.price(rank))
        for index, (name, stops) in enumerate(plan.lines):
            line = BusLine.objects.create(activity=activity, name=name, position=index)
            for place, (stop, morning, evening) in enumerate(stops):
                BusStop.objects.create(
                    line=line,
                    name=stop,
                    morning=dt.time.fromisoformat(morning),
                    evening=dt.time.fromisoformat(evening),
                    position=place,
                )


def purchases(*, user: User, accesses: dict[str, Subscription], operator: User) -> None:
    """A ten-entry card that was used twice, a bus pass and a bike, bought from the wallet."""
    eldest = user.filiations.earliest("beneficiary__birth_date").beneficiary
    first_stop = BusStop.objects.offered().filter(line__activity__slug="carte-annuelle").order_by("pk").first()
    total = Decimal(0)
    for service, slug, formula, stop in (
        ("agglo-la-vague", "piscine", "Carte 10 entrées", None),
        ("agglo-ramassage-scolaire", "carte-annuelle", "Année scolaire", first_stop),
        ("agglo-velo-en-velay", "location", "1 mois", None),
    ):
        slot = Slot.objects.select_related("activity__service").get(
            activity__service__slug=service, activity__slug=slug, name=formula
        )
        _quantity, price = add_tickets_to_cart(
            user=user,
            activity=slot.activity,
            slot=slot,
            subscription=accesses[service],
            wish=Wish(people={eldest.pk}, stop=stop),
        )
        total += price
    choose_address(user=user, address=Address.objects.get(user=user))
    accept_sale_terms(user=user, terms=Terms.objects.current(Terms.Kind.SALE))
    cart = Cart.objects.live().get(user=user)
    pay(user=user, cart_id=cart.pk, means=Means.WALLET, shown_total=total)
    card = Ticket.objects.booked().select_related("activity").get(made_by=user, entries=10)
    for _visit in range(2):
        passage = Passage(text=card.code, client_id=uuid.uuid4(), device="caisse")
        let_in(activity=card.activity, passage=passage, by=operator)


def driver(person: User, *, operator: User) -> None:
    """Somebody who checks the passes of the school bus, and sees nothing else of the administration."""
    passes = Activity.objects.select_related("service").get(slug="carte-annuelle")
    appoint(controller=Controller(user=person, service=passes.service, activity=passes), by=operator)
