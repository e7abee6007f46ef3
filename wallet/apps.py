from django.apps import AppConfig


class WalletConfig(AppConfig):
    name = "wallet"
    verbose_name = "Porte-monnaie et régie"

    def ready(self) -> None:
        import wallet.closings.models
        import wallet.corrections.models
        import wallet.withdrawals.models  # noqa: F401  their tables are the ledger's
