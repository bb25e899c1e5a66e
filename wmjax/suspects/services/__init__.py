"""Suspects behind a network: a provider says what a service is asked and how it answers, `wire` carries it. No JAX."""
