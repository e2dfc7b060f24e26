-- What the operator did about money that waited for them: a refund that was due, an orphan, an excess.
ALTER TABLE payments ADD COLUMN resolved_at BIGINT;
ALTER TABLE payments ADD COLUMN resolution TEXT CHECK ((resolution IS NULL) = (resolved_at IS NULL));

-- What still waits, by age; `store::payments` asks with the same condition.
CREATE INDEX payments_open ON payments (id)
    WHERE resolved_at IS NULL AND (excess > 0 OR outcome IN ('refund_due', 'orphaned', 'underpaid'));
