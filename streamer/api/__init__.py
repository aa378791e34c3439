"""The gRPC API: the server and its services."""
