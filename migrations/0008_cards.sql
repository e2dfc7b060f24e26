-- Orders that are paid by card. Their `invoice` is the address of the page to pay on, and this the session that it is of.
ALTER TABLE orders ADD COLUMN checkout_session TEXT
    CHECK ((checkout_session IS NOT NULL) = (rail = 'card' AND invoice IS NOT NULL));
CREATE UNIQUE INDEX orders_by_checkout_session ON orders (checkout_session) WHERE checkout_session IS NOT NULL;
CREATE INDEX orders_open_by_card ON orders (created_at, id) WHERE state IN ('creating', 'pending') AND rail = 'card';

-- Money can be given back, and asked back by a bank; and it can arrive as what no order asked for. `unit` is also the
-- code of a currency in which nothing is sold. SQLite cannot change a CHECK, so the table is made anew.
CREATE TABLE payments_of_all_rails (
    id TEXT PRIMARY KEY,
    provider TEXT NOT NULL,
    external_id TEXT NOT NULL,
    order_id TEXT REFERENCES orders (id),
    -- All amounts in this unit.
    unit TEXT NOT NULL CHECK (unit IN ('msat', 'usd_cent') OR length(unit) = 3),
    amount BIGINT NOT NULL CHECK (amount >= 0),
    excess BIGINT NOT NULL CHECK (excess >= 0),
    -- What the provider says that was given back.
    refunded BIGINT NOT NULL DEFAULT 0 CHECK (refunded >= 0),
    settled_at BIGINT NOT NULL,
    recorded_at BIGINT NOT NULL,
    outcome TEXT NOT NULL CHECK (outcome IN ('applied', 'applied_late', 'refund_due', 'orphaned', 'underpaid',
        'mismatched', 'disputed', 'refunded', 'charged_back')),
    resolved_at BIGINT,
    resolution TEXT,
    CHECK (outcome = 'orphaned' OR order_id IS NOT NULL OR outcome IN ('refunded', 'charged_back')),
    CHECK ((resolution IS NULL) = (resolved_at IS NULL)),
    UNIQUE (provider, external_id)
);
INSERT INTO payments_of_all_rails (id, provider, external_id, order_id, unit, amount, excess, refunded, settled_at,
        recorded_at, outcome, resolved_at, resolution)
    SELECT id, provider, external_id, order_id, unit, amount, excess, 0, settled_at, recorded_at, outcome, resolved_at,
        resolution FROM payments;
DROP TABLE payments;
ALTER TABLE payments_of_all_rails RENAME TO payments;
CREATE INDEX payments_by_order ON payments (order_id);
-- What still waits, by age; `store::payments` asks with the same condition.
CREATE INDEX payments_open ON payments (id) WHERE resolved_at IS NULL
    AND (excess > 0 OR outcome IN ('refund_due', 'orphaned', 'underpaid', 'mismatched'));

-- Banks that ask for the money of an order. While one is open, what the order granted does not count.
CREATE TABLE disputes (
    id TEXT PRIMARY KEY,
    order_id TEXT NOT NULL REFERENCES orders (id),
    opened_at BIGINT NOT NULL,
    closed_at BIGINT,
    outcome TEXT CHECK (outcome IN ('won', 'lost')),
    CHECK ((closed_at IS NULL) = (outcome IS NULL))
);
CREATE INDEX disputes_open ON disputes (order_id) WHERE closed_at IS NULL;

-- Stripe's events that were applied, each in the transaction of its effect.
CREATE TABLE stripe_events (
    id TEXT PRIMARY KEY,
    applied_at BIGINT NOT NULL
);
CREATE INDEX stripe_events_by_age ON stripe_events (applied_at);
