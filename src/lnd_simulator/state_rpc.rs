//! `lnrpc.State`, which answers at all times and to everybody.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt};
use tonic::{Request, Response, Status};

use super::methods::Method;
use super::node::Node;
use super::streams::MessageStream;
use crate::lnd_proto::lnrpc;
use crate::lnd_proto::lnrpc::state_server::State;

pub(super) struct StateRpc(pub(super) Arc<Node>);

#[tonic::async_trait]
impl State for StateRpc {
    type SubscribeStateStream = MessageStream<lnrpc::SubscribeStateResponse>;

    async fn get_state(
        &self,
        request: Request<lnrpc::GetStateRequest>,
    ) -> Result<Response<lnrpc::GetStateResponse>, Status> {
        let caller = self.0.admit(Method::GetState, &request).await?;
        let state = *self.0.wallet.borrow();
        caller.answer(lnrpc::GetStateResponse { state: state.into() }).await
    }

    async fn subscribe_state(
        &self,
        request: Request<lnrpc::SubscribeStateRequest>,
    ) -> Result<Response<Self::SubscribeStateStream>, Status> {
        self.0.admit(Method::SubscribeState, &request).await?;
        let mut wallet = self.0.wallet.subscribe();
        // The state of now comes first.
        wallet.mark_changed();
        let states = stream::unfold(wallet, |mut wallet| async move {
            wallet.changed().await.ok()?;
            let state = *wallet.borrow_and_update();
            Some((Ok(lnrpc::SubscribeStateResponse { state: state.into() }), wallet))
        });
        Ok(Response::new(states.boxed()))
    }
}
