"""Training data in Azure storage as plain files on a compute node, and results back in storage."""
