//! What Mainstay's own tests are made with: a database per test on both kinds, a clock that is set, a store that
//! fails on purpose.
//!
//! ```ignore
//! on_both!(a_tenant_is_found_again, |db| async {
//!     let store = db.store();
//!     …
//! });
//! ```
//!
//! makes the tests `a_tenant_is_found_again::on_sqlite` and `a_tenant_is_found_again::on_postgres`.

mod clock;
mod database;
mod failing;
mod postgres;

use std::future::Future;

pub use clock::TestClock;
pub use database::TestDatabase;
pub use failing::FailingStore;
pub use postgres::{Cluster, ScratchDatabase};

/// Runs a test's body on a runtime with two threads.
pub fn run<T>(body: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime starts");
    runtime.block_on(body)
}

/// Makes two tests of one body: it is given a migrated [`TestDatabase`], once on SQLite and once on PostgreSQL.
#[macro_export]
macro_rules! on_both {
    ($name:ident, |$db:ident| async $body:block) => {
        mod $name {
            #[allow(unused_imports, reason = "not every body needs what stands around it")]
            use super::*;

            async fn body($db: &$crate::TestDatabase) $body

            #[test]
            fn on_sqlite() {
                $crate::run(async {
                    let db = $crate::TestDatabase::sqlite().await;
                    body(&db).await;
                    db.finish().await;
                });
            }

            #[test]
            fn on_postgres() {
                $crate::run(async {
                    let db = $crate::TestDatabase::postgres().await;
                    body(&db).await;
                    db.finish().await;
                });
            }
        }
    };
}
