"""All that knows etcd3, gRPC and protobuf."""
