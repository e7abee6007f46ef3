"""Money moved by hand: one person proposes, another decides, the owner of the wallet reads why."""
