"""Tests of alertd.secretary."""
