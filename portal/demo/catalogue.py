"""The catalogue of the demonstration: the services, situations and prices that the guides name (seeds 000 to 003)."""

from dataclasses import dataclass, field
from decimal import Decimal

from portal.installation import DAY_BEFORE, THURSDAY, TWO_DAYS
from services.models import Activity, ActivityPeriod, Level, Slot, TariffGrid

# The evening before; then, until the same noon, for one euro more, the first time of a month excepted.
LATE = "La veille à 17 h, puis tardivement jusqu’à midi"


@dataclass(frozen=True)
class FarePlan:
    """A fare in euros for some ranks or quotients, both bounds included."""

    price: str
    ranks: tuple[int | None, int | None] = (None, None)
    quotients: tuple[int | None, int | None] = (None, None)


@dataclass(frozen=True)
class SlotPlan:
    """A way to attend, with its price in euros for each situation of the service, in their order; or the same fares for all."""

    name: str
    starts_at: str
    ends_at: str
    prices: tuple[str, ...] = ()
    meal: bool = False
    fares: tuple[FarePlan, ...] = ()
    lunch: str = ""  # the meal's part of a price that pays for care too

    def fares_of(self, index: int) -> tuple[FarePlan, ...]:
        """What the situation of this number pays."""
        return self.fares or (FarePlan(self.prices[min(index, len(self.prices) - 1)]),)


@dataclass(frozen=True)
class PeriodPlan:
    """When an activity is open: weekdays of a part of the year, of named school holidays or (each year) of a month."""

    kind: str
    weekdays: tuple[int, ...] = ()
    holiday: str = ""
    month: int = 0
    capacity: int | None = None


Kind = ActivityPeriod.Kind
WORKING_DAYS = (0, 1, 2, 3, 4)
SCHOOL_DAYS = (PeriodPlan(Kind.SCHOOL, (0, 1, 3, 4)),)
WEDNESDAYS = (PeriodPlan(Kind.SCHOOL, (2,)),)
HOLIDAYS = (PeriodPlan(Kind.HOLIDAYS, WORKING_DAYS),)
# Small holidays and July, as the centre says; more places in summer, nothing at Christmas.
HOLIDAY_CENTRE = (
    PeriodPlan(Kind.SMALL, WORKING_DAYS),
    PeriodPlan(Kind.NAMED, holiday="Vacances de Noël"),
    PeriodPlan(Kind.SUMMER, WORKING_DAYS, capacity=48),
    PeriodPlan(Kind.DATES, month=8),
)


@dataclass(frozen=True)
class FormulaPlan:
    """A formula of a ticket or pass: how long it is good for, for how many entries, at which prices."""

    name: str
    validity: int
    unit: str
    prices: tuple[str, ...]
    entries: int | None = None

    def price(self, index: int) -> Decimal:
        return Decimal(self.prices[min(index, len(self.prices) - 1)])


@dataclass(frozen=True)
class TicketPlan:
    """A product without a calendar: entries, or (with `stock` or `lines`) a pass, a bike, a place in the bus."""

    name: str
    slug: str
    kind: str
    formulas: tuple[FormulaPlan, ...]
    unit: str
    description: str
    stock: int | None = None
    lines: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...] = ()  # line, its stops: name, morning, evening


@dataclass(frozen=True)
class ActivityPlan:
    name: str
    slug: str
    periods: tuple[PeriodPlan, ...]
    capacity: int
    slots: tuple[SlotPlan, ...]
    unit: str = "date"
    booking: str = ""  # the service's
    cancel: str = ""
    may_overlap: bool = False
    ages: tuple[int | None, int | None] = (None, None)
    description: str = ""


@dataclass(frozen=True)
class ServicePlan:
    """A service; `commune` is empty for the agglomération's own."""

    commune: str
    category: str
    name: str
    slug: str
    profiles: tuple[str, ...]
    activities: tuple[ActivityPlan, ...]
    description: str = ""
    contact: str = field(default="")
    address: str = ""
    tickets: tuple[TicketPlan, ...] = ()
    booking: str = THURSDAY
    cancel: str = THURSDAY
    rank_basis: str = TariffGrid.RankBasis.NONE


