"""How Django writes dates where it writes them by itself (FORMAT_MODULE_PATH): mostly in the administration."""
