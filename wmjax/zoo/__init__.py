"""Zoos: folders of many models, found, read, scored and judged in one pass."""
