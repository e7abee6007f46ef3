"""What nobody may write past the e-mails and calls that must leave."""

from tests.faults_of import Fault, changed, deleted, now

FAULTS: dict[str, list[Fault]] = {
    "outbox.Call:done_call_is_dated": [changed(status="done"), changed(done_at=now)],
    "outbox.Call:call_transitions": [
        changed(after={"status": "done", "done_at": now}, status="waiting", done_at=None),  # it would be done twice
        changed(after={"status": "dead"}, status="done", done_at=now),
    ],
    "outbox.Call:call_is_frozen": [
        changed(key="autre"),
        changed(name="autre"),
        changed(payload={"payment": 2}),
        changed(created_at=now),
    ],
    "outbox.Call:calls_are_kept": [deleted()],
    "outbox.Email:sent_email_is_dated": [changed(status="sent"), changed(sent_at=now)],
}
