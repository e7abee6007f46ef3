"""Papers that go with e-mails: `receipt:<order>` is issued when its e-mail leaves, `paper:<document>` is issued already."""

from checkout.models import Order
from checkout.papers.models import Document
from checkout.papers.paper import stored
from checkout.papers.receipts import issue_receipt, receipt_of
from portal.outbox.attachments import File, Maker, register


def _order(subject: str) -> Order:
    return Order.objects.select_related("user").get(pk=int(subject))


def _file(document: Document) -> File:
    return File(document.file_name, stored(document), "application/pdf")


def _read_receipt(subject: str) -> File:
    receipt = receipt_of(_order(subject))
    if receipt is None:
        raise ValueError(f"order {subject} has no receipt")
    return _file(receipt)


def _make_receipt(subject: str) -> None:
    issue_receipt(order=_order(subject))


def install() -> None:
    """Declare both to the outbox."""
    register(
        "receipt",
        Maker(is_ready=lambda pk: receipt_of(_order(pk)) is not None, make=_make_receipt, read=_read_receipt),
    )
    register(
        "paper",
        Maker(
            is_ready=lambda _pk: True, make=lambda _pk: None, read=lambda pk: _file(Document.objects.get(pk=int(pk)))
        ),
    )
