"""Benchmarks: measured against other tools, kept apart from the product and from its tests."""
