"""The guides, click by click (seeds 001 and 003), with JavaScript and without; with it, every page is looked at."""

import datetime as dt
import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from playwright.sync_api import expect

from portal.common.formats import long_date
from tests.e2e import steps
from tests.e2e.steps import Child, Family, Visitor
from tests.e2e.watch import Looks
from tests.e2e.worker import Worker

Visit = Callable[..., Visitor]

both_ways = pytest.mark.parametrize("javascript", [True, False], ids=["avec JavaScript", "sans JavaScript"])


@dataclass(frozen=True)
class Guide:
    """One guide: who signs up for what, who decides the account (where the family lives) and who the request."""

    family: Family
    home: str
    agent: str
    commune: str
    service: str
    situation: str


ROSIERES = Guide(
    Family(
        "noelle.pardon@exemple.fr",
        "Noëlle",
        "Pardon",
        "Le Puy-en-Velay",
        (Child("Jérémy", "Pardon", ("14", "9", "2019")),),
    ),
    "agglo@demo.example",  # no agent of Le Puy in the demonstration
    "rosieres@demo.example",
    "Rosières",
    "Mairie de Rosières – Accueil de loisirs",
    "Résident hors-commune",
)
AIGUILHE = Guide(
    Family(
        "sophie.dupont@exemple.fr",
        "Sophie",
        "Dupont-Roux",
        "Aiguilhe",
        (Child("Louane", "Dupont", ("10", "mai", "2018")), Child("Théo", "Dupont", ("12", "juillet", "2013"))),
    ),
    "aiguilhe@demo.example",
    "aiguilhe@demo.example",
    "Aiguilhe",
    "Mairie d’Aiguilhe – Restauration scolaire",
    "Usager",
)
MERCREDIS = "Inscription Accueil Périscolaire (mercredis)"
REPAS = "Réservation de repas Cantines Aiguilhe"


@dataclass
class Story:
    """One run through a guide: its people, their browsers, and the looks at every page."""

    visit: Visit
    worker: Worker
    javascript: bool
    looks: Looks | None

    def browser(self) -> Visitor:
        who = self.visit(javascript=self.javascript)
        who.looks = self.looks
        return who

    def become_a_member(self, guide: Guide) -> Visitor:
        """From an e-mail address to a validated account with a validated service; returns the parent, signed in."""
        parent = self.browser()
        steps.start_signing_up(parent, guide.family)
        assert self.worker.send_the_mail() == 1
        steps.confirm_address(parent, guide.family)
        steps.declare_children(parent, guide.family)
        steps.ask_for_service(parent, guide.commune, guide.service, guide.situation)
        self.wait(parent, guide)
        agent = self.browser()
        steps.sign_in(agent, guide.home, steps.DEMO_PASSWORD)
        steps.validate_account(agent, guide.family)
        if guide.agent != guide.home:
            agent = self.browser()
            steps.sign_in(agent, guide.agent, steps.DEMO_PASSWORD)
        steps.validate_request(agent, guide.family, guide.service)
        self.worker.send_the_mail()
        steps.open_mail(parent, "Votre compte usager est validé", guide.family.email)
        steps.open_mail(parent, "Votre accès à un service est validé", guide.family.email)
        parent.reads(f"{guide.service} – {guide.situation}")
        steps.sign_in(parent, guide.family.email)
        parent.on("Mon compte")
        parent.reads("Bienvenue sur votre page d’accueil.")
        return parent

    def wait(self, parent: Visitor, guide: Guide) -> None:
        """A pending user signs in, sees where they stand, and nothing else."""
        parent.follow("Suivre ma demande")
        parent.on("Mon compte")
        steps.sign_out(parent)
        steps.sign_in(parent, guide.family.email)
        parent.on("Mon compte")
        parent.reads("Votre compte est en attente de validation.", guide.family.email, "1 demande")
        for address in ("services", "reservations", "commandes", "porte-monnaie", "adresses"):
            parent.open(f"/mon-compte/{address}/")
            expect(parent.page).to_have_url(re.compile("/mon-compte/$"))
            parent.reads("Cette page s’ouvrira quand votre compte aura été validé.")
        parent.on("Mon compte")
        steps.sign_out(parent)


