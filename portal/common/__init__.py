"""Ground shared by every app: money, French formats, refusals, database helpers. It has no models."""
