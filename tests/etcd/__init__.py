"""The etcd package against real etcds."""
