"""The demonstration's vouchers: a mairie's, the agglomération's, and one of Claire Dupont's own."""

from decimal import Decimal

from accounts.models import User
from checkout.vouchers.models import Voucher, VoucherScope
from services.models import Service

ROSIERES = "rosieres-accueil-de-loisirs"


def load() -> None:
    """Make them once; what was made stays as it is."""
    if Voucher.objects.exists():
        return
    service = Service.objects.get(slug=ROSIERES)
    school_year = Voucher.objects.create(
        code="RENTREE10",
        label="Rentrée à Rosières",
        percent=Decimal(10),
        commune_id=service.commune_id,
        stackable=True,
    )
    VoucherScope.objects.create(voucher=school_year, service=service)
    Voucher.objects.create(
        code="BIENVENUE",
        label="Bienvenue sur la plateforme",
        amount=Decimal(5),
        minimum=Decimal(20),
        max_uses=500,
        stackable=True,
    )
    Voucher.objects.create(
        code="COUPDEPOUCE-DUPONT",
        label="Coup de pouce de l’agglomération",
        amount=Decimal(15),
        user=User.objects.get(email="parent@demo.example"),
    )
