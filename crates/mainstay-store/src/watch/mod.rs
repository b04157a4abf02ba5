//! Watch: the series behind charts.

pub(crate) mod queries;

use std::collections::HashMap;

use async_trait::async_trait;
use mainstay_domain::{
    EndpointId, StoreError, StoreResult, Timestamp,
    watch::{BUCKETS, DurationCount, Histogram, Sample, Series, WatchTx},
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

    async fn durations_add(
        &mut self,
        hour: Timestamp,
        counts: &[DurationCount],
    ) -> StoreResult<()> {
        self.system()?;
        let mut sorted: Vec<&DurationCount> = counts.iter().collect();
        // In one order everywhere, like samples.
        sorted.sort_by_key(|one| (one.endpoint, one.bucket));
        for one in sorted {
            let params = values![one.endpoint, hour, one.bucket as i64, one.count];
            self.execute(&q::DURATION_ADD, params).await?;
        }
        Ok(())
    }

    async fn durations_list(
        &mut self,
        from: Timestamp,
    ) -> StoreResult<HashMap<EndpointId, Histogram>> {
        self.system()?;
        let from = values![from];
        let rows = self.list(&q::DURATIONS_LIST, from, |row| {
            let bucket = usize::try_from(row.get::<i64>(1)?).ok();
            let bucket = bucket.filter(|bucket| *bucket < BUCKETS);
            let bucket = bucket.ok_or_else(|| StoreError::Bug("an unknown bucket".into()))?;
            Ok((row.get::<EndpointId>(0)?, bucket, row.get::<i64>(2)?))
        });
        let rows = rows.await?;
        let mut found: HashMap<EndpointId, Histogram> = HashMap::new();
        for (endpoint, bucket, count) in rows {
            found.entry(endpoint).or_default().add(bucket, count);
        }
        Ok(found)
    }

    async fn durations_expire(&mut self, until: Timestamp, limit: i64) -> StoreResult<i64> {
        self.system()?;
        Ok(self
            .execute(&q::DURATIONS_EXPIRE, values![until, bounded(limit)])
            .await? as i64)
    }

    async fn ping(&mut self) -> StoreResult<()> {
        self.rows(&q::PING, &[]).await.map(|_| ())
    }
}
