"""From notifications to people: render, send, retry."""