def canteen(
    commune: str,
    of: str,
    slug: str,
    profiles: tuple[str, ...],
    prices: tuple[str, ...],
    fares: tuple[FarePlan, ...] = (),
) -> ServicePlan:
    """A school canteen with one meal a day."""
    meal = SlotPlan("Repas", "12:00", "13:20", prices, meal=True, fares=fares)
    return ServicePlan(
        commune,
        "cantines",
        f"Mairie {of} – Restauration scolaire",
        f"{slug}-restauration-scolaire",
        profiles,
        (
            ActivityPlan(
                f"Réservation de repas Cantines {commune}",
                "repas",
                SCHOOL_DAYS,
                90,
                (meal,),
                unit="repas",
                description="Le repas du midi au restaurant scolaire, les lundis, mardis, jeudis et vendredis d’école.",
            ),
        ),
        description="Les repas sont préparés sur place ; un menu sans viande est proposé chaque jour.",
    )


ROSIERES_SLOTS = (
    SlotPlan("Matin", "07:30", "12:00", ("6.90", "7.90")),
    SlotPlan("Matin + Repas", "07:30", "13:30", ("10.70", "11.90"), meal=True, lunch="3.70"),
    SlotPlan("Après-midi", "13:30", "18:30", ("6.90", "7.90")),
    SlotPlan("Après-midi + Repas", "12:00", "18:30", ("10.70", "11.90"), meal=True, lunch="3.70"),
    SlotPlan("Journée", "07:30", "18:30", ("12.20", "13.90")),
    SlotPlan("Journée + Repas", "07:30", "18:30", ("15.90", "17.90"), meal=True, lunch="3.70"),
)

