"""Evidence a stranger can check: signed commitments, claims, time stamps, and the judge. No JAX in here."""
