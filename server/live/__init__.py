"""The live edge: WebSocket and server-sent events over the same views."""
