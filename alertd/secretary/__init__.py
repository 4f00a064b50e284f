"""Beside a service: probe it and hold its key."""
