"""localpach: Pachyderm 2.7's gRPC API served by one process on one machine, without Kubernetes."""

VERSION = (2, 7, 6)
