//! How many small transactions a second. Says, never judges: `cargo nextest run --release --run-ignored only speed`.

use std::time::Instant;

use futures_util::future::join_all;

use super::*;

const CALLERS: i64 = 256;
const EACH: i64 = 400;

async fn measure(db: &Ground) -> f64 {
    let start = Instant::now();
    let callers = (0..CALLERS).map(|caller| async move {
        for number in 0..EACH {
            let id = caller * EACH + number;
            db.write(SYSTEM, move |tx| {
                Box::pin(note_insert(tx, tenant(1), id, "small"))
            })
            .await
            .expect("commits");
        }
    });
    join_all(callers).await;
    (CALLERS * EACH) as f64 / start.elapsed().as_secs_f64()
}

macro_rules! speed {
    ($name:ident, $kind:ident) => {
        #[test]
        #[ignore = "a measurement"]
        fn $name() {
            mainstay_testkit::run(async {
                let rate = measure(&Ground::$kind().await).await;
                // The harness shows it with --no-capture.
                let mut out = std::io::stdout();
                let line = format!("{}: {rate:.0} transactions/s\n", stringify!($kind));
                std::io::Write::write_all(&mut out, line.as_bytes()).expect("it is written");
            });
        }
    };
}

speed!(small_transactions_on_sqlite, sqlite);
speed!(small_transactions_on_postgres, postgres);
