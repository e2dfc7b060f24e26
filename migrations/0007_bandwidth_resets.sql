-- What paid resets took off a month's bytes: the counted usage is what is beyond it.
ALTER TABLE monthly_usage ADD COLUMN reset_bytes BIGINT NOT NULL DEFAULT 0 CHECK (reset_bytes >= 0);
ALTER TABLE monthly_usage ADD COLUMN resets BIGINT NOT NULL DEFAULT 0 CHECK (resets >= 0);
