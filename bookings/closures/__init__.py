"""Closures decided by staff: who is touched, days closed at once, places and money given back when the e-mails leave."""
