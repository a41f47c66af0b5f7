//! A small pool of threads for exponentiations and signatures: they take milliseconds of pure
//! computing and must not hold up the threads that serve connections.

use crossbeam_channel::{Sender, TrySendError, bounded};
use tokio::sync::oneshot;

use crate::fault::{self, Error, Result};

type Job = Box<dyn FnOnce() + Send>;

/// Threads that compute; past a bounded queue, requests are shed.
#[derive(Clone, Debug)]
pub struct CryptoPool {
    queue: Sender<Job>,
}

impl CryptoPool {
    /// `threads`: usually the number of cores. `queue`: jobs that may wait.
    pub fn start(threads: usize, queue: usize) -> Self {
        let (sender, receiver) = bounded::<Job>(queue);
        for index in 0..threads {
            let receiver = receiver.clone();
            std::thread::Builder::new()
                .name(format!("lido-crypto-{index}"))
                .spawn(move || {
                    for job in receiver {
                        job();
                    }
                })
                .expect("a thread can be started when the process starts");
        }
        Self { queue: sender }
    }

    /// Runs `job` on the pool. A full queue answers TooManyRequestsException at once.
    pub async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move || {
            // A panicking job must not take a thread of the pool with it.
            if let Ok(value) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)) {
                let _ = reply.send(value);
            }
        });
        match self.queue.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(fault::too_many_requests().into()),
            Err(TrySendError::Disconnected(_)) => return Err(Error::internal("the crypto pool has stopped")),
        }
        answer.await.map_err(|_| Error::internal("a cryptographic job panicked"))
    }
}
