//! Whose request it is: the permission that a handler needs stands in its signature.
//!
//! [`Permit<Keys>`] is there only where a good credential with that scope came with the request; [`OptionalPermit`] also
//! where none came. One that is not good is refused in both: nobody is taken for a stranger who meant to be known.

pub mod nostr;
pub mod signed;

mod credential;

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;

use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest, dev};
use uuid::Uuid;

use super::Shared;
use super::error::Error;
use crate::app::authenticate::Authenticated;
use crate::domain::account::Scope;

const NO_CREDENTIAL: &str = "this needs a credential: send `Authorization: Bearer` with an API key, or \
                             `Authorization: Nostr` with a signed event (NIP-98)";

/// A scope as a type.
pub trait Permission: 'static {
    const SCOPE: Option<Scope>;
}

macro_rules! permissions {
    ($($name:ident),+) => {
        $(
            #[derive(Debug)]
            pub enum $name {}

            impl Permission for $name {
                const SCOPE: Option<Scope> = Some(Scope::$name);
            }
        )+
    };
}

permissions!(Orders, Subscriptions, Referrals, Webhooks, Keys, Admin);

/// Whatever the credential is good for.
#[derive(Debug)]
pub enum AnyScope {}

impl Permission for AnyScope {
    const SCOPE: Option<Scope> = None;
}

/// An owner whose credential has the scope.
#[derive(Debug)]
pub struct Permit<P> {
    pub owner: Authenticated,
    scope: PhantomData<P>,
}

/// The same, or a stranger.
#[derive(Debug)]
pub struct OptionalPermit<P>(Option<Permit<P>>);

type Extracting<T> = Pin<Box<dyn Future<Output = Result<T, Error>>>>;

impl<P: Permission> FromRequest for Permit<P> {
    type Error = Error;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut dev::Payload) -> Self::Future {
        let permit = OptionalPermit::extract(request.clone());
        Box::pin(async { permit.await?.0.ok_or_else(|| Error::unauthorized(NO_CREDENTIAL)) })
    }
}

impl<P: Permission> FromRequest for OptionalPermit<P> {
    type Error = Error;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut dev::Payload) -> Self::Future {
        Box::pin(Self::extract(request.clone()))
    }
}

impl<P: Permission> OptionalPermit<P> {
    async fn extract(request: HttpRequest) -> Result<Self, Error> {
        let shared = request.app_data::<Data<Shared>>().ok_or_else(Error::internal)?;
        let Some(owner) = credential::owner_of(shared, &request).await? else { return Ok(Self(None)) };
        P::SCOPE.map_or(Ok(()), |scope| owner.check(scope))?;
        Ok(Self(Some(Permit { owner, scope: PhantomData })))
    }

    /// Whether the request is a stranger's, who is known by nothing but an address.
    pub const fn is_anonymous(&self) -> bool {
        self.0.is_none()
    }

    pub fn account(&self) -> Option<Uuid> {
        self.0.as_ref().map(|permit| permit.owner.account)
    }
}
