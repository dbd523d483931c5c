"""The edge and the composition root."""
