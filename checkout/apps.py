from django.apps import AppConfig


class CheckoutConfig(AppConfig):
    name = "checkout"
    verbose_name = "Commandes et règlements"

    def ready(self) -> None:
        import checkout.refunds.actions  # noqa: F401  declares the calls that it makes
        from checkout.leaving import left_behind
        from checkout.papers.attached import install
        from checkout.providers import provider_name
        from families.views import LEFT_BEHIND
        from wallet.words import NAMES_OF_PROVIDERS

        LEFT_BEHIND.append(left_behind)
        NAMES_OF_PROVIDERS.append(provider_name)
        install()