@pytest.fixture
def story(visit: Visit, worker: Worker, javascript: bool) -> Story:
    return Story(visit, worker, javascript, Looks() if javascript else None)


@both_ways
def test_seed_001_four_wednesdays_by_wallet(story: Story) -> None:
    """Rosières, one child, four Wednesdays « Matin »: quantity 4, 31,60 €, paid with the wallet, one cancelled."""
    guide, (child,) = ROSIERES, ROSIERES.family.children
    parent = story.become_a_member(guide)

    steps.top_up(parent, 50)
    parent.open("/mon-compte/")
    steps.go_to_service(parent, guide.service, guide.situation)
    parent.reads("Il y a 1 produit")
    parent.follow(f"Personnaliser {MERCREDIS}")
    parent.on(MERCREDIS)
    parent.group("Type de prestation").choose(re.compile("^Matin 7 h 30"))
    parent.group("Bénéficiaire").tick(re.compile(rf"^{child} \(7,90 €\)"))
    dates = steps.tick_dates(parent, 4, weekdays=(2,))
    steps.add_to_cart(parent, 4, "31,60 €")
    parent.reads(MERCREDIS, "Matin", str(child), "7,90 €")

    steps.order(parent, 4, "31,60 €")
    parent.press("Payer avec mon porte-monnaie")
    steps.order_is_paid(parent, "31,60 €")
    story.worker.send_the_mail()
    steps.wallet_holds(parent, "18,40 €")

    parent.open("/mon-compte/")
    steps.see_reservations(parent, (child,), dates, "Matin")
    steps.cancel(parent, child, dates[1], "Matin", "7,90 €")
    kept = [date for date in dates if date != dates[1]]
    parent.open("/mon-compte/")
    steps.see_reservations(parent, (child,), kept, "Matin")
    steps.wallet_holds(parent, "26,30 €")
    finish(story, parent, guide, dates[1])


@both_ways
def test_seed_003_two_children_two_meals_by_card(story: Story) -> None:
    """Aiguilhe, two children, two dates of the canteen: quantity 4, 15,20 €, paid by card, one cancelled."""
    guide, children = AIGUILHE, AIGUILHE.family.children
    parent = story.become_a_member(guide)

    steps.go_to_service(parent, guide.service, guide.situation)
    parent.reads("Il y a 1 produit")
    parent.follow(f"Personnaliser {REPAS}")
    parent.on(REPAS)
    for child in children:
        parent.group("Bénéficiaire").tick(re.compile(rf"^{child} \(3,80 €\)"))
    dates = steps.tick_dates(parent, 2, weekdays=(0, 1, 3, 4))
    steps.add_to_cart(parent, 4, "15,20 €")
    parent.reads(REPAS, "Louane Dupont, Théo Dupont", "3,80 €")

    steps.order(parent, 4, "15,20 €")
    parent.press("Payer par carte")
    steps.pay_at_the_bank(parent, "15,20 €")
    steps.order_is_paid(parent, "15,20 €")
    assert story.worker.deliver_notifications() == [200]
    story.worker.send_the_mail()

    parent.open("/mon-compte/")
    steps.see_reservations(parent, children, dates, "Repas")
    steps.cancel(parent, children[1], dates[0], "Repas", "3,80 €")
    steps.wallet_holds(parent, "3,80 €")
    finish(story, parent, guide, dates[0])


def finish(story: Story, parent: Visitor, guide: Guide, cancelled: dt.date) -> None:
    """The order is in « Mes commandes », both e-mails have come, and every page on the way was fit for everybody."""
    parent.open("/mon-compte/")
    parent.follow("Historique et détails de mes commandes")
    parent.on("Mes commandes")
    # By keyboard: the link's first word is for screen readers only, and that is where Playwright would click.
    parent.row("Réservation", "Payée").place.get_by_role("link", name=re.compile("^Commande ")).press("Enter")
    parent.on(re.compile("^Commande "))
    steps.paid(parent)
    expect(parent.page.get_by_role("table", name="Réservations annulées depuis")).to_contain_text(long_date(cancelled))
    story.worker.send_the_mail()
    steps.open_mail(parent, "Votre commande", guide.family.email)
    steps.open_mail(parent, "Votre réservation est annulée", guide.family.email)
    if story.looks is not None:
        story.looks.assert_fine()