SERVICES = (
    canteen("Aiguilhe", "d’Aiguilhe", "aiguilhe", ("Usager",), ("3.80",)),
    ServicePlan(
        "Aiguilhe",
        "garderies",
        "Mairie d’Aiguilhe – Garderie",
        "aiguilhe-garderie",
        (
            "1er enfant à la garderie",
            "2ème enfant à la garderie",
            "3ème enfant à la garderie",
            "Réservation tardive garderie",
        ),
        (
            ActivityPlan(
                "Garderie du matin et du soir",
                "garderie",
                SCHOOL_DAYS,
                40,
                (
                    SlotPlan("Matin", "07:15", "08:20", ("1.90", "1.30", "1.00", "2.90")),
                    SlotPlan("Soir", "16:30", "18:30", ("2.40", "1.80", "1.30", "3.40")),
                ),
                unit="accueil",
                booking=DAY_BEFORE,
                cancel=DAY_BEFORE,
            ),
        ),
        description="À l’école publique d’Aiguilhe, avant et après la classe.",
    ),
    canteen(
        "Allègre", "d’Allègre", "allegre", ("Réservation pour adultes", "Réservation pour enfants"), ("6.20", "3.60")
    ),
    canteen("Bains", "de Bains", "bains", ("Réservation repas adultes", "Réservation repas enfants"), ("6.00", "3.70")),
    canteen(
        "Blavozy",
        "de Blavozy",
        "blavozy",
        ("Résidents commune", "Résidents hors commune", "Commune 3 enfants", "Hors commune 3 enfants"),
        ("3.90", "4.60", "3.40", "4.10"),
    ),
    canteen(
        "Brives-Charensac",
        "de Brives-Charensac",
        "brives-charensac",
        ("Résident commune", "Hors commune", "1 parent travaillant à Brives", "Tarif réduit"),
        ("3.95", "5.10", "4.40", "2.50"),
    ),
    canteen(
        "Coubon", "de Coubon", "coubon", ("Enfant commune", "Enfant hors commune", "Adulte"), ("3.75", "4.50", "6.50")
    ),
    canteen(
        "Craponne-sur-Arzon",
        "de Craponne-sur-Arzon",
        "craponne-sur-arzon",
        ("Enfants",),
        (),
        fares=(
            FarePlan("1.00", quotients=(None, 1000)),
            FarePlan("3.25", quotients=(1001, 1500)),
            FarePlan("3.70", quotients=(1501, None)),
        ),
    ),
    ServicePlan(
        "Coubon",
        "garderies",
        "Mairie de Coubon – Garderie",
        "coubon-garderie",
        ("Famille de Coubon", "Famille hors commune"),
        (
            ActivityPlan(
                "Garderie du soir",
                "garderie-du-soir",
                SCHOOL_DAYS,
                30,
                (
                    SlotPlan(
                        "Soir",
                        "16:30",
                        "18:30",
                        fares=(FarePlan("1.90", ranks=(None, 1)), FarePlan("1.30", ranks=(2, None))),
                    ),
                ),
                unit="accueil",
                description="Goûter, jeux et devoirs après l’école, jusqu’à 18 h 30.",
            ),
        ),
        description="À l’école publique de Coubon. Le deuxième enfant et les suivants paient moins le même soir.",
        booking=LATE,
        cancel=DAY_BEFORE,
        rank_basis=TariffGrid.RankBasis.PRESENT,
    ),
    canteen("Polignac", "de Polignac", "polignac", ("Enfants", "Adultes"), ("3.85", "6.30")),
    canteen(
        "Saint-Étienne-Lardeyrol",
        "de Saint-Étienne-Lardeyrol",
        "saint-etienne-lardeyrol",
        ("Enfants", "Adultes"),
        ("3.60", "6.00"),
    ),
    canteen("Rosières", "de Rosières", "rosieres", ("Enfants", "Adultes"), ("3.70", "6.20")),
    ServicePlan(
        "Rosières",
        "centres-de-loisirs",
        "Mairie de Rosières – Accueil de loisirs",
        "rosieres-accueil-de-loisirs",
        ("Résident commune", "Résident hors-commune"),
        (
            ActivityPlan(
                "Inscription Accueil Périscolaire (mercredis)",
                "mercredis",
                WEDNESDAYS,
                32,
                ROSIERES_SLOTS,
                booking=TWO_DAYS,
                cancel=TWO_DAYS,
                ages=(3, 12),
                description="Jeux, sorties et ateliers du mercredi, de 3 à 12 ans.",
            ),
        ),
        description="L’accueil de loisirs de Rosières, ouvert aux enfants des communes voisines.",
        contact="04 71 57 40 00",
        address="Le Bourg, 43800 Rosières",
    ),
    ServicePlan(
        "Rosières",
        "centres-de-loisirs",
        "Mairie de Rosières – Loisirs des vacances",
        "rosieres-loisirs-des-vacances",
        ("Résident commune", "Résident hors-commune"),
        (
            ActivityPlan(
                "Accueil de loisirs (vacances)",
                "vacances",
                HOLIDAY_CENTRE,
                32,
                ROSIERES_SLOTS[4:],
                ages=(3, 12),
                unit="journée",
                booking=THURSDAY,
                cancel=THURSDAY,
            ),
        ),
        description="Pendant les petites vacances et en juillet, à la journée.",
        contact="04 71 57 40 00",
        address="Le Bourg, 43800 Rosières",
    ),
    ServicePlan(
        "",
        "ramassage-scolaire",
        "Agglomération – Ramassage scolaire",
        "agglo-ramassage-scolaire",
        ("Élève de l’agglomération", "Élève hors agglomération"),
        (
            ActivityPlan(
                "Ligne 12 : Rosières – Le Puy-en-Velay",
                "ligne-12",
                (PeriodPlan(Kind.SCHOOL, WORKING_DAYS),),
                50,
                (
                    SlotPlan("Aller", "07:10", "07:50", ("1.00", "1.60")),
                    SlotPlan("Retour", "17:10", "17:50", ("1.00", "1.60")),
                ),
                unit="trajet",
                booking=DAY_BEFORE,
                cancel=DAY_BEFORE,
                may_overlap=True,
            ),
        ),
        tickets=(
            TicketPlan(
                "Carte annuelle de transport scolaire",
                "carte-annuelle",
                Activity.Kind.PASS,
                (FormulaPlan("Année scolaire", 1, Slot.Unit.SCHOOL_YEAR, ("90.00", "140.00")),),
                unit="carte",
                description="Un aller et retour chaque jour d’école, de l’arrêt choisi à l’établissement.",
                lines=(
                    (
                        "Ligne 12 : Rosières – Le Puy-en-Velay",
                        (
                            ("Rosières, place de la Mairie", "07:10", "17:50"),
                            ("Malrevers, église", "07:18", "17:42"),
                            ("Blavozy, pont de Sumène", "07:31", "17:29"),
                        ),
                    ),
                    (
                        "Ligne 27 : Saint-Paulien – Le Puy-en-Velay",
                        (
                            ("Saint-Paulien, place Saint-Georges", "07:05", "17:55"),
                            ("Polignac, école", "07:22", "17:38"),
                        ),
                    ),
                ),
            ),
        ),
    ),
    ServicePlan(
        "",
        "velo-en-velay",
        "Agglomération – Vélo en Velay",
        "agglo-velo-en-velay",
        ("Habitant de l’agglomération", "Tarif réduit"),
        (
            ActivityPlan(
                "Vélo à assistance électrique",
                "velo-electrique",
                (PeriodPlan(Kind.ALWAYS, (0, 1, 2, 3, 4, 5)),),
                20,
                (
                    SlotPlan("Matin", "09:00", "13:00", ("6.00", "3.00")),
                    SlotPlan("Après-midi", "13:30", "18:00", ("6.00", "3.00")),
                    SlotPlan("Journée", "09:00", "18:00", ("10.00", "5.00")),
                ),
                unit="location",
                booking=DAY_BEFORE,
                cancel=DAY_BEFORE,
                may_overlap=True,
            ),
        ),
        tickets=(
            TicketPlan(
                "Vélo électrique en location",
                "location",
                Activity.Kind.PASS,
                (
                    FormulaPlan("1 mois", 1, Slot.Unit.MONTH, ("35.00", "20.00")),
                    FormulaPlan("3 mois", 3, Slot.Unit.MONTH, ("90.00", "55.00")),
                    FormulaPlan("1 an", 12, Slot.Unit.MONTH, ("300.00", "180.00")),
                ),
                unit="vélo",
                description="Un vélo à assistance électrique rien que pour vous, avec antivol et casque, révisé chaque mois.",
                stock=12,
            ),
        ),
    ),
    ServicePlan(
        "",
        "pass-card",
        "Agglomération – Pass’Card",
        "agglo-pass-card",
        ("Titulaire du Pass’Card", "Tarif réduit"),
        (
            ActivityPlan(
                "Sorties Pass’Card (vacances)",
                "sorties",
                HOLIDAYS,
                24,
                (SlotPlan("Après-midi", "13:30", "17:30", ("4.00", "2.00")),),
                unit="sortie",
                booking=TWO_DAYS,
                cancel=TWO_DAYS,
            ),
        ),
        tickets=(
            TicketPlan(
                "Pass’Card",
                "pass-card",
                Activity.Kind.PASS,
                (FormulaPlan("Carte annuelle", 12, Slot.Unit.MONTH, ("15.00", "8.00")),),
                unit="carte",
                description="Un an de tarifs réduits dans les musées, les salles de spectacle et les clubs partenaires.",
            ),
        ),
    ),
    ServicePlan(
        "",
        "sports",
        "Agglomération – École des sports",
        "agglo-ecole-des-sports",
        ("Enfants", "Tarif réduit"),
        (
            ActivityPlan(
                "Mercredis multisports",
                "mercredis-multisports",
                WEDNESDAYS,
                24,
                (SlotPlan("Après-midi", "14:00", "16:30", ("5.00", "2.50")),),
                unit="séance",
                booking=DAY_BEFORE,
                cancel=TWO_DAYS,
            ),
        ),
    ),
    ServicePlan(
        "",
        "sports",
        "Agglomération – Centre aqualudique La Vague",
        "agglo-la-vague",
        ("Tarif plein", "Tarif réduit"),
        (),
        description="Bassins, toboggan et espace bien-être, tous les jours de l’année.",
        tickets=(
            TicketPlan(
                "Entrées de la piscine",
                "piscine",
                Activity.Kind.TICKET,
                (
                    FormulaPlan("1 entrée", 6, Slot.Unit.MONTH, ("5.50", "4.20"), entries=1),
                    FormulaPlan("Carte 10 entrées", 24, Slot.Unit.MONTH, ("48.00", "36.00"), entries=10),
                ),
                unit="entrée",
                description="L’accès aux bassins et au toboggan. Une carte sert à toute la famille, une entrée par personne.",
            ),
        ),
    ),
)

