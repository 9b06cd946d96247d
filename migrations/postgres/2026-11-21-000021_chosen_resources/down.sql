DROP INDEX keys_chosen_resources;
