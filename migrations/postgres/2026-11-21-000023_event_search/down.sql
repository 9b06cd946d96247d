DROP INDEX events_by_action;
DROP INDEX events_by_target;
DROP INDEX events_by_actor;
CREATE INDEX events_by_target ON events (tenant_id, target_kind, target_id, number);
CREATE INDEX events_by_actor ON events (tenant_id, actor_kind, actor_id, number);
