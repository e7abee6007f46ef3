from django.apps import AppConfig


class CheckoutConfig(AppConfig):
    name = "checkout"
    verbose_name = "Commandes et règlements"

    def ready(self) -> None:
        import checkout.refunds.actions  # noqa: F401  declares the calls that it makes
        from checkout.leaving import left_behind
        from checkout.papers.attached import install
        from families.views import LEFT_BEHIND

        LEFT_BEHIND.append(left_behind)
        install()
