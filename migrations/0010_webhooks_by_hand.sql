-- An endpoint can be disabled by hand, too. SQLite cannot change a CHECK, so its table is made anew, and that of the
-- deliveries with it, which refers to it.
CREATE TABLE endpoints_made_anew (
    id TEXT PRIMARY KEY,
    -- The operator's come from the configuration ('configured') or from a command ('operator').
    kind TEXT NOT NULL CHECK (kind IN ('operator', 'configured', 'account', 'callback')),
    account_id TEXT REFERENCES accounts (id),
    order_id TEXT UNIQUE REFERENCES orders (id),
    url TEXT NOT NULL,
    -- Types and patterns of types with commas between them.
    events TEXT NOT NULL,
    -- NULL for a callback, whose secret follows from its order.
    key_id BIGINT REFERENCES instance_keys (id),
    sealed_secret BYTEA,
    -- The secret before it signs besides until then.
    old_key_id BIGINT REFERENCES instance_keys (id),
    old_sealed_secret BYTEA,
    rotating_until BIGINT,
    created_at BIGINT NOT NULL,
    -- The first of nothing but failures.
    failing_since BIGINT,
    disabled_at BIGINT,
    disabled_because TEXT CHECK (disabled_because IN ('gone', 'failing', 'by_hand')),
    CHECK ((kind = 'account') = (account_id IS NOT NULL) AND (kind = 'callback') = (order_id IS NOT NULL)),
    CHECK ((kind = 'callback') = (sealed_secret IS NULL) AND (sealed_secret IS NULL) = (key_id IS NULL)),
    CHECK ((old_sealed_secret IS NULL) = (rotating_until IS NULL) AND (old_sealed_secret IS NULL) = (old_key_id IS NULL)),
    CHECK ((disabled_at IS NULL) = (disabled_because IS NULL))
);
INSERT INTO endpoints_made_anew (id, kind, account_id, order_id, url, events, key_id, sealed_secret, old_key_id,
        old_sealed_secret, rotating_until, created_at, failing_since, disabled_at, disabled_because)
    SELECT id, kind, account_id, order_id, url, events, key_id, sealed_secret, old_key_id, old_sealed_secret,
        rotating_until, created_at, failing_since, disabled_at, disabled_because FROM webhook_endpoints;

-- One event to be told to one endpoint.
CREATE TABLE deliveries_made_anew (
    id TEXT PRIMARY KEY,
    endpoint_id TEXT NOT NULL REFERENCES endpoints_made_anew (id),
    event_id TEXT NOT NULL REFERENCES events (id),
    state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'failed')),
    attempts BIGINT NOT NULL,
    -- The next attempt; while one is made, when it counts as lost.
    next_at BIGINT,
    -- What became of the last attempt, and the receiver's status where it gave one.
    outcome TEXT,
    status BIGINT,
    attempted_at BIGINT,
    created_at BIGINT NOT NULL,
    finished_at BIGINT,
    UNIQUE (event_id, endpoint_id),
    CHECK ((state = 'pending') = (next_at IS NOT NULL) AND (state = 'pending') = (finished_at IS NULL))
);
INSERT INTO deliveries_made_anew (id, endpoint_id, event_id, state, attempts, next_at, outcome, status, attempted_at,
        created_at, finished_at)
    SELECT id, endpoint_id, event_id, state, attempts, next_at, outcome, status, attempted_at, created_at, finished_at
    FROM webhook_deliveries;

DROP TABLE webhook_deliveries;
DROP TABLE webhook_endpoints;
ALTER TABLE endpoints_made_anew RENAME TO webhook_endpoints;
ALTER TABLE deliveries_made_anew RENAME TO webhook_deliveries;

-- Whether anybody listens at all is asked with every event that is written.
CREATE INDEX webhook_endpoints_listening ON webhook_endpoints (order_id) WHERE disabled_at IS NULL;
CREATE INDEX webhook_endpoints_by_account ON webhook_endpoints (account_id) WHERE account_id IS NOT NULL;
CREATE UNIQUE INDEX webhook_endpoints_configured ON webhook_endpoints (url) WHERE kind = 'configured';
CREATE INDEX webhook_endpoints_callbacks ON webhook_endpoints (created_at) WHERE kind = 'callback';
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (next_at) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_pending ON webhook_deliveries (endpoint_id, next_at) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_by_endpoint ON webhook_deliveries (endpoint_id, id);
CREATE INDEX webhook_deliveries_finished ON webhook_deliveries (finished_at) WHERE state <> 'pending';
