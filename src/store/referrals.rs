//! Referral codes, and the bonuses that purchases with them brought.

use uuid::Uuid;

use super::connections::Ask as _;
use super::row::Record;
use super::{Result, Store, Tx};
use crate::domain::referral::ReferralCode;
use crate::domain::time::Timestamp;

/// A purchase that brought a bonus.
#[derive(Debug, Clone, Copy)]
pub struct EarnedBonus {
    pub paid_at: Timestamp,
    pub months_bought: u32,
    pub months: u32,
}

/// All that a code has brought.
#[derive(Debug, Clone, Copy)]
pub struct ReferralTotals {
    pub purchases: u32,
    pub months: u32,
}

impl Store {
    /// The account that an order has brought a bonus that was not taken back, with its months.
    pub async fn bonus_of(&self, order: Uuid) -> Result<Option<(Uuid, u32)>> {
        let row = sqlx::query(
            "SELECT account_id AS id, months FROM grants WHERE order_id = $1 AND kind = 'referral' AND revoked_at IS NULL",
        )
        .bind(order.to_string())
        .optional_from(&self.reader)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let record = Record::new("grants", &row);
        Ok(Some((record.id("id")?, record.unsigned_u32("months")?)))
    }

    /// Whose a code is.
    pub async fn referral_owner(&self, code: &ReferralCode) -> Result<Option<Uuid>> {
        let query = sqlx::query("SELECT account_id AS id FROM referral_codes WHERE code = $1").bind(code.as_str());
        let row = query.optional_from(&self.reader).await?;
        row.map(|row| Record::new("referral_codes", &row).id("id")).transpose()
    }

    /// What an account's code has brought and was not taken back.
    pub async fn referral_totals(&self, account: Uuid) -> Result<ReferralTotals> {
        let row = sqlx::query(
            "SELECT CAST(count(*) AS BIGINT) AS purchases, CAST(coalesce(sum(months), 0) AS BIGINT) AS months FROM grants \
             WHERE account_id = $1 AND kind = 'referral' AND revoked_at IS NULL",
        )
        .bind(account.to_string())
        .one_from(&self.reader)
        .await?;
        let record = Record::new("grants", &row);
        Ok(ReferralTotals { purchases: record.unsigned_u32("purchases")?, months: record.unsigned_u32("months")? })
    }

    /// Purchases that brought an account a bonus, the newest first.
    pub async fn earned_bonuses(&self, account: Uuid, at_most: u32) -> Result<Vec<EarnedBonus>> {
        let rows = sqlx::query(
            "SELECT grants.id AS id, paid_at, orders.months AS bought, grants.months AS months FROM grants \
             JOIN orders ON orders.id = order_id WHERE grants.account_id = $1 AND grants.kind = 'referral' \
             AND revoked_at IS NULL ORDER BY grants.id DESC LIMIT $2",
        )
        .bind(account.to_string())
        .bind(i64::from(at_most))
        .all_from(&self.reader)
        .await?;
        let bonuses = rows.iter().map(|row| {
            let record = Record::new("grants", row);
            Ok(EarnedBonus {
                paid_at: record.time("paid_at")?,
                months_bought: record.unsigned_u32("bought")?,
                months: record.unsigned_u32("months")?,
            })
        });
        bonuses.collect()
    }
}

