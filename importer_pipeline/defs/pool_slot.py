"""A step's place in its pool, given back while the step only waits, and taken again when there is something to do."""

from importer_pipeline.defs.event_writing import Context, pool_of, step_key


class PoolSlot:
    """The place that a step has, if it has one.

    Dagster gives it back when the step ends, whether the step has it then or not.

    Args:
        context: the step's.
    """

    def __init__(self, context: Context) -> None:
        self._storage = context.instance.event_log_storage
        self._run_id = context.run.run_id
        self._step_key = step_key(context)
        self._pool = self._held_pool(pool_of(context))
        self._asked_for = True

    def take(self) -> bool:
        """Return whether the step has its slot; if not, it is queued for one from now on."""
        # Who deletes a pool lets everybody in.
        if self._pool is None or self._pool not in self._storage.get_concurrency_keys():
            return True
        self._asked_for = True
        return self._storage.claim_concurrency_slot(self._pool, self._run_id, self._step_key).is_claimed

    def give_back(self) -> None:
        """Let another step have the place, or what stands for it in the queue."""
        if self._pool is not None and self._asked_for:
            self._storage.free_concurrency_slot_for_step(self._run_id, self._step_key)
            self._asked_for = False

    def _held_pool(self, pool: str | None) -> str | None:
        """The pool, if it has limits at all, and counts steps: else there is no place to be given back."""
        if pool is None or not self._storage.supports_global_concurrency_limits:
            return None
        claimed = self._storage.get_concurrency_info(pool).claimed_slots
        return pool if any((it.run_id, it.step_key) == (self._run_id, self._step_key) for it in claimed) else None
