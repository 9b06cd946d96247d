-- The Events page reads in the order of time: by target, by actor and by action, each with the newest first.
DROP INDEX events_by_target;
DROP INDEX events_by_actor;
CREATE INDEX events_by_target ON events (tenant_id, target_kind, target_id, at, number);
CREATE INDEX events_by_actor ON events (tenant_id, actor_kind, actor_id, at, number);
CREATE INDEX events_by_action ON events (tenant_id, action, at, number);
