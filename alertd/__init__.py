"""alertd: alerting for services that register in etcd."""

__version__ = "0.1.0"
