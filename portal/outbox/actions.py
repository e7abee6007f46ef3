"""Writing e-mails into the outbox, and sending what is due."""

import hashlib
import logging

from celery import Task
from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.db import transaction
from django.template import Context, Engine
from django.utils import timezone

from portal.common.pauses import Pause
from portal.outbox import attachments
from portal.outbox.back_off import back_in_line, put_off
from portal.outbox.models import Email

logger = logging.getLogger(__name__)

pause = Pause()  # of the broker


def queue_email(*, key: str, to: str, template: str, context: dict[str, object], attachment: str = "") -> None:
    """Write an e-mail that leaves once the surrounding transaction is committed.

    `template` names `emails/<template>.txt`, whose first line is the subject. The same key is written once: asking
    again changes nothing, so a repeated action does not write to its reader twice. `attachment` names a file that is made
    when the e-mail leaves (portal.outbox.attachments).
    """
    write_email(key=key, to=to, template=template, context=context, attachment=attachment)
    transaction.on_commit(poke, robust=True)


def write_email(*, key: str, to: str, template: str, context: dict[str, object], attachment: str = "") -> None:
    """The same, and no worker is woken: of thousands at once, whose writer pokes one now and then."""
    source = Engine.get_default().get_template(f"emails/{template}.txt")
    # Plain text: an apostrophe in a name must not arrive as &#x27;.
    text = source.render(Context({**surroundings(), **context}, autoescape=False))
    subject, _, body = text.strip().partition("\n")
    _write(key=key, to=to, subject=subject, body=body.strip() + "\n", attachment=attachment)


def surroundings() -> dict[str, object]:
    """What every e-mail may say beside its own context: the site's address, the number to call for help."""
    return {"site_url": settings.SITE_URL, "help_phone": settings.HELP_PHONE}


def queue_message(*, key: str, to: str, subject: str, body: str, html: str = "", attachment: str = "") -> None:
    """Write an e-mail whose text is ready (allauth renders its own); see queue_email."""
    _write(key=key, to=to, subject=subject, body=body, html=html, attachment=attachment)
    transaction.on_commit(poke, robust=True)


def _write(*, key: str, to: str, subject: str, body: str, html: str = "", attachment: str = "") -> None:
    attachments.check(attachment)
    email = Email(key=key, to=to, subject=" ".join(subject.split())[:200], body=body, html=html, attachment=attachment)
    Email.objects.bulk_create([email], ignore_conflicts=True)


def poke() -> None:
    """Tell a worker that an e-mail waits."""
    from portal.outbox.tasks import sweep

    try_to_start(sweep)


def try_to_start(task: Task, **arguments: object) -> None:
    """Ask a worker for a task. May fail while the broker is down or silent: beat asks again every minute."""
    if pause.lasts:
        return
    try:
        task.delay(**arguments)
    except task.OperationalError:
        pause.begin()
        logger.warning("The broker does not answer; what waits leaves with the next sweep.")


def send_due(*, limit: int = 100) -> int:
    """Send up to `limit` e-mails whose turn it is; returns how many left.

    Must not run inside a transaction: each e-mail is claimed, sent and marked in one of its own, so that a crash
    loses at most the mark of one, whose second copy carries the same Message-ID and is dropped by mail servers.
    """
    sent = 0
    for _attempt in range(limit):
        with transaction.atomic(durable=True):
            email = Email.objects.due().select_for_update(skip_locked=True).order_by("next_attempt_at").first()
            if email is None:
                break
            email.attempts += 1
            try:
                # A savepoint: what the database refuses of an attachment must leave us its e-mail to be marked.
                with transaction.atomic():
                    message = _message(email) if attachments.is_ready(email) else None
                if message is not None:
                    message.send()
            except Exception as error:  # whatever it was: the e-mails behind it are not to wait for it
                logger.warning("The e-mail %s has not left: %r", email.key, error)
                put_off(email, error)
                continue
            if message is not None:
                _sent(email)
                sent += 1
        if message is None:
            _make_attachment(email)
    return sent


def retry(*, email: Email) -> None:
    """Put an abandoned e-mail back in line (an operator's decision)."""
    back_in_line(email)
    transaction.on_commit(poke, robust=True)


def _make_attachment(email: Email) -> None:
    """Make what an e-mail waits for; a failure counts as a try of the e-mail."""
    try:
        attachments.make(email)
    except Exception as error:  # whatever it was, the e-mail is kept, tried again and shown to an operator
        logger.exception("The attachment %s cannot be made", email.attachment)
        with transaction.atomic():
            waiting = Email.objects.due().select_for_update(skip_locked=True).filter(pk=email.pk).first()
            if waiting is not None:
                waiting.attempts += 1
                put_off(waiting, error)


def _message(email: Email) -> EmailMultiAlternatives:
    """The e-mail as it leaves, with its file."""
    message = EmailMultiAlternatives(
        subject=email.subject,
        body=email.body,
        to=[email.to],
        headers={"Message-ID": _message_id(email), "Auto-Submitted": "auto-generated"},
    )
    if email.html:
        message.attach_alternative(email.html, "text/html")
    if email.attachment:
        file = attachments.read(email)
        message.attach(file.name, file.content, file.content_type)
    return message


def _sent(email: Email) -> None:
    email.status = Email.Status.SENT
    email.sent_at = timezone.now()
    email.last_error = ""
    email.save(update_fields=["attempts", "status", "sent_at", "last_error"])


def _message_id(email: Email) -> str:
    host = settings.SITE_URL.split("//")[-1].split(":")[0].split("/")[0]
    return f"<{hashlib.sha256(email.key.encode()).hexdigest()[:40]}@{host}>"
