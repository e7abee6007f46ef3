"""The file of SEPA credit transfers that the régie's bank carries out: ISO 20022, pain.001.001.09."""

import datetime as dt
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from sepaxml import SepaTransfer
from sepaxml.validation import ValidationError, try_valid_xml
from text_unidecode import unidecode

from portal.common.bank_days import is_bank_day, next_bank_day
from portal.common.errors import Refused
from portal.common.formats import euros, long_date, today

# The version of the European Payments Council's guidelines since November 2023; banks are closing that of 2009 (.03).
SCHEMA = "pain.001.001.09"
# A date further away is a slip of the hand: what was granted would wait for it with nobody knowing.
MOST_DAYS_AHEAD = 30


@dataclass(frozen=True)
class Debtor:
    """The régie's own account, which transfers leave from, as its bank's contract says."""

    name: str
    iban: str
    bic: str = ""


@dataclass(frozen=True)
class Transfer:
    """One transfer of a file: to whom, how much in euros, what the statement of account says, and our reference.

    `asked_by` is whose request it is, for the operator who has to look at it.
    """

    asked_by: str
    holder: str
    iban: str
    amount: Decimal
    words: str
    reference: str


def as_banks_write(name: str) -> str:
    """A name in the letters that banks exchange, as sepaxml will write it; empty when they cannot tell it.

    A sign becomes nothing (🙂), a space, letters that name nobody (€: EUR) or « [?] »; a control character is no XML.
    """
    plain: str = unidecode(name)[:70]
    readable = plain.isprintable() and "[?]" not in plain and re.search("[A-Za-z]", plain)
    return plain if readable and any(character.isalpha() for character in name) else ""


def check_execution_date(date: dt.date) -> None:
    """Raises Refused for a day on which no bank can carry an order out: past, too far away, a weekend, a TARGET holiday."""
    if date < today():
        raise Refused(_("La date d’exécution est passée\u00a0: choisissez aujourd’hui ou plus tard."), code="date")
    last = today() + dt.timedelta(days=MOST_DAYS_AHEAD)
    if date > last:
        raise Refused(
            _("La date d’exécution est trop lointaine\u00a0: choisissez-la jusqu’au %s.") % long_date(last), code="date"
        )
    if not is_bank_day(date):
        words = {"date": long_date(date), "next": long_date(next_bank_day(date))}
        raise Refused(
            _("Les banques ne virent rien le %(date)s\u00a0: choisissez par exemple le %(next)s.") % words, code="date"
        )


def sepa_file(debtor: Debtor, transfers: Sequence[Transfer], execution_date: dt.date) -> str:
    """The order as the bank reads it, checked against the scheme's own description.

    Raises Refused when the régie's own account is not known, and for a request that no bank can
    read or that would go to that very account, naming whose it is.
    """
    if not debtor.iban:
        raise Refused(
            _("La régie n’a pas d’IBAN\u00a0: écrivez-le sous « Régies », puis recommencez. Rien n’a été préparé."),
            code="no_account",
        )
    if not as_banks_write(debtor.name):
        raise _of_the_regie()
    if unread := [row for row in transfers if not as_banks_write(row.holder)]:
        raise _of_requests(unread)
    if own := [
        row for row in transfers if row.iban == debtor.iban
    ]:  # the régie's account may be written after they asked
        raise Refused(
            _(
                "La demande de %s est à virer sur le compte de la régie elle-même\u00a0: refusez-la, puis recommencez. Rien n’a été préparé, les autres demandes attendent toujours."
            )
            % _whose(own),
            code="own_account",
        )
    config = {"name": debtor.name[:70], "IBAN": debtor.iban, "batch": True, "currency": "EUR"}
    if debtor.bic:
        config["BIC"] = debtor.bic
    made = SepaTransfer(config, schema=SCHEMA, clean=True)
    for row in transfers:
        made.add_payment(
            {
                "name": row.holder,
                "IBAN": row.iban,
                "amount": int(row.amount * 100),
                "execution_date": execution_date,
                "description": row.words,
                "endtoend_id": row.reference,
            }
        )
    tree = ET.fromstring(made.export(validate=False))  # noqa: S314
    _name_the_bank(tree)
    ET.indent(tree)
    file: bytes = ET.tostring(tree, encoding="UTF-8", xml_declaration=True)
    try:
        try_valid_xml(file, SCHEMA)
    except ValidationError as error:
        where = str(getattr(error.__cause__, "path", ""))  # an only one has no number
        found = re.search(r"CdtTrfTxInf(?:\[(\d+)\])?", where)
        raise (_of_requests([transfers[int(found[1] or 1) - 1]]) if found else _of_the_regie()) from error
    return file.decode()


def _whose(rows: Sequence[Transfer]) -> str:
    return ", ".join(f"{row.asked_by} ({euros(row.amount)})" for row in rows)


def _of_requests(rows: Sequence[Transfer]) -> Refused:
    return Refused(
        ngettext(
            "La banque ne saurait pas lire la demande de %s\u00a0: refusez-la en disant d’écrire le nom du titulaire en lettres, puis recommencez. Rien n’a été préparé, les autres demandes attendent toujours.",
            "La banque ne saurait pas lire les demandes de %s\u00a0: refusez-les en disant d’écrire le nom du titulaire en lettres, puis recommencez. Rien n’a été préparé, les autres demandes attendent toujours.",
            len(rows),
        )
        % _whose(rows),
        code="unreadable",
    )


def _of_the_regie() -> Refused:
    return Refused(
        _(
            "La banque ne saurait pas lire le nom ou le BIC de la régie\u00a0: corrigez-les sous «\u00a0Régies\u00a0», puis recommencez. Rien n’a été préparé."
        ),
        code="regie_unreadable",
    )


def _name_the_bank(tree: ET.Element) -> None:
    """Without a BIC the guidelines ask for NOTPROVIDED where sepaxml writes an empty element, which banks turn away."""
    names = {"p": f"urn:iso:std:iso:20022:tech:xsd:{SCHEMA}"}
    for agent in tree.iterfind(".//p:DbtrAgt/p:FinInstnId", names):
        if not len(agent):
            other = ET.SubElement(agent, f"{{{names['p']}}}Othr")
            ET.SubElement(other, f"{{{names['p']}}}Id").text = "NOTPROVIDED"
