"""Means of payment by card: one module each, all with the same face (base.Provider)."""

from collections.abc import Sequence
from importlib import import_module

from django.conf import settings

from checkout.providers.base import Provider


def provider(slug: str) -> Provider:
    """The configured provider of that name. Raises KeyError for one that this installation does not use."""
    if slug not in settings.CARD_PROVIDERS:
        raise KeyError(slug)
    module = import_module(f"checkout.providers.{slug}")
    instance: Provider = module.provider()
    return instance


def card_providers() -> Sequence[Provider]:
    """The providers that take cards here, in the order in which they are offered; empty where only the wallet pays."""
    return [provider(slug) for slug in settings.CARD_PROVIDERS]


def default_provider() -> Provider | None:
    """The provider that takes a card when nobody has chosen one, or None where only the wallet pays."""
    return provider(settings.CARD_PROVIDERS[0]) if settings.CARD_PROVIDERS else None
