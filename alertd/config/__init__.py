"""YAML to a typed, checked `Ruleset`; the only place that validates."""
