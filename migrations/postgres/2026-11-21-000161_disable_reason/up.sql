-- Why a key was disabled, while it is; empty where nobody said.
ALTER TABLE keys ADD COLUMN disable_reason TEXT NOT NULL DEFAULT '';
