"""Everything that changes a cart, an order or a payment."""

from checkout.actions.absences import justify_absence, refuse_absence
from checkout.actions.cancellation import cancel_bookings, cancel_for
from checkout.actions.cart import Added, add_to_cart, recover_places, remove_lines
from checkout.actions.change import change_booking
from checkout.actions.completion import apply_message
from checkout.actions.declarations import correct_declaration
from checkout.actions.keeping import prolong_hold
from checkout.actions.offers import pay_offer, take_offer
from checkout.actions.payment import Card, Means, abandon_order, accept_sale_terms, choose_address, pay
from checkout.actions.tickets import add_tickets_to_cart, cancel_ticket
from checkout.actions.top_up import fee_of, start_top_up

__all__ = [
    "Added",
    "Card",
    "Means",
    "abandon_order",
    "accept_sale_terms",
    "add_tickets_to_cart",
    "add_to_cart",
    "apply_message",
    "cancel_bookings",
    "cancel_for",
    "cancel_ticket",
    "change_booking",
    "choose_address",
    "correct_declaration",
    "fee_of",
    "justify_absence",
    "pay",
    "pay_offer",
    "prolong_hold",
    "recover_places",
    "refuse_absence",
    "remove_lines",
    "start_top_up",
    "take_offer",
]
