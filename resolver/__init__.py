"""The node: sockets, processes, transports, recursion, clients and the command. See README.md."""
