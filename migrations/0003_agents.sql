-- What a server's agent is to have and has said. A server that no agent ever spoke for is provisioned by hand.
ALTER TABLE servers ADD COLUMN public_key TEXT;
ALTER TABLE servers ADD COLUMN agent_id TEXT;
ALTER TABLE servers ADD COLUMN agent_seen_at BIGINT;
-- The revision of its peers that the agent has installed, and the oldest one from which a delta is whole.
ALTER TABLE servers ADD COLUMN applied_revision BIGINT NOT NULL DEFAULT -1;
ALTER TABLE servers ADD COLUMN pruned_revision BIGINT NOT NULL DEFAULT 0;
ALTER TABLE servers ADD COLUMN removals_allowed_until BIGINT;
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

-- Peers that an agent has yet to take away; their slots rest in quarantine only from then on.
CREATE TABLE removed_peers (
    peer_id TEXT PRIMARY KEY,
    server_id TEXT NOT NULL REFERENCES servers (id),
    revision BIGINT NOT NULL,
    removed_at BIGINT NOT NULL
);
CREATE INDEX removed_peers_by_revision ON removed_peers (server_id, revision);

ALTER TABLE subscriptions ADD COLUMN suspended_at BIGINT;

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