NURSERY, PRIMARY = Level.values[:4], Level.values[4:]

# (commune, school, levels): invented names but for their communes.
SCHOOLS = (
    ("Aiguilhe", "École publique d’Aiguilhe", (*NURSERY, *PRIMARY)),
    ("Allègre", "École publique d’Allègre", (*NURSERY, *PRIMARY)),
    ("Bains", "École publique de Bains", (*NURSERY, *PRIMARY)),
    ("Blavozy", "École publique de Blavozy", (*NURSERY, *PRIMARY)),
    ("Brives-Charensac", "École maternelle de Brives-Charensac", NURSERY),
    ("Brives-Charensac", "École élémentaire de Brives-Charensac", PRIMARY),
    ("Coubon", "École publique de Coubon", (*NURSERY, *PRIMARY)),
    ("Craponne-sur-Arzon", "École publique de Craponne-sur-Arzon", (*NURSERY, *PRIMARY)),
    ("Polignac", "École publique de Polignac", (*NURSERY, *PRIMARY)),
    ("Rosières", "École publique de Rosières", (*NURSERY, *PRIMARY)),
    ("Rosières", "École privée de Rosières", (*NURSERY, *PRIMARY)),
    ("Saint-Étienne-Lardeyrol", "École publique de Saint-Étienne-Lardeyrol", (*NURSERY, *PRIMARY)),
)

