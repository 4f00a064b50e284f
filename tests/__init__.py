"""The tests of alertd; they mirror the package."""
