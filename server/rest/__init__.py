"""REST: one module per area of the contract, each with a `routes(node)` that lists its endpoints."""