# (commune of the school, class, levels): invented names, of this school year.
CLASSROOMS = (
    ("Aiguilhe", "Maternelle de Mme Bernard", NURSERY),
    ("Aiguilhe", "CP de M. Vidal", ("cp",)),
    ("Aiguilhe", "CE1-CE2 de Mme Roche", ("ce1", "ce2")),
    ("Aiguilhe", "CM1-CM2 de M. Faure", ("cm1", "cm2")),
)

SALE_TERMS = """Article 1 – Objet
Les présentes conditions règlent la réservation et le paiement en ligne des services proposés par les communes et par la Communauté d’agglomération du Puy-en-Velay.

Article 2 – Réservation
Une réservation est définitive une fois payée. Les places d’un panier sont gardées pendant la durée affichée ; passé ce délai elles sont proposées à d’autres familles.

Article 3 – Prix
Le prix est fixé par délibération de la collectivité qui organise le service. Il dépend de la situation validée dans « Mes services » et s’affiche avant chaque choix.

Article 4 – Paiement
Le paiement se fait par carte bancaire, avec le porte-monnaie, ou avec les deux ; au guichet des mairies qui encaissent pour la régie, aussi en espèces (300,00 € au plus), par chèque ou par CESU, contre une quittance. Les sommes déposées sur le porte-monnaie restent la propriété de la famille, peuvent être utilisées en plusieurs fois et lui sont virées si elle le demande. Un dépôt d’un montant librement choisi coûte 0,01 € de plus ; les packs n’ont pas de frais.

Article 5 – Bons de réduction
Un bon s’utilise en écrivant son code dans le panier, aux conditions qu’il énonce. « Une fois par famille » vaut pour tous les comptes des parents d’un même enfant. Un bon n’est ni échangé ni remboursé en argent ; il peut resservir quand toute la commande est annulée.

Article 6 – Annulation
Une réservation peut être annulée jusqu’au délai affiché sur la page de l’activité. Ce qui a été payé pour elle, remises déduites, revient alors dans le porte-monnaie de la personne qui a payé ou, si elle le choisit, sur la carte qui a payé.

Article 7 – Réclamations
Toute question s’adresse à la mairie qui organise le service, puis au médiateur de la collectivité."""

USE_TERMS = """Article 1 – Objet
La plateforme citoyenne est un guichet en ligne facultatif et gratuit, hors coûts de connexion.

Article 2 – Compte
Le compte est personnel. Il est validé par la collectivité. Les informations déclarées doivent être exactes et tenues à jour.

Article 3 – Sécurité
Le mot de passe compte au moins 12 caractères. La session se ferme après deux heures d’inactivité.

Article 4 – Disponibilité
La collectivité met en œuvre les moyens nécessaires au bon fonctionnement du service et prévient des interruptions prévues."""

PRIVACY = """Qui traite vos données ?
La Communauté d’agglomération du Puy-en-Velay, et la commune dont vous demandez un service.

Pourquoi ?
Pour gérer votre compte, vos réservations et vos paiements, dans le cadre d’une mission d’intérêt public.

Qui les voit ?
Les agents de la commune où vous habitez ou dont vous avez demandé un service, et les agents habilités de l’agglomération.

Combien de temps ?
Le temps de votre compte, puis la durée légale de conservation des pièces comptables.

Vos droits
Vous pouvez consulter, corriger ou faire effacer vos données en écrivant au délégué à la protection des données de l’agglomération, et saisir la CNIL."""
