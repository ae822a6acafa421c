"""The messages of KeyService, generated from its .proto files by `generate`."""
