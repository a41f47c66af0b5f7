//! Failures are counted wherever a password is proven wrong, in one conditional statement: whatever the
//! parallelism, those past the limit find the lock.

use lido_store::limits;

use crate::auth::subject::Subject;
use crate::cx::Cx;
use crate::fault::{self, Error, Result};
use crate::pool::Pool;

/// Counts a failure and returns what the caller is told: [`fault::wrong_credentials`], or
/// [`fault::locked_out`] when others had locked the subject meanwhile.
pub(super) async fn failure(cx: &Cx, pool: &Pool, subject: &Subject) -> Result<Error> {
    let captures = (pool.record.id.clone(), subject.lockout.clone(), cx.now());
    let counted = cx
        .store
        .write(captures, |(pool, subject, now), tx| {
            Box::pin(async move { Ok::<_, Error>(limits::count_failure(tx, pool, subject, *now).await?) })
        })
        .await?;
    Ok(if counted { fault::wrong_credentials() } else { fault::locked_out() }.into())
}
