"""How the user's code runs: as processes that see `/pfs`, and the files of their image, where they expect them."""
