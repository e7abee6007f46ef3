"""Who pays, as far as a bank's strong authentication asks for it."""

from accounts.models import Address, User
from checkout.models import Order
from checkout.providers.base import Payer


def payer_of(order: Order, user: User) -> Payer | None:
    """Name and place of who pays: the order's address, else the person's own, else their commune; None without any.

    A deposit asks for no address: the commune is the place we then know.
    """
    address = (order.cart.address if order.cart is not None else None) or Address.objects.of(user).first()
    if address is not None:
        place = (address.line1, address.postal_code, address.city)
    elif user.commune is not None:
        place = (user.commune.name, user.commune.postal_code, user.commune.name)
    else:
        return None
    return Payer(user.first_name, user.last_name, *place)
