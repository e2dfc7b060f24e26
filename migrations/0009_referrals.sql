-- The code by which an account is named as who brought a buyer: one for each, in upper case, and never another one.
CREATE TABLE referral_codes (
    code TEXT PRIMARY KEY,
    account_id TEXT NOT NULL UNIQUE REFERENCES accounts (id),
    created_at BIGINT NOT NULL
);

-- A bonus names the account that earned it, also once it was given to a subscription.
CREATE INDEX grants_by_account ON grants (account_id, id) WHERE account_id IS NOT NULL;
