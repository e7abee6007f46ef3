"""What people do on the platform, in the words of the guides (seeds 001 and 003)."""

import datetime as dt
import re
from dataclasses import dataclass, field

from playwright.sync_api import Locator, Page, expect

from portal.common.formats import WEEKDAYS, long_date, month
from tests.e2e.watch import Looks

PASSWORD = "Velay-Parents-2026!"
DEMO_PASSWORD = "Velay-Demo-2026!"
NAVIGATION = "Votre compte"  # the links on top of every page


@dataclass(frozen=True)
class Child:
    first_name: str
    last_name: str
    birth: tuple[str, str, str]

    def __str__(self) -> str:
        return f"{self.first_name} {self.last_name}"


@dataclass(frozen=True)
class Family:
    email: str
    first_name: str
    last_name: str
    commune: str
    children: tuple[Child, ...]

    def __str__(self) -> str:
        return f"{self.first_name} {self.last_name}"


@dataclass
class Visitor:
    """Somebody in front of a browser, who knows a page by its title and acts by the words that are on it."""

    page: Page
    javascript: bool = True
    looks: Looks | None = None  # looks at every page that the person comes to
    inside: Locator | None = field(default=None, init=False)

    @property
    def place(self) -> Page | Locator:
        return self.page if self.inside is None else self.inside

    def open(self, address: str) -> None:
        self.inside = None
        self.page.goto(address)

    def on(self, title: str | re.Pattern[str]) -> None:
        """The page of that title is there."""
        self.inside = None
        expect(self.page.get_by_role("heading", level=1)).to_have_text(title)
        if self.looks is not None:
            self.looks.at(self.page)

    def reads(self, *texts: str) -> None:
        """The sentences stand in the page, visible."""
        for text in texts:
            expect(self.place.get_by_text(text).first).to_be_visible()

    def group(self, name: str) -> "Visitor":
        """The same person, acting inside a named group of fields."""
        found = Visitor(self.page, self.javascript, self.looks)
        found.inside = self.place.get_by_role("group", name=name)
        return found

    def row(self, *texts: str) -> "Visitor":
        """The same person, acting in the row of a table that holds these texts."""
        row = self.page.get_by_role("row")
        for text in texts:
            row = row.filter(has_text=text)
        found = Visitor(self.page, self.javascript, self.looks)
        found.inside = row
        return found

    def follow(self, link: str | re.Pattern[str]) -> None:
        self.place.get_by_role("link", name=link, exact=True).first.click()

    def press(self, button: str) -> None:
        self.place.get_by_role("button", name=button, exact=True).click()

    def write(self, label: str, text: str) -> None:
        self.place.get_by_role("textbox", name=label, exact=True).fill(text)

    def pick(self, label: str, option: str) -> None:
        self.place.get_by_role("combobox", name=label).select_option(option)

    def tick(self, name: str | re.Pattern[str]) -> None:
        self.place.get_by_role("checkbox", name=name).check()

    def choose(self, name: str | re.Pattern[str]) -> None:
        self.place.get_by_role("radio", name=name).check()

    def write_date(self, legend: str, day: str, month: str, year: str) -> None:
        date = self.group(legend)
        date.write("Jour", day)
        date.write("Mois", month)
        date.write("Année", year)


# --- Signing up and in -----------------------------------------------------------------------------------------------


def start_signing_up(who: Visitor, family: Family) -> None:
    """Home, « Connexion », « Créez votre compte », the first step."""
    who.open("/")
    who.on(re.compile("Bienvenue sur la plateforme citoyenne"))
    who.page.get_by_role("navigation", name=NAVIGATION).get_by_role("link", name="Connexion").click()
    who.on("Authentification")
    creation = who.group("Créez votre compte")
    creation.write("Adresse e-mail", family.email)
    creation.press("Créer un compte")
    who.on("Vos informations personnelles")
    expect(who.page.get_by_role("textbox", name="Adresse e-mail")).to_have_value(family.email)
    who.choose("Mme")
    who.write("Prénom", family.first_name)
    who.write("Nom", family.last_name)
    who.write_date("Date de naissance", "9", "3", "1985")
    who.page.get_by_label("Mot de passe", exact=True).fill(PASSWORD)
    who.write("Téléphone", "06 12 34 56 78")
    who.pick("Commune de résidence", family.commune)
    who.tick(re.compile("J’accepte les conditions générales"))
    who.press("Enregistrer et continuer")
    who.on("Vérifiez votre boîte mail")


