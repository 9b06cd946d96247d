-- The keys with chosen resources, for counting and naming those that are bound to one.
CREATE INDEX keys_chosen_resources ON keys (tenant_id, id) WHERE all_resources = FALSE;
