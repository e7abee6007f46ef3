"""The instruments of the other tests notice what they are there for."""

from collections.abc import Callable

from playwright.sync_api import BrowserContext, expect

from tests.e2e.steps import Visitor
from tests.e2e.watch import Faults, Looks

Visit = Callable[..., Visitor]


def test_looks_find_what_axe_and_the_width_of_a_phone_refuse(visit: Visit) -> None:
    who = visit()
    who.open("/connexion/")
    fine = Looks()
    fine.at(who.page)
    fine.assert_fine()
    who.page.evaluate("document.adoptedStyleSheets = [new CSSStyleSheet()]")
    who.page.evaluate("""document.adoptedStyleSheets[0].replaceSync(`
        .pale { color: #ccc } .wide { width: 600px; height: 1px }
        @media (prefers-color-scheme: dark) { .dim { color: #333 } }`)""")
    who.page.get_by_role("main").evaluate("""(main) => main.insertAdjacentHTML("beforeend",
        `<p class="pale">pâle</p><p class="dim">sombre</p><div class="wide"></div><img src="/static/img/favicon.svg">`)""")
    looks = Looks()
    looks.at(who.page)
    seen = {fault.split(" : ")[0]: places for fault, places in looks.found.items()}
    assert seen["image-alt"] == [
        f"/connexion/ ({at})" for at in ("1280 px, light", "1280 px, dark", "390 px, light", "390 px, dark")
    ]
    contrasts = {text: places for text, places in looks.found.items() if text.startswith("color-contrast")}
    assert any("pâle" in text and "/connexion/ (1280 px, light)" in places for text, places in contrasts.items())
    assert any("sombre" in text and "(1280 px, light)" not in str(places) for text, places in contrasts.items())
    assert [places for fault, places in looks.found.items() if "wider than its window" in fault] == [
        ["/connexion/ (390 px, light)", "/connexion/ (390 px, dark)"]
    ]


def test_faults_are_exceptions_policies_and_missing_files(
    visit: Visit, new_context: Callable[..., BrowserContext], site: str
) -> None:
    context = new_context(base_url=site)
    faults = Faults()
    faults.watch(context)
    page = context.new_page()
    page.goto("/connexion/")
    assert faults.found == []
    page.evaluate("setTimeout(() => { throw new Error('boum'); })")
    page.get_by_role("main").evaluate(
        "(main) => main.insertAdjacentHTML('beforeend', '<p style=\"color: red\">rouge</p>')"
    )
    with page.expect_response("**/absent.svg"):
        page.get_by_role("main").evaluate(
            "(main) => main.insertAdjacentHTML('beforeend', '<img alt=\"\" src=\"/static/absent.svg\">')"
        )
    expect(page.get_by_text("rouge")).to_be_visible()
    assert len(faults.found) == 3, faults.found
    assert "boum" in faults.found[0] and "Content Security Policy" in faults.found[1] and "404" in faults.found[2]
