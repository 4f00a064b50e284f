"""The product from outside: real daemons on a real etcd, with real receivers and real signals."""
