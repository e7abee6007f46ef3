"""The look of the site: contrast of the tokens, the form renderer, error pages, and the gallery in a real browser."""

import datetime as dt
import gzip
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from django import forms
from django.conf import settings
from django.template import Context, Template
from django.template.loader import get_template
from django_cotton.compiler_regex import CottonCompiler
from playwright.sync_api import Page, Route

from bookings.calendar import Cell
from checkout.summary import Share
from portal import gallery
from portal.common.forms import DateField, SummaryOnPage

ROOT = Path(settings.BASE_DIR)
CSS = (ROOT / "static/css/site.css").read_text()
SPRITE_IDS = set(re.findall(r'<symbol id="([^"]+)"', (ROOT / "static/icons.svg").read_text()))
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))


def html(source: str, **context: object) -> str:
    """Cotton's loader compiles files only; here it is done by hand."""
    return Template(CottonCompiler().process(source)).render(Context(context))


# --- Colours ---------------------------------------------------------------------------------------------------------


def themes() -> dict[str, dict[str, str]]:
    light, system_dark, asked_dark = (
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})\b", block)) for block in re.findall(r"color-scheme: [^}]+", CSS)
    )
    assert system_dark == asked_dark, "the two dark themes of site.css differ"
    return {"light": light, "dark": light | system_dark}


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * c for c in colour[1:])
    channels = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


GROUNDS = ["bg", "paper", "sunk"]
PAIRS = [
    *[(text, ground, 4.5) for text in ("ink", "soft", "brand", "brand-dark", "bad") for ground in GROUNDS],
    *[(edge, ground, 3) for edge in ("edge", "focus") for ground in GROUNDS],
    *[(kind, f"{kind}-bg", 4.5) for kind in ("ok", "warn", "bad", "info")],
    *[("ink", f"{kind}-bg", 4.5) for kind in ("ok", "warn", "bad", "info")],
    ("on-brand", "brand", 4.5),
    ("on-brand", "brand-dark", 4.5),
    ("tint-ink", "tint", 4.5),
    ("brand", "tint", 4.5),
    ("paper", "bad", 4.5),
    ("bg", "ink", 4.5),
    ("ink", "sky", 4.5),
    ("soft", "line", 4.5),
]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_contrast_enough(theme: str) -> None:
    tokens = themes()[theme]
    poor = {
        f"{text} on {ground}": round(contrast(tokens[text], tokens[ground]), 2)
        for text, ground, least in PAIRS
        if contrast(tokens[text], tokens[ground]) < least
    }
    assert not poor


# --- Templates -------------------------------------------------------------------------------------------------------


def test_every_icon_named_in_a_template_is_in_the_sprite() -> None:
    named = {
        (path.name, icon)
        for path in TEMPLATES
        for pattern in (
            r'<c-icon name="([\w-]+)"',
            r'\b(?:icon|after)="([\w-]+)"',
            r"(?:sprite|svg['\" %}]*) ?}}#([\w-]+)",
        )
        for icon in re.findall(pattern, path.read_text())
    }
    assert named
    assert not {pair for pair in named if pair[1] not in SPRITE_IDS}


def test_no_template_holds_inline_style_or_script() -> None:
    """The Content-Security-Policy would refuse them."""
    inline = re.compile(r"<style|\sstyle=|<script(?![^>]*\ssrc=)|\son[a-z]+=|javascript:", re.IGNORECASE)
    site = [path for path in TEMPLATES if not {"emails", "admin"} & set(path.parts)]
    assert not [path.name for path in site if inline.search(path.read_text())]


def test_every_component_declares_its_attributes() -> None:
    """Cotton prints what a component does not declare, unescaped, wherever {{ attrs }} stands."""
    for path in (ROOT / "templates/components").glob("*.html"):
        source = path.read_text()
        assert "{{ attrs" not in source, path.name
        assert source.startswith(("{#", "{% comment %}")), f"{path.name} does not say what it is for"


@pytest.mark.parametrize("name", ["400.html", "403_csrf.html", "500.html"])
def test_pages_of_failure_need_nothing(name: str) -> None:
    """Django renders them without a request, maybe without a database."""
    page = get_template(name).render()
    assert "<h1>" in page
    assert 'href="/"' in page
    assert "{%" not in page


