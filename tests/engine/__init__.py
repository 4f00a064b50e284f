"""The pure engine: tables and timelines from a fixed epoch."""
