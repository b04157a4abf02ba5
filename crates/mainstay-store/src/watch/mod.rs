//! Watch: the series behind charts.

pub(crate) mod queries;

use async_trait::async_trait;
use mainstay_domain::{
    StoreResult, Timestamp,
    watch::{Sample, Series, WatchTx},
};
use queries as q;

use crate::{
    tx::SqlTx,
    verbs::{bounded, numbered_cell, values},
};

#[async_trait]
impl WatchTx for SqlTx<'_> {
    async fn samples_add(&mut self, samples: &[Sample]) -> StoreResult<()> {
        self.system()?;
        let mut sorted: Vec<&Sample> = samples.iter().collect();
        // In one order everywhere: two nodes that add to the same rows wait for each other and never in a circle.
        sorted.sort_by_key(|one| (one.series, one.subject, one.minute));
        for one in sorted {
            let params = values![one.series as i64, one.subject, one.minute, one.count];
            self.execute(&q::SAMPLE_ADD, params).await?;
        }
        Ok(())
    }

    async fn samples_list(&mut self, from: Timestamp) -> StoreResult<Vec<Sample>> {
        self.system()?;
        self.list(&q::SAMPLES_LIST, values![from], |row| {
            Ok(Sample {
                series: numbered_cell(row, 0, &Series::ALL)?,
                subject: row.get(1)?,
                minute: row.get(2)?,
                count: row.get(3)?,
            })
        })
        .await
    }

    async fn samples_expire(&mut self, until: Timestamp, limit: i64) -> StoreResult<i64> {
        self.system()?;
        Ok(self
            .execute(&q::SAMPLES_EXPIRE, values![until, bounded(limit)])
            .await? as i64)
    }

    async fn ping(&mut self) -> StoreResult<()> {
        self.rows(&q::PING, &[]).await.map(|_| ())
    }
}
