-- One text for SQLite and Postgres: TEXT, BIGINT, BYTEA only. Times are milliseconds since 1970 (UTC), ids are UUIDv7
-- text, keys and hashes are text in the form in which people meet them. A state and its data stand in one CHECK.

-- Whether the instance key that was given is the one that secrets were derived from.
CREATE TABLE instance_keys (
    id BIGINT PRIMARY KEY,
    check_value BYTEA NOT NULL,
    created_at BIGINT NOT NULL
);

-- What must not change under a subscription, and the counts that bound reservations.
CREATE TABLE servers (
    id TEXT PRIMARY KEY,
    network TEXT NOT NULL,
    first_port BIGINT NOT NULL,
    slots_total BIGINT NOT NULL,
    slots_held BIGINT NOT NULL,
    slots_reserved BIGINT NOT NULL,
    -- Raised in the transaction of every change to the server's desired peers.
    peer_revision BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    CHECK (slots_held >= 0 AND slots_reserved >= 0 AND slots_held + slots_reserved <= slots_total)
);

CREATE TABLE orders (
    id TEXT PRIMARY KEY,
    key_id BIGINT NOT NULL REFERENCES instance_keys (id),
    kind TEXT NOT NULL CHECK (kind IN ('new', 'renewal', 'bandwidth_reset')),
    rail TEXT NOT NULL CHECK (rail IN ('lightning', 'card')),
    server_id TEXT NOT NULL REFERENCES servers (id),
    -- The subscription that a renewal or a reset is for.
    target_id TEXT,
    -- The subscription that was founded or extended; a paid order without one is a refund that is due.
    subscription_id TEXT,
    public_key TEXT,
    requires_claim_token BIGINT NOT NULL CHECK (requires_claim_token IN (0, 1)),
    referral_code TEXT,
    months BIGINT CHECK (months > 0),
    amount_msat BIGINT CHECK (amount_msat > 0),
    price_cents BIGINT,
    rate_cents_per_btc BIGINT,
    rate_source TEXT,
    rate_as_of BIGINT,
    -- A keyed hash of the customer's address prefix while the order is open; NULL afterwards.
    origin TEXT,
    payment_hash TEXT UNIQUE,
    state TEXT NOT NULL,
    invoice TEXT,
    add_index BIGINT,
    invoice_expires_at BIGINT,
    paid_at BIGINT,
    closed_at BIGINT,
    created_at BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    CHECK (rail = 'card' OR (payment_hash IS NOT NULL AND amount_msat IS NOT NULL)),
    CHECK ((kind = 'new') = (target_id IS NULL)),
    CHECK ((rate_source IS NULL) = (rate_cents_per_btc IS NULL) AND (rate_source IS NULL) = (rate_as_of IS NULL)),
    CHECK ((invoice IS NULL) = (invoice_expires_at IS NULL)),
    CHECK (
        (state = 'creating' AND invoice IS NULL AND paid_at IS NULL AND closed_at IS NULL AND subscription_id IS NULL)
        OR (state = 'pending' AND (invoice IS NOT NULL OR rail = 'card')
            AND paid_at IS NULL AND closed_at IS NULL AND subscription_id IS NULL)
        OR (state = 'paid' AND (invoice IS NOT NULL OR rail = 'card')
            AND paid_at IS NOT NULL AND closed_at IS NOT NULL)
        OR (state = 'expired' AND (invoice IS NOT NULL OR rail = 'card')
            AND paid_at IS NULL AND closed_at IS NOT NULL AND subscription_id IS NULL)
        OR (state = 'failed' AND invoice IS NULL AND paid_at IS NULL AND closed_at IS NOT NULL
            AND subscription_id IS NULL)
    )
);
CREATE INDEX orders_open ON orders (created_at, id) WHERE state IN ('creating', 'pending');
CREATE INDEX orders_by_age ON orders (created_at);
CREATE INDEX orders_due ON orders (invoice_expires_at, id) WHERE state = 'pending';
CREATE INDEX orders_open_by_origin ON orders (origin) WHERE state IN ('creating', 'pending');
CREATE INDEX orders_open_by_target ON orders (target_id) WHERE state IN ('creating', 'pending');
CREATE INDEX orders_by_subscription ON orders (subscription_id) WHERE subscription_id IS NOT NULL;

