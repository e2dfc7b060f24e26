-- Owners of orders and subscriptions: whoever shows an API key or a Nostr key of theirs.
CREATE TABLE accounts (
    id TEXT PRIMARY KEY,
    created_at BIGINT NOT NULL,
    -- Counts the changes to its credentials.
    revision BIGINT NOT NULL
);

-- Only the hash of a key is here; the key is shown once, when it is made.
CREATE TABLE api_keys (
    id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    name TEXT NOT NULL,
    mode TEXT NOT NULL CHECK (mode IN ('live', 'test')),
    -- How the key begins: tells it from others, and opens nothing.
    beginning TEXT NOT NULL,
    -- SHA-256 of the whole text, in hexadecimal digits: 256 random bits need no slow hash.
    hash TEXT NOT NULL UNIQUE,
    -- Separated by blanks.
    scopes TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    -- To the minute.
    last_used_at BIGINT,
    revoked_at BIGINT
);
CREATE INDEX api_keys_by_account ON api_keys (account_id, id);

-- A Nostr key (BIP 340, 64 hexadecimal digits) is one account's.
CREATE TABLE nostr_keys (
    public_key TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    created_at BIGINT NOT NULL,
    -- To the minute.
    last_used_at BIGINT
);
CREATE INDEX nostr_keys_by_account ON nostr_keys (account_id, public_key);

-- Signed requests that were taken, each once, until their time is over on every replica.
CREATE TABLE nostr_requests (
    event_id TEXT PRIMARY KEY,
    forget_at BIGINT NOT NULL
);
CREATE INDEX nostr_requests_by_age ON nostr_requests (forget_at);

-- Whose it is; nobody's where it was bought without a credential and not adopted since.
ALTER TABLE orders ADD COLUMN account_id TEXT REFERENCES accounts (id);
ALTER TABLE subscriptions ADD COLUMN account_id TEXT REFERENCES accounts (id);
CREATE INDEX orders_by_account ON orders (account_id, id) WHERE account_id IS NOT NULL;
CREATE INDEX subscriptions_by_account ON subscriptions (account_id, id) WHERE account_id IS NOT NULL;

-- Who did it, where somebody did: operator, agent or account, with the account's id. What happens by itself has none.
ALTER TABLE events ADD COLUMN actor TEXT CHECK (actor IN ('operator', 'agent', 'account'));
ALTER TABLE events ADD COLUMN actor_account_id TEXT CHECK ((actor_account_id IS NOT NULL) = (actor IS NOT NULL AND actor = 'account'));
UPDATE events SET actor = 'operator' WHERE data LIKE '%"by":"operator"%';
UPDATE events SET actor = 'agent' WHERE data LIKE '%"by":"agent"%';
CREATE INDEX events_by_actor ON events (id) WHERE actor IS NOT NULL;
