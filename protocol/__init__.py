"""The contract: what travels between clients, nodes and the journal. No I/O, no event loop."""
