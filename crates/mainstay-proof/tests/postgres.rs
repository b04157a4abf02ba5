//! The throw-away cluster of the proofs.

use mainstay_proof::postgres::{Cluster, Crash};

#[tokio::test]
async fn a_cluster_comes_back_after_it_was_stopped_without_a_word() {
    let mut cluster = Cluster::start().await.expect("the cluster starts");
    for how in [Crash::Immediate, Crash::Kill] {
        cluster.crash(how).await.expect("the cluster is stopped");
        cluster.resume().await.expect("the cluster comes back");
    }
    cluster.stop().await.expect("the cluster stops");
}