CREATE TABLE idempotency_keys (
    scope TEXT NOT NULL,
    route TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    -- No reference: the key is taken before its order is stored, so that two requests with one key meet here.
    order_id TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (scope, route, key)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

-- Money that arrived, each once, whether or not anything could be given for it.
CREATE TABLE payments (
    id TEXT PRIMARY KEY,
    provider TEXT NOT NULL,
    external_id TEXT NOT NULL,
    order_id TEXT REFERENCES orders (id),
    -- Both in this unit.
    unit TEXT NOT NULL CHECK (unit IN ('msat', 'usd_cent')),
    amount BIGINT NOT NULL CHECK (amount >= 0),
    excess BIGINT NOT NULL CHECK (excess >= 0),
    settled_at BIGINT NOT NULL,
    recorded_at BIGINT NOT NULL,
    outcome TEXT NOT NULL CHECK (outcome IN ('applied', 'applied_late', 'refund_due', 'orphaned', 'underpaid')),
    CHECK (outcome = 'orphaned' OR order_id IS NOT NULL),
    UNIQUE (provider, external_id)
);
CREATE INDEX payments_by_order ON payments (order_id);

CREATE TABLE subscriptions (
    id TEXT PRIMARY KEY,
    founded_by TEXT NOT NULL UNIQUE REFERENCES orders (id),
    server_id TEXT NOT NULL REFERENCES servers (id),
    -- The fold of the grants below, kept for reading.
    ends_at BIGINT NOT NULL,
    standing TEXT NOT NULL CHECK (standing IN ('held', 'released', 'revoked')),
    created_at BIGINT NOT NULL,
    revision BIGINT NOT NULL
);
CREATE INDEX subscriptions_held ON subscriptions (ends_at) WHERE standing = 'held';

-- Append-only: each reason why a subscription lasts longer, revocable alone; banked where there is no subscription yet.
CREATE TABLE grants (
    id TEXT PRIMARY KEY,
    order_id TEXT NOT NULL REFERENCES orders (id),
    kind TEXT NOT NULL CHECK (kind IN ('purchase', 'renewal', 'referral')),
    subscription_id TEXT REFERENCES subscriptions (id),
    account_id TEXT,
    sequence BIGINT,
    months BIGINT NOT NULL CHECK (months > 0),
    granted_at BIGINT NOT NULL,
    revoked_at BIGINT,
    CHECK ((subscription_id IS NULL) = (sequence IS NULL)),
    CHECK (subscription_id IS NOT NULL OR account_id IS NOT NULL),
    UNIQUE (order_id, kind),
    UNIQUE (subscription_id, sequence)
);

-- The numbers of a server; address and forwarded port follow from n.
CREATE TABLE slots (
    server_id TEXT NOT NULL REFERENCES servers (id),
    n BIGINT NOT NULL,
    peer_id TEXT UNIQUE,
    -- Not given away before; the end of a quarantine, or 0 for one that was never installed.
    released_at BIGINT NOT NULL,
    PRIMARY KEY (server_id, n)
);
CREATE INDEX slots_free ON slots (server_id, released_at, n) WHERE peer_id IS NULL;

CREATE TABLE peers (
    id TEXT PRIMARY KEY,
    server_id TEXT NOT NULL,
    slot BIGINT NOT NULL,
    holder_kind TEXT CHECK (holder_kind IN ('subscription', 'session')),
    holder_id TEXT,
    reserved_by_order TEXT UNIQUE REFERENCES orders (id),
    public_key TEXT,
    key_id BIGINT REFERENCES instance_keys (id),
    sealed_preshared_key BYTEA,
    generation BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    superseded_at BIGINT,
    FOREIGN KEY (server_id, slot) REFERENCES slots (server_id, n),
    UNIQUE (server_id, slot),
    CHECK ((holder_kind IS NULL) = (holder_id IS NULL)),
    CHECK ((holder_id IS NULL) <> (reserved_by_order IS NULL)),
    CHECK (holder_id IS NOT NULL OR public_key IS NULL),
    CHECK ((public_key IS NULL) = (sealed_preshared_key IS NULL) AND (public_key IS NULL) = (key_id IS NULL))
);
-- One current peer a holder; a migration has an old one beside it for a while.
CREATE UNIQUE INDEX peers_current ON peers (holder_kind, holder_id)
    WHERE holder_id IS NOT NULL AND superseded_at IS NULL;

-- A key belongs to one subscription of an instance, from settlement or claim to the end of its hold.
CREATE TABLE subscription_keys (
    public_key TEXT NOT NULL,
    subscription_id TEXT NOT NULL REFERENCES subscriptions (id),
    bound_at BIGINT NOT NULL,
    released_at BIGINT,
    PRIMARY KEY (public_key, subscription_id)
);
CREATE UNIQUE INDEX subscription_keys_held ON subscription_keys (public_key) WHERE released_at IS NULL;
CREATE INDEX subscription_keys_by_subscription ON subscription_keys (subscription_id);

-- Private keys that the server made, shown only on the proof of the order that made them.
CREATE TABLE private_keys (
    public_key TEXT PRIMARY KEY,
    order_id TEXT NOT NULL REFERENCES orders (id),
    key_id BIGINT NOT NULL REFERENCES instance_keys (id),
    sealed BYTEA,
    made_at BIGINT NOT NULL,
    erase_at BIGINT NOT NULL,
    erased_at BIGINT,
    CHECK ((sealed IS NULL) = (erased_at IS NOT NULL))
);
CREATE INDEX private_keys_due ON private_keys (erase_at) WHERE erased_at IS NULL;

-- Facts, committed with their cause; read by explain now, fanned out to webhooks later.
CREATE TABLE events (
    id TEXT PRIMARY KEY,
    type TEXT NOT NULL,
    subject_kind TEXT NOT NULL,
    subject_id TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    occurred_at BIGINT NOT NULL,
    schema_version BIGINT NOT NULL,
    data TEXT NOT NULL,
    fanned_out_at BIGINT,
    UNIQUE (subject_kind, subject_id, sequence)
);

-- How far a node's settlements are applied without a gap; previous_index is where its replay starts.
CREATE TABLE settlement_cursor (
    node_id TEXT PRIMARY KEY,
    settle_index BIGINT NOT NULL CHECK (settle_index > 0),
    payment_hash TEXT NOT NULL,
    previous_index BIGINT NOT NULL CHECK (previous_index >= 0 AND previous_index < settle_index),
    updated_at BIGINT NOT NULL
);