def open_mail(who: Visitor, subject: str, to: str) -> None:
    """The newest e-mail of that subject, in the demonstration's mailbox."""
    who.page.get_by_role("link", name="Lire les courriels envoyés").click()
    who.on("Courriels de la démonstration")
    who.row(subject, to).follow(re.compile(subject))
    who.on(re.compile(subject))


def confirm_address(who: Visitor, family: Family) -> None:
    """The link in the e-mail, and the button behind it."""
    open_mail(who, "Confirmez votre adresse e-mail", family.email)
    who.page.get_by_role("link", name="/inscription/verification/").click()
    who.on("Confirmer votre adresse e-mail")
    who.press("Confirmer et continuer mon inscription")
    who.on("Mes filiations")


def declare_children(who: Visitor, family: Family) -> None:
    """The second step: the last child is sent with « Continuer »."""
    for child in family.children:
        who.write("Nom du bénéficiaire", child.last_name)
        who.write("Prénom du bénéficiaire", child.first_name)
        who.write_date("Date de naissance", *child.birth)
        who.pick("Type de filiation", "Mère")
        if child is family.children[-1]:
            who.press("Continuer")
        else:
            who.press("Ajouter un bénéficiaire")
            who.reads(f"{child} figure maintenant dans vos filiations.")
            who.on("Mes filiations")
    who.on("Choisissez vos services associés")


def ask_for_service(who: Visitor, commune: str, service: str, situation: str) -> None:
    """The third step: the element of the commune that fits the family's situation."""
    offer = who.group(service)
    if not offer.place.is_visible():  # the family's own commune is open already
        who.page.locator("summary").filter(has_text=commune).click()
    offer.tick(situation)
    who.press("Terminer mon inscription")
    who.on("Votre inscription est envoyée")
    who.reads("Votre compte est en attente de validation.")


def sign_in(who: Visitor, email: str, password: str = PASSWORD) -> None:
    who.open("/")
    who.page.get_by_role("navigation", name=NAVIGATION).get_by_role("link", name="Connexion").click()
    who.on("Authentification")
    form = who.group("Déjà inscrit ?")
    form.write("Adresse e-mail", email)
    form.place.get_by_label("Mot de passe", exact=True).fill(password)
    form.press("Connexion")


def sign_out(who: Visitor) -> None:
    who.press("Déconnexion")
    who.on(re.compile("Bienvenue sur la plateforme citoyenne"))


# --- The mairie ------------------------------------------------------------------------------------------------------


def validate_account(agent: Visitor, family: Family) -> None:
    """The home page of whoever decides where the family lives leads to the account."""
    agent.on("À valider")
    agent.follow(re.compile("Comptes? à valider"))
    agent.on("Usagers")
    agent.row(family.email).follow(re.compile(family.last_name))
    agent.on(f"{family} ({family.email})")
    agent.reads(*(child.first_name for child in family.children))
    agent.press("Valider")
    agent.reads("c’est validé, un courriel est envoyé.")
    agent.follow(re.compile("^Administration"))


def validate_request(agent: Visitor, family: Family, service: str) -> None:
    """The home page of the service's agent leads to the request."""
    agent.on("À valider")
    agent.follow(re.compile("Demandes? d’accès à valider"))
    agent.on("Demandes d’accès")
    agent.row(family.email, service).follow(re.compile(family.last_name))
    agent.on(re.compile(service))
    agent.press("Valider")
    agent.reads("c’est validé, un courriel est envoyé.")


# --- Booking ---------------------------------------------------------------------------------------------------------


