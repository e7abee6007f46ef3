"""To which page of the order a form of the cart comes back."""

from django.http import HttpRequest

PAGES = {"cart", "checkout_summary", "checkout_address", "checkout_terms", "checkout_payment"}


def page_before(request: HttpRequest) -> str:
    """The name of the page that the form says it stands on (field `back`); the cart for anything else."""
    name = request.POST.get("back", "")
    return name if name in PAGES else "cart"
