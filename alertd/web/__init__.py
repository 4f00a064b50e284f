"""What `--listen` serves."""
