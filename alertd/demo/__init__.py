"""A stage on one machine: a real etcd, real services and secretaries, the real daemon, and a story that moves them."""
