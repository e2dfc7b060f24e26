-- Who is told of events by HTTP: the operator, an account of what is its own, and a callback of one order's events.
CREATE TABLE webhook_endpoints (
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
    disabled_because TEXT CHECK (disabled_because IN ('gone', 'failing')),
    CHECK ((kind = 'account') = (account_id IS NOT NULL) AND (kind = 'callback') = (order_id IS NOT NULL)),
    CHECK ((kind = 'callback') = (sealed_secret IS NULL) AND (sealed_secret IS NULL) = (key_id IS NULL)),
    CHECK ((old_sealed_secret IS NULL) = (rotating_until IS NULL) AND (old_sealed_secret IS NULL) = (old_key_id IS NULL)),
    CHECK ((disabled_at IS NULL) = (disabled_because IS NULL))
);
-- Whether anybody listens at all is asked with every event that is written.
CREATE INDEX webhook_endpoints_listening ON webhook_endpoints (order_id) WHERE disabled_at IS NULL;
CREATE INDEX webhook_endpoints_by_account ON webhook_endpoints (account_id) WHERE account_id IS NOT NULL;
CREATE UNIQUE INDEX webhook_endpoints_configured ON webhook_endpoints (url) WHERE kind = 'configured';
CREATE INDEX webhook_endpoints_callbacks ON webhook_endpoints (created_at) WHERE kind = 'callback';

-- One event to be told to one endpoint.
CREATE TABLE webhook_deliveries (
    id TEXT PRIMARY KEY,
    endpoint_id TEXT NOT NULL REFERENCES webhook_endpoints (id),
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
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (next_at) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_pending ON webhook_deliveries (endpoint_id, next_at) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_by_endpoint ON webhook_deliveries (endpoint_id, id);
CREATE INDEX webhook_deliveries_finished ON webhook_deliveries (finished_at) WHERE state <> 'pending';

-- Nobody listened to what happened before. From now on an event that nobody can want is marked as it is written, so
-- that this index holds what was written a moment ago and nothing else.
UPDATE events SET fanned_out_at = occurred_at WHERE fanned_out_at IS NULL;
CREATE INDEX events_to_fan_out ON events (id) WHERE fanned_out_at IS NULL;

-- How far subscriptions were told that they end: all that end before this, and those at it up to this id.
CREATE TABLE end_notices (
    kind TEXT PRIMARY KEY CHECK (kind IN ('week', 'day', 'end')),
    ends_at BIGINT NOT NULL,
    subscription_id TEXT NOT NULL
);

-- The part of a month's bandwidth of which its subscription was told: 0, 70 or 100 in a hundred.
ALTER TABLE monthly_usage ADD COLUMN told_percent BIGINT NOT NULL DEFAULT 0 CHECK (told_percent IN (0, 70, 100));

-- The binding of a key that was told to be ready on its server; there was nobody to be told of those before.
ALTER TABLE peers ADD COLUMN ready_revision BIGINT NOT NULL DEFAULT 0;
UPDATE peers SET ready_revision = bound_revision;
CREATE INDEX peers_to_be_told_ready ON peers (server_id, bound_revision)
    WHERE ready_revision < bound_revision AND holder_kind = 'subscription' AND public_key IS NOT NULL;
