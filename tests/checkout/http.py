"""The checkout over HTTP, as a browser without JavaScript goes through it."""

import html
import re
from typing import Any

from django.test import Client

from tests.shop import Shop


def text(response: Any) -> str:
    """What a person reads: without tags, spaces folded."""
    body = re.sub(r"<(script|style|svg).*?</\1>|<[^>]+>", " ", response.content.decode(), flags=re.S)
    return " ".join(html.unescape(body).split())


def page(shop: Shop) -> str:
    return shop.activity.get_absolute_url()


def form(shop: Shop, **changes: Any) -> dict[str, Any]:
    return {
        "slot": shop.slot.pk,
        "people": [child.pk for child in shop.children],
        "dates": [day.date.isoformat() for day in shop.days],
    } | changes


ADDRESS = {"label": "Domicile", "line1": "1 rue Haute", "postal_code": "43000", "city": "Le Puy-en-Velay"}


def follow(client: Client, address: str) -> str:
    """Open a page as the browser of a person does, going along where it leads; returns where it ended."""
    response = client.get(address)
    while response.status_code == 302:
        address = response["Location"]
        response = client.get(address)
    assert response.status_code == 200
    return address


def steps(client: Client) -> None:
    """From the cart to 05 Paiement over HTTP, page by page."""
    follow(client, "/panier/")
    follow(client, "/commande/recapitulatif/")
    at = follow(client, "/commande/connexion/")
    if at == "/commande/adresse/":
        at = client.post(at, ADDRESS)["Location"]
        follow(client, at)
    read = client.get(at).context["terms"]
    at = client.post(at, {"accept": "on", "terms": read.pk})["Location"]
    assert follow(client, at) == "/commande/paiement/"
