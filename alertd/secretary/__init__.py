"""Probes a service and holds its key: pure plan and verdict, and a thin shell that probes and speaks with etcd."""