impl Tx {
    /// Makes a code an account's; false where either has another one.
    pub async fn insert_referral_code(&mut self, code: &ReferralCode, account: Uuid, now: Timestamp) -> Result<bool> {
        let inserted = sqlx::query(
            "INSERT INTO referral_codes (code, account_id, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        )
        .bind(code.as_str())
        .bind(account.to_string())
        .bind(now.millis())
        .execute(&mut *self.inner)
        .await?;
        Ok(inserted.rows_affected() == 1)
    }

    pub async fn referral_code_of(&mut self, account: Uuid) -> Result<Option<ReferralCode>> {
        let row = sqlx::query("SELECT code AS id FROM referral_codes WHERE account_id = $1")
            .bind(account.to_string())
            .fetch_optional(&mut *self.inner)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let record = Record::new("referral_codes", &row);
        record.parsed("code", ReferralCode::parse(&record.text("id")?)).map(Some)
    }

    /// The account whose code an order named.
    pub async fn referrer_of(&mut self, order: Uuid) -> Result<Option<Uuid>> {
        let row = sqlx::query(
            "SELECT referral_codes.account_id AS id FROM referral_codes JOIN orders ON referral_code = code \
             WHERE orders.id = $1",
        )
        .bind(order.to_string())
        .fetch_optional(&mut *self.inner)
        .await?;
        row.map(|row| Record::new("referral_codes", &row).id("id")).transpose()
    }

    /// Whether a purchase of this buyer's has brought somebody a bonus already, also one that was taken back.
    pub async fn has_brought_a_bonus(&mut self, buyer: Uuid) -> Result<bool> {
        let row = sqlx::query(
            "SELECT grants.id AS id FROM orders JOIN grants ON order_id = orders.id AND grants.kind = 'referral' \
             WHERE orders.account_id = $1 LIMIT 1",
        )
        .bind(buyer.to_string())
        .fetch_optional(&mut *self.inner)
        .await?;
        Ok(row.is_some())
    }

    /// The months that purchases paid since then brought an account, whose row must be locked, and that were not taken back.
    pub async fn months_earned(&mut self, account: Uuid, since: Timestamp) -> Result<u32> {
        let row = sqlx::query(
            "SELECT CAST(coalesce(sum(grants.months), 0) AS BIGINT) AS months FROM grants \
             JOIN orders ON orders.id = order_id WHERE grants.account_id = $1 AND grants.kind = 'referral' \
             AND revoked_at IS NULL AND paid_at > $2",
        )
        .bind(account.to_string())
        .bind(since.millis())
        .fetch_one(&mut *self.inner)
        .await?;
        Record::new("grants", &row).unsigned_u32("months")
    }

    /// The account that an order has brought a bonus, while it was not taken back.
    pub async fn bonus_owner(&mut self, order: Uuid) -> Result<Option<Uuid>> {
        let row = sqlx::query(
            "SELECT account_id AS id FROM grants WHERE order_id = $1 AND kind = 'referral' AND revoked_at IS NULL",
        )
        .bind(order.to_string())
        .fetch_optional(&mut *self.inner)
        .await?;
        row.map(|row| Record::new("grants", &row).id("id")).transpose()
    }

    /// An account's main subscription: of those that are active, the one that ends last.
    pub async fn main_subscription(&mut self, account: Uuid, now: Timestamp) -> Result<Option<Uuid>> {
        let row = sqlx::query(
            "SELECT id FROM subscriptions WHERE account_id = $1 AND standing = 'held' AND suspended_at IS NULL \
             AND ends_at > $2 ORDER BY ends_at DESC, id LIMIT 1",
        )
        .bind(account.to_string())
        .bind(now.millis())
        .fetch_optional(&mut *self.inner)
        .await?;
        row.map(|row| Record::new("subscriptions", &row).id("id")).transpose()
    }

    /// Keeps a bonus for an account that has no subscription to give it to.
    pub async fn bank_grant(&mut self, id: Uuid, account: Uuid, order: Uuid, months: u32, at: Timestamp) -> Result<()> {
        sqlx::query(
            "INSERT INTO grants (id, order_id, kind, account_id, months, granted_at) \
             VALUES ($1, $2, 'referral', $3, $4, $5)",
        )
        .bind(id.to_string())
        .bind(order.to_string())
        .bind(account.to_string())
        .bind(i64::from(months))
        .bind(at.millis())
        .execute(&mut *self.inner)
        .await?;
        Ok(())
    }

    /// The oldest bonus that an account has banked, with its months.
    pub async fn banked_grant(&mut self, account: Uuid) -> Result<Option<(Uuid, u32)>> {
        let row = sqlx::query(
            "SELECT id, months FROM grants WHERE account_id = $1 AND subscription_id IS NULL AND revoked_at IS NULL \
             ORDER BY id LIMIT 1",
        )
        .bind(account.to_string())
        .fetch_optional(&mut *self.inner)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let record = Record::new("grants", &row);
        Ok(Some((record.id("id")?, record.unsigned_u32("months")?)))
    }

    /// Gives a banked bonus to a subscription, whose row must be locked; false where it was given or taken back meanwhile.
    pub async fn give_banked(&mut self, id: Uuid, subscription: Uuid, at: Timestamp) -> Result<bool> {
        let given = sqlx::query(
            "UPDATE grants SET subscription_id = $2, granted_at = $3, \
             sequence = (SELECT CAST(count(*) AS BIGINT) FROM grants AS others WHERE others.subscription_id = $2) \
             WHERE id = $1 AND subscription_id IS NULL AND revoked_at IS NULL",
        )
        .bind(id.to_string())
        .bind(subscription.to_string())
        .bind(at.millis())
        .execute(&mut *self.inner)
        .await?;
        Ok(given.rows_affected() == 1)
    }
}