def go_to_service(who: Visitor, service: str, situation: str) -> None:
    """« Mes services », the row that is « Validé », « Réserver »."""
    who.page.get_by_role("main").get_by_role("link", name="Mes services", exact=True).first.click()
    who.on("Mes services")
    row = who.row(service, situation)
    row.reads("Validé")
    row.follow(f"Réserver {service}")
    who.on(service)


def how_many(found: Locator) -> int:
    """How many there are once the page is whole: `count()` alone also answers in the middle of one that still arrives."""
    found.page.wait_for_load_state("domcontentloaded")
    return found.count()


def tick_dates(who: Visitor, count: int, weekdays: tuple[int, ...]) -> list[dt.date]:
    """Tick `count` dates of some weekdays, not the first two: their deadline may pass while the test runs."""
    names = "|".join(WEEKDAYS[number] for number in weekdays)
    # The whole name is the date: nothing is said of few places left, or of another child who is booked.
    free = who.page.get_by_role("checkbox", name=re.compile(rf"^({names}) \S+ \S+ \d{{4}}$"))
    if how_many(free) < count + 2:  # late in the school year: the next one is one button away
        who.group("Date de réservation").place.get_by_role("button", name=re.compile(r"^\d{4}-\d{4}$")).last.click()
        expect(free.nth(count + 1)).to_be_visible()
    boxes = [free.nth(index) for index in range(2, 2 + count)]
    dates = [dt.date.fromisoformat(box.get_attribute("value") or "") for box in boxes]
    for box, date in zip(boxes, dates, strict=True):
        expect(box).to_have_accessible_name(long_date(date))
        box.check()
    return dates


def add_to_cart(who: Visitor, quantity: int, total: str) -> None:
    """« Ajouter au panier » and what it confirms."""
    if not who.javascript:
        who.press("Actualiser les prix et le total")
    summary = who.page.get_by_role("complementary", name="Votre sélection")
    expect(summary.get_by_role("definition").nth(1)).to_have_text(str(quantity))
    expect(summary.get_by_role("status")).to_have_text(total)
    if who.looks is not None:
        who.looks.at(who.page)
    who.press("Ajouter au panier")
    who.on("Mon panier")
    added = who.page.get_by_role("status").filter(has_text="Produit ajouté au panier avec succès")
    expect(added).to_contain_text(f"Quantité : {quantity}")
    expect(added).to_contain_text(f"Total : {total}")
    who.reads(f"Il y a {quantity} produits dans votre panier")
    navigation = who.page.get_by_role("navigation", name=NAVIGATION)
    expect(navigation.get_by_role("link", name=f"Panier : {quantity} produits")).to_be_visible()


def order(who: Visitor, quantity: int, total: str, *, new_address: bool = True) -> None:
    """From the cart through the steps 01 to 04; ends on 05 Paiement."""
    who.follow("Commander")
    who.on(f"Récapitulatif de la commande ({quantity} produits)")
    on_step(who, "01 Récapitulatif")
    who.reads(total)
    who.follow("Commander")
    # 02 Connexion: nothing to ask of somebody who is signed in; nor 03 once the address is known.
    if new_address:
        who.on("Votre adresse")
        on_step(who, "03 Adresse")
        who.write("Numéro et voie", "12 rue du Rocher")
        who.write("Code postal", "43000")
        who.write("Ville", "Aiguilhe")
        who.press("Enregistrer cette adresse et continuer")
    accept_terms(who)
    who.on(f"Choisissez votre moyen de paiement ({quantity} produits)")
    on_step(who, "05 Paiement")
    who.reads(total)


def accept_terms(who: Visitor) -> None:
    who.on("Conditions générales de vente")
    on_step(who, "04 Conditions générales de vente")
    who.tick(re.compile("J’ai lu les conditions générales de vente et j’y adhère sans réserve"))
    who.press("Commander")


def on_step(who: Visitor, name: str) -> None:
    steps = who.page.get_by_role("navigation", name="Étapes de la commande")
    expect(steps.locator("[aria-current=step]")).to_have_text(name)


def pay_at_the_bank(who: Visitor, amount: str, button: str = "Payer") -> None:
    who.on(f"Payer {amount}")
    who.press(button)