def test_a_button_escapes_what_it_is_given() -> None:
    page = html(
        '<c-button :name="name" :value="value" :href="href">{{ value }}</c-button>', name="n", value='"><b>', href=""
    )
    assert "<b>" not in page
    assert "&quot;&gt;&lt;b&gt;" in page


def test_steps_say_where_one_is() -> None:
    page = html(
        '{% for n in numbers %}<c-step :n="n" :at="n" :current="2" :done="done" href="/x/">É{{ n }}</c-step>{% endfor %}',
        numbers=[1, 2, 3, 4],
        done=[4],
    )
    first, second, third, fourth = page.split("</li>")[:4]
    assert "(terminée)" in first
    assert 'aria-current="step"' in second
    assert "<a " not in second
    assert "(terminée)" not in third
    assert "(terminée)" in fourth


def test_a_school_year_of_days_stays_small() -> None:
    months = [gallery._month(2026 + m // 12, m % 12 + 1) for m in range(8, 20)]
    page = html('{% for month in months %}<c-month :month="month" />{% endfor %}', months=months)
    assert len(gzip.compress(page.encode())) < 8000
    # A reader of the screen, and a test, find a day by its full date.
    assert 'aria-label="lundi 7 décembre 2026"' in page


def test_the_squares_of_a_month_escape_what_they_hold() -> None:
    hostile = '"><script>'
    cells = [
        [
            Cell(1, value=hostile, label=hostile, letters=hostile, skip=hostile, price=hostile),
            Cell(2, reason=hostile),
            None,
        ]
    ]
    page = html("{% load month_cells %}{% month_cells weeks name %}", weeks=cells, name=hostile)
    assert "<script>" not in page
    assert page.count("&quot;&gt;&lt;script&gt;") == 7


def test_no_line_of_a_message_begins_with_its_punctuation() -> None:
    text = "Trop tard : choisissez « Mercredi » ; sinon <b>rien</b> ?"
    page = html("{{ text|typography }}", text=text)
    assert page == "Trop tard\u00a0: choisissez «\u00a0Mercredi\u00a0»\u00a0; sinon &lt;b&gt;rien&lt;/b&gt;\u00a0?"
    assert "<b>" in html("{{ text|safe|typography }}", text=text)  # what was safe stays so


# --- How many dates read ---------------------------------------------------------------------------------------------


def days(*texts: str) -> list[dt.date]:
    return [dt.date.fromisoformat(text) for text in texts]


@pytest.mark.parametrize(
    ("dates", "text"),
    [
        (days("2026-12-01"), "mardi 1er décembre 2026"),
        (
            days("2026-11-25", "2026-12-02", "2026-12-16", "2027-01-06"),
            "mercredis 25 novembre, 2 et 16 décembre 2026 et 6 janvier 2027",
        ),
        (days("2026-11-30", "2026-12-01"), "lun. 30 novembre et mar. 1er décembre 2026"),
    ],
)
def test_few_dates_are_spelled_out(dates: list[dt.date], text: str) -> None:
    share = Share("Louane Dupont", dates)
    assert not share.is_long
    assert share.text.replace("\u00a0", " ") == text


def test_many_dates_are_counted_and_unfold_by_month() -> None:
    wednesdays = Share("Louane Dupont", [dt.date(2026, 11, 25) + dt.timedelta(weeks=n) for n in range(30)])
    assert wednesdays.is_long
    assert wednesdays.headline.replace("\u00a0", " ") == "30 mercredis, du 25 novembre 2026 au 16 juin 2027"
    assert wednesdays.months[:2] == [("Novembre 2026", "25"), ("Décembre 2026", "2, 9, 16, 23 et 30")]
    daily = Share("Louane Dupont", [dt.date(2026, 11, 30) + dt.timedelta(days=n) for n in range(12)])
    assert daily.headline.replace("\u00a0", " ") == "12 dates, du 30 novembre 2026 au 11 décembre 2026"
    assert daily.months[0] == ("Novembre 2026", "lun.\u00a030")


def test_a_broken_series_is_not_told_as_a_whole_one() -> None:
    wednesdays = [dt.date(2027, 1, 20) + dt.timedelta(weeks=n) for n in range(18)]
    some = Share("Louane Dupont", [date for date in wednesdays if not 3 <= date.month < 5 and date.month != 2])
    assert len(some.dates) < len(wednesdays)
    said = some.headline.replace("\u00a0", " ")
    assert said == f"{len(some.dates)} dates, entre le 20 janvier 2027 et le 19 mai 2027"


def test_the_last_of_several_months_follows_an_and() -> None:
    share = Share("Louane Dupont", [dt.date(2026, 12, 16), dt.date(2027, 1, 27), dt.date(2027, 2, 3)])
    assert share.text.replace("\u00a0", " ") == "mercredis 16 décembre 2026, 27 janvier et 3 février 2027"
    share = Share("Louane Dupont", [dt.date(2027, 1, 27), dt.date(2027, 2, 3), dt.date(2027, 2, 10)])
    assert share.text.replace("\u00a0", " ") == "mercredis 27 janvier, 3 et 10 février 2027"


# --- Forms -----------------------------------------------------------------------------------------------------------


class Elements(HTMLParser):
    """Every element's attributes, by tag."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.all: list[tuple[str, dict[str, str | None]]] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.all.append((tag, dict(attrs)))

    def by_id(self, id_: str) -> dict[str, str | None]:
        return next(attrs for _tag, attrs in self.all if attrs.get("id") == id_)


@pytest.fixture
def wrong() -> Elements:
    return Elements(str(gallery.SampleForm({"last_name": "Dupont", "email": "claire.dupont"})))


def test_help_and_error_are_tied_to_their_field(wrong: Elements) -> None:
    email = wrong.by_id("id_email")
    assert email["aria-describedby"] == "id_email_helptext id_email_error"
    assert email["aria-invalid"] == "true"
    assert email["autocomplete"] == "email"
    assert wrong.by_id("id_email_helptext")
    assert wrong.by_id("id_email_error")
    assert "aria-invalid" not in wrong.by_id("id_last_name")


def test_every_link_of_the_error_summary_lands_on_a_control(wrong: Elements) -> None:
    links = [attrs["href"] for tag, attrs in wrong.all if tag == "a"]
    assert "#id_birth_date_0" in links
    assert "#id_profile_0_0" in links  # a grouped choice numbers its options twice
    controls = {attrs.get("id"): tag for tag, attrs in wrong.all if tag in ("input", "select", "textarea")}
    assert not [link for link in links if (link or "")[1:] not in controls]


def test_every_reference_between_elements_holds(wrong: Elements) -> None:
    ids = [attrs["id"] for _tag, attrs in wrong.all if attrs.get("id")]
    assert len(ids) == len(set(ids))
    for _tag, attrs in wrong.all:
        for target in " ".join(filter(None, (attrs.get("for"), attrs.get("aria-describedby")))).split():
            assert target in ids


def test_optional_fields_say_so_and_missing_ones_are_named() -> None:
    form = gallery.SampleForm({})
    page = str(form)
    assert page.count("(facultatif)") == sum(not field.required for field in form.fields.values())
    assert "Renseignez «\u00a0Nom\u00a0»." in page
    assert "Cochez la case pour accepter les conditions." in page  # a form's own words win
    assert "Ce champ est obligatoire" not in page
    # The class, shared by all requests, keeps its own words.
    assert gallery.SampleForm.base_fields["last_name"].error_messages["required"] == "Ce champ est obligatoire."


def test_groups_of_choices_keep_their_names_and_values() -> None:
    page = str(gallery.SampleForm({"profile": "3", "diets": ["meatless"]}))
    assert "Rosières" in page
    assert re.search(r'name="profile" value="3"[^>]*checked', page)
    assert re.search(r'name="diets" value="meatless"[^>]*checked', page)


def test_the_summary_may_stand_elsewhere_on_the_page() -> None:
    class Small(SummaryOnPage, forms.Form):
        name = forms.CharField(label="Nom")

    form = Small({})
    assert "Il y a un problème" not in str(form)
    assert "Il y a un problème" in html('<c-error-summary :form="form" />', form=form)
    assert "Il y a un problème" not in html('<c-error-summary :form="form" />', form=Small())


class BirthForm(forms.Form):
    date = DateField(label="Date de naissance")


@pytest.mark.parametrize(
    ("day", "month", "year", "expected"),
    [
        ("10", "5", "2018", dt.date(2018, 5, 10)),
        ("01", "02", "2018", dt.date(2018, 2, 1)),
        (" 10 ", "mai", "2018", dt.date(2018, 5, 10)),
        ("1", "Déc.", "2018", dt.date(2018, 12, 1)),
        ("29", "2", "2020", dt.date(2020, 2, 29)),
        ("29", "2", "2019", "n’existe pas au calendrier"),
        ("1", "jui", "2018", "n’existe pas au calendrier"),  # juin or juillet
        ("10", "", "", "il manque le mois et l’année"),
        ("", "5", "2018", "il manque le jour"),
        ("10", "5", "18", "quatre chiffres"),
        ("10", "5", "0000", "n’existe pas au calendrier"),
        ("9" * 5000, "5", "2018", "n’existe pas au calendrier"),
        ("-", "<b>", "\x00", "il manque le jour"),
        ("", "", "", "Renseignez «\u00a0Date de naissance\u00a0»."),
    ],
)
def test_a_date_in_three_boxes(day: str, month: str, year: str, expected: dt.date | str) -> None:
    form = BirthForm({"date_day": day, "date_month": month, "date_year": year})
    if isinstance(expected, dt.date):
        assert form.is_valid(), form.errors
        assert form.cleaned_data["date"] == expected
    else:
        assert expected in form.errors["date"][0]
        assert f'value="{day}"' in str(form) or not day.strip("- ")


def test_a_date_may_also_come_as_one_value() -> None:
    form = BirthForm({"date": "2018-05-10"})
    assert form.is_valid()
    assert form.cleaned_data["date"] == dt.date(2018, 5, 10)
    assert 'name="date_year" value="2018"' in str(BirthForm(initial={"date": dt.date(2018, 5, 10)}))
    assert not BirthForm({"date": "2018-05-10"}, initial={"date": dt.date(2018, 5, 10)}).has_changed()


# --- In a browser ----------------------------------------------------------------------------------------------------

SCREENS = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]


@pytest.fixture
def complaints(page: Page) -> Iterator[list[str]]:
    """What the browser's console says, the refusals of the Content-Security-Policy among it."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    yield said
    assert not said


def violations(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [f"{v['id']}: {[node['html'][:200] for node in v['nodes'][:3]]}" for v in found]


def spills(page: Page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth > innerWidth")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_the_gallery_is_accessible(page: Page, live_server, complaints: list[str], width: int, scheme: str) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(f"{live_server.url}/composants/")
    assert violations(page) == []
    assert not spills(page)
    # The summary of errors has the focus when the page opens.
    assert page.evaluate("document.activeElement.className") == "errors"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_the_error_pages_are_accessible(page: Page, live_server, width: int, scheme: str) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]

    def answer(route: Route) -> None:
        name = route.request.url.rsplit("/", 1)[1]
        route.fulfill(body=get_template(f"{name}.html").render(), content_type="text/html; charset=utf-8")

    page.route(re.compile("/(400|403_csrf|500)$"), answer)
    for name in ("400", "403_csrf", "500"):
        page.goto(f"{live_server.url}/{name}")
        assert violations(page) == [], name
        assert not spills(page), name
    page.goto(f"{live_server.url}/il-n-y-a-rien-ici/")
    assert page.get_by_role("heading", name="Page introuvable").is_visible()
    assert violations(page) == []


@pytest.mark.django_db(transaction=True)
def test_the_gallery_holds_at_320_pixels_and_at_double_text_size(page: Page, live_server) -> None:
    page.set_viewport_size({"width": 320, "height": 800})
    page.goto(f"{live_server.url}/composants/")
    assert not spills(page)
    session = page.context.new_cdp_session(page)
    session.send("Page.enable")
    session.send("Page.setFontSizes", {"fontSizes": {"standard": 32, "fixed": 26}})
    page.reload()
    assert not spills(page)


@pytest.mark.django_db(transaction=True)
def test_the_bar_of_the_booking_page_never_covers_the_focus(page: Page, live_server) -> None:
    page.set_viewport_size({"width": 390, "height": 640})
    page.goto(f"{live_server.url}/composants/")
    page.locator("input[name=slot]").first.focus()
    seen = 0
    while True:
        page.keyboard.press("Tab")
        state = page.evaluate(
            """() => {
              const here = document.activeElement, bar = document.querySelector(".book .sum");
              return {
                inside: !!here.closest(".book") && !bar.contains(here),
                covered: here.getBoundingClientRect().bottom > bar.getBoundingClientRect().top + 1,
              };
            }"""
        )
        if not state["inside"]:
            break
        seen += 1
        assert not state["covered"]
    assert seen > 15


@pytest.mark.django_db(transaction=True)
def test_the_total_follows_the_choices(page: Page, live_server, complaints: list[str]) -> None:
    page.goto(f"{live_server.url}/composants/")
    quantity, total = page.locator("[data-sum=quantity]"), page.locator("[data-sum=total]")
    page.get_by_label("Théo Dupont").check()
    assert (quantity.inner_text(), total.inner_text()) == ("10", "79,00\u00a0€")
    page.get_by_role("button", name="Tous les vendredis de décembre 2026").click()
    assert (quantity.inner_text(), total.inner_text()) == ("14", "110,60\u00a0€")  # not the late one, the 11th
    page.get_by_label("jeudi 3 décembre 2026, déjà réservé").check()  # Louane is booked that day already
    assert quantity.inner_text() == "15"
    page.get_by_label("Matin + Repas").check()
    assert total.inner_text() == "178,50\u00a0€"
    page.get_by_role("button", name="Tout décocher").click()
    assert total.inner_text() == "0,00\u00a0€"


@pytest.mark.django_db(transaction=True)
def test_prices_follow_situation_and_date(page: Page, live_server, complaints: list[str]) -> None:
    """data-cents as checkout.views.booking.Prices writes it: two situations, one price that changes in the year."""
    page.goto(f"{live_server.url}/composants/")
    page.evaluate(
        """() => {
          const form = document.querySelector("form.book");
          const cents = "7/12:790 7/12@2026-12-08:810 7/13:1190 8/12:1000 8/13:";
          form.querySelectorAll("[data-people] input").forEach((input) => { input.dataset.cents = cents; });
          form.querySelector("div").insertAdjacentHTML("afterbegin", `<fieldset data-profiles><legend>Situation</legend>
            <label><input type="radio" name="profile" value="7" checked>Résident</label>
            <label><input type="radio" name="profile" value="8">Hors commune</label></fieldset>
            <input type="hidden" name="dates" value="2027-09-06">`);
          form.dispatchEvent(new Event("change"));
        }"""
    )
    total, quantity = page.locator("[data-sum=total]"), page.locator("[data-sum=quantity]")
    # 7 December at 7,90 €; 8, 14, 15, 17 December and the hidden date of the next school year at 8,10 €.
    assert (quantity.inner_text(), total.inner_text()) == ("6", "48,40\u00a0€")
    page.get_by_label("Hors commune", exact=True).check()
    assert total.inner_text() == "60,00\u00a0€"
    page.get_by_role("button", name="Tout décocher").click()
    assert (quantity.inner_text(), total.inner_text()) == ("0", "0,00\u00a0€")


@pytest.mark.django_db(transaction=True)
def test_the_chosen_theme_is_kept_by_the_server(page: Page, live_server) -> None:
    page.goto(f"{live_server.url}/composants/")
    page.get_by_label("Affichage").select_option("dark")
    response = page.goto(f"{live_server.url}/composants/")
    assert response is not None
    assert 'data-theme="dark"' in response.text()


@pytest.mark.django_db(transaction=True)
def test_a_form_leaves_once(page: Page, live_server) -> None:
    """The second click of a double click is swallowed (the server would recognise it anyway)."""
    page.goto(f"{live_server.url}/composants/")
    page.evaluate("""() => {
        window.submits = [];
        document.addEventListener("submit", (event) => {
            window.submits.push(event.defaultPrevented);
            event.preventDefault(); // the page stays, to be asked
        });
    }""")
    page.get_by_role("button", name="Ajouter au panier").last.dblclick()
    assert page.evaluate("window.submits") == [False, True]
