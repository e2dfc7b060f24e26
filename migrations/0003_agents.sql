-- What a server's agent is to have and has said. A server that no agent ever spoke for is provisioned by hand.
ALTER TABLE servers ADD COLUMN public_key TEXT;
ALTER TABLE servers ADD COLUMN agent_id TEXT;
ALTER TABLE servers ADD COLUMN agent_seen_at BIGINT;
-- The revision of its peers that the agent has installed, and the oldest one from which a delta is whole.
ALTER TABLE servers ADD COLUMN applied_revision BIGINT NOT NULL DEFAULT -1;
ALTER TABLE servers ADD COLUMN pruned_revision BIGINT NOT NULL DEFAULT 0;
ALTER TABLE servers ADD COLUMN removals_allowed_until BIGINT;
-- Peers that the agent keeps although they are not desired any more, until the operator allows their removal.
ALTER TABLE servers ADD COLUMN withheld_peers BIGINT NOT NULL DEFAULT 0;
-- Nothing new is sold on a server that is drained.
ALTER TABLE servers ADD COLUMN drained_at BIGINT;

-- The server's revision at the peer's last change; what a delta is made of.
ALTER TABLE peers ADD COLUMN revision BIGINT NOT NULL DEFAULT 0;
-- The same of the change that gave it its key: installed is a peer whose agent has applied that.
ALTER TABLE peers ADD COLUMN bound_revision BIGINT NOT NULL DEFAULT 0;
ALTER TABLE peers ADD COLUMN target_port BIGINT NOT NULL DEFAULT 9735 CHECK (target_port BETWEEN 1 AND 65535);
ALTER TABLE peers ADD COLUMN throttled BIGINT NOT NULL DEFAULT 0 CHECK (throttled IN (0, 1));
-- To the minute.
ALTER TABLE peers ADD COLUMN handshake_at BIGINT;
-- The agent's counters as they were last reported: cumulative within one run of them, whose id this is.
ALTER TABLE peers ADD COLUMN counter_run TEXT;
ALTER TABLE peers ADD COLUMN counted_bytes BIGINT NOT NULL DEFAULT 0;
CREATE INDEX peers_by_revision ON peers (server_id, revision) WHERE public_key IS NOT NULL;
-- Peers whose key was taken away: their server takes them away until another one is bound.
CREATE INDEX peers_without_key ON peers (server_id, revision) WHERE public_key IS NULL AND generation > 0;
CREATE INDEX peers_throttled ON peers (server_id) WHERE throttled = 1;

-- Who held a slot before: kept, because somebody may ask later who had a port.
CREATE TABLE removed_peers (
    peer_id TEXT PRIMARY KEY,
    server_id TEXT NOT NULL REFERENCES servers (id),
    slot BIGINT NOT NULL,
    subscription_id TEXT NOT NULL REFERENCES subscriptions (id),
    -- The server's revision at the removal.
    revision BIGINT NOT NULL,
    held_from BIGINT NOT NULL,
    removed_at BIGINT NOT NULL,
    -- When it was gone from the server; its slot rests in quarantine only from then on. NULL until the agent says so.
    gone_at BIGINT
);
CREATE INDEX removed_peers_awaited ON removed_peers (server_id, revision) WHERE gone_at IS NULL;
CREATE INDEX removed_peers_by_slot ON removed_peers (server_id, slot);
CREATE INDEX removed_peers_by_subscription ON removed_peers (subscription_id);

-- None of its traffic passes; peer, slot and key stay.
ALTER TABLE subscriptions ADD COLUMN suspended_at BIGINT;
CREATE INDEX subscriptions_by_server ON subscriptions (server_id, id);

-- An operator grants time without an order, and in days, too. SQLite cannot change a CHECK, so the table is made anew.
CREATE TABLE grants_of_all_kinds (
    id TEXT PRIMARY KEY,
    order_id TEXT REFERENCES orders (id),
    kind TEXT NOT NULL CHECK (kind IN ('purchase', 'renewal', 'referral', 'operator')),
    subscription_id TEXT REFERENCES subscriptions (id),
    account_id TEXT,
    sequence BIGINT,
    months BIGINT CHECK (months > 0),
    days BIGINT CHECK (days > 0),
    granted_at BIGINT NOT NULL,
    revoked_at BIGINT,
    CHECK ((kind = 'operator') = (order_id IS NULL)),
    CHECK ((months IS NULL) <> (days IS NULL)),
    CHECK ((subscription_id IS NULL) = (sequence IS NULL)),
    CHECK (subscription_id IS NOT NULL OR account_id IS NOT NULL),
    UNIQUE (order_id, kind),
    UNIQUE (subscription_id, sequence)
);
INSERT INTO grants_of_all_kinds (id, order_id, kind, subscription_id, account_id, sequence, months, granted_at, revoked_at)
    SELECT id, order_id, kind, subscription_id, account_id, sequence, months, granted_at, revoked_at FROM grants;
DROP TABLE grants;
ALTER TABLE grants_of_all_kinds RENAME TO grants;

-- Inner bytes, up and down together, in a calendar month (UTC, such as 2026-11).
CREATE TABLE monthly_usage (
    subscription_id TEXT NOT NULL REFERENCES subscriptions (id),
    month TEXT NOT NULL,
    bytes BIGINT NOT NULL CHECK (bytes >= 0),
    PRIMARY KEY (subscription_id, month)
);

-- Which life of the database this is: a restored backup gets a new one, so that agents ahead of it are noticed.
CREATE TABLE database_epoch (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    epoch TEXT NOT NULL,
    began_at BIGINT NOT NULL
);
