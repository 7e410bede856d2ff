"""How long what a daemon does may take, for it and for its callers."""

# Beyond what starting a host may take, and a queue of them.
ATTACH_SECONDS = 180.0
# What a release gets that nobody waits for.
RELEASE_SECONDS = 60.0
LAST_SECONDS = 30.0
