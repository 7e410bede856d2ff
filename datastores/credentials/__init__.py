"""What proves that somebody may open a store: values, tokens and leases."""
