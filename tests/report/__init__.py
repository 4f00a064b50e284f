"""Tests of the books, and of what is read of them."""
