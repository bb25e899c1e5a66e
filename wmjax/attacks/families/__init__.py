"""Families of attacks, each in a module of its own as a tuple `ATTACKS`; `wmjax.attacks.suite` collects them."""
