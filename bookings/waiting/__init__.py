"""Waiting lists of full days: who waits, in which order, and how a freed place is offered (docs/adr/0006-waiting-lists.md)."""
