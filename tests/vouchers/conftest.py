"""The same browser and limits as the checkout's tests."""

from tests.checkout.conftest import at_most, browse

__all__ = ["at_most", "browse"]