def order_is_paid(who: Visitor, total: str) -> None:
    who.on(re.compile("^Commande "))
    who.reads("Commande payée, réservations confirmées")
    expect(who.page.get_by_role("table", name="Produits de la commande")).to_contain_text(f"Total{total}")
    paid(who)


def paid(who: Visitor) -> None:
    """The order on screen is paid, whether just now or a while ago."""
    expect(who.page.get_by_role("term").filter(has_text="Payée le")).to_be_visible()


# --- Wallet and reservations -----------------------------------------------------------------------------------------


def top_up(who: Visitor, credits: int) -> None:
    """« Recharger vos crédits », a pack, the bank."""
    who.page.get_by_role("navigation", name=NAVIGATION).get_by_role("link", name="Recharger vos crédits").click()
    who.on("Mon porte-monnaie")
    who.choose(re.compile(f"^Pack {credits} crédits"))
    who.press("Effectuer un dépôt")
    pay_at_the_bank(who, f"{credits},00 €")
    who.on(re.compile("^Commande "))
    who.reads("Votre porte-monnaie est crédité")


def wallet_holds(who: Visitor, balance: str) -> None:
    who.open("/mon-compte/porte-monnaie/")
    who.on("Mon porte-monnaie")
    expect(who.page.get_by_role("main")).to_contain_text(f"Solde : {balance}")


def see_reservations(who: Visitor, children: tuple[Child, ...], dates: list[dt.date], slot: str) -> None:
    """Every child on every date and nothing else, in the list and in the calendar of each month."""
    who.page.get_by_role("main").get_by_role("link", name="Mes réservations", exact=True).first.click()
    who.on("Mes réservations")
    for date in dates:
        for child in children:
            expect(booking(who, child, date, slot)).to_be_visible()
    expect(booking(who)).to_have_count(len(dates) * len(children))
    for first in sorted({date.replace(day=1) for date in dates}):
        within = [date for date in dates if date.replace(day=1) == first]
        calendar = who.page.get_by_role("table", name=re.compile(f"^{month(first).lower()}, "))
        turn_pages_to(who, calendar)
        expect(calendar).to_have_accessible_name(re.compile(f", {len(within) * len(children)} réservations?$"))
        for date in within:
            square = calendar.get_by_role("cell", name=re.compile(rf"^{date.day}\D"))
            expect(square).to_contain_text(f" : {slot}")
            for child in children:
                expect(square).to_contain_text(child.first_name)


def turn_pages_to(who: Visitor, calendar: Locator) -> None:
    """« Mois suivant » until that month is there: a school year has ten of them."""
    for _page in range(12):
        if calendar.is_visible():
            break
        shown = who.page.url
        who.follow(re.compile("^Mois suivant"))
        expect(who.page).not_to_have_url(shown)
        who.on("Mes réservations")
    expect(calendar).to_be_visible()


def booking(who: Visitor, child: Child | None = None, date: dt.date | None = None, slot: str = "") -> Locator:
    """The box of a booking that may be cancelled, or all of them."""
    if child is None or date is None:
        return who.page.get_by_role("checkbox", name=re.compile(r" \d{4}, "))
    return who.page.get_by_role("checkbox", name=f"{child.first_name}, {long_date(date)}, {slot}", exact=True)


def cancel(who: Visitor, child: Child, date: dt.date, slot: str, back: str) -> None:
    """Tick one booking of the list, read what comes back, confirm."""
    who.open("/mon-compte/reservations/")
    booking(who, child, date, slot).check()
    who.press("Annuler les réservations cochées…")
    who.on("Annuler cette réservation ?")
    # Who has paid by card is asked where the money goes; the wallet is what happens by itself.
    amount = r"\s".join(re.escape(part) for part in back.split())
    said = re.compile(rf"(Votre porte-monnaie recevra aussitôt|Dans mon porte-monnaie\s:)\s{amount}")
    expect(who.page.get_by_role("main")).to_contain_text(said)
    who.press("Confirmer l’annulation")
    who.on("Mes réservations")
    who.reads(f"Réservation annulée. Votre porte-monnaie a reçu {back}.")
    expect(booking(who, child, date, slot)).to_have_count(0)
