"""Benchmarks beside other tools, apart from the product and its tests."""
