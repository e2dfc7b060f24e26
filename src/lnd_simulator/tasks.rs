//! The tasks of one simulated node, which end with it.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

pub(super) struct Tasks {
    set: Mutex<JoinSet<()>>,
    /// Work may be handed in from a thread that has a runtime of its own.
    runtime: Handle,
}

impl Tasks {
    pub(super) fn on_this_runtime() -> Self {
        Self { set: Mutex::new(JoinSet::new()), runtime: Handle::current() }
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn_on(task, &self.runtime);
    }

    /// Runs `work` to its end even if the caller goes away, as LND does when a client hangs up.
    /// `None` means that the node was stopped meanwhile.
    pub(super) async fn finish<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.spawn(async move {
            // Nobody may be waiting any more; the work is done all the same.
            let _ = answer.send(work.await);
        });
        answered.await.ok()
    }

    pub(super) fn abort(&self) {
        self.lock().abort_all();
    }

    /// Aborts every task and waits until none is left.
    pub(super) async fn shut_down(&self) {
        let mut tasks = std::mem::take(&mut *self.lock());
        tasks.shutdown().await;
    }

    fn lock(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
