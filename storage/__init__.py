"""What stands behind the ports: Postgres, and in-memory twins that pass the same contract suite."""
