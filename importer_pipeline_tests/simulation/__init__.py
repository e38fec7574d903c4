"""The engine against the sandbox without threads or sleeps: one seed decides everything, and can be replayed."""
