"""The pure engine: (event, now) in, actions out. No await, clock, I/O, logging, randomness or environment."""
