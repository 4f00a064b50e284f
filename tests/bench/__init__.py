"""Benchmarks: `python -m tests.bench` prints the table that the README quotes."""
