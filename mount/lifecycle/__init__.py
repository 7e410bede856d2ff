"""A job's life as a pure state machine: events in, commands out, nothing done here."""
