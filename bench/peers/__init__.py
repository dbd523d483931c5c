"""What Slotcast is measured against; each module is a server process of its own."""
