//! A new owner, who has nothing yet.

use serde_json::Value;
use uuid::Uuid;

use super::operator::By;
use super::{App, Error};
use crate::domain::event::{EventType, Subject};
use crate::store::Tx;

/// Stores an account with an event that says by whom.
pub async fn create_account(app: &App, tx: &mut Tx, id: Uuid, by: By<'_>) -> Result<(), Error> {
    let now = app.clock.now();
    tx.insert_account(id, now).await?;
    tx.record(app.new_id(), EventType::AccountCreated, Subject::Account(id), &by.tells(&Value::Null), now).await?;
    Ok(())
}
