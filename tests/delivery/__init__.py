"""Tests of `alertd.delivery`: real sinks on loopback, real threads."""
