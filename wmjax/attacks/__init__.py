"""What a thief may try, to see what a mark survives: one file a family of attacks."""

from wmjax.attacks.contract import Attack, Attacked, Stolen, Thief

__all__ = ["Attack", "Attacked", "Stolen", "Thief"]
