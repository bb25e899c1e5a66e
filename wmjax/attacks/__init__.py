"""What a thief may try, to see what a mark survives: the bench; the attacks are in `families/`, a file for each."""

from wmjax.attacks.contract import Attack, Attacked, Served, Stolen, Thief

__all__ = ["Attack", "Attacked", "Served", "Stolen", "Thief"]
