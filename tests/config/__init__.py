"""Tests of the rules' reading."""
