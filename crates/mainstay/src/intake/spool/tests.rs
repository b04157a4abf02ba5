//! The spool by itself: on files that are torn, flipped, full, and under two hands.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::AtomicI64,
};

use bytes::Bytes;
use mainstay_domain::{EventId, ReceiptId, SourceId, intake::Blob, time::SeededRandom};
use tempfile::TempDir;
use uuid::Uuid;

use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_900_000_000);

fn record(number: u128) -> Record {
    Record {
        receipt: ReceiptId::from_uuid(Uuid::from_u128(number)),
        source: SourceId::from_uuid(Uuid::from_u128(1)),
        secret: None,
        received_at: NOW.plus_ms(number as i64),
        remote: "203.0.113.7".into(),
        headers: Blob {
            zstd: false,
            bytes: Bytes::from_static(b"{}"),
        },
        body: Blob {
            zstd: false,
            bytes: Bytes::from(format!("body {number}")),
        },
        events: vec![EventId::from_uuid(Uuid::from_u128(number + 1_000))],
        tried: false,
        unconfirmed: false,
    }
}

fn options(folder: &Path) -> SpoolOptions {
    SpoolOptions::new(folder.join("spool"), 1 << 20)
}

fn open(options: SpoolOptions, seed: u64) -> Spool {
    Spool::open(options, Arc::new(SeededRandom::new(seed))).expect("the spool opens")
}

/// Offers a record as one that the database did not take; whether it was acknowledged.
async fn put(spool: &Spool, number: u128) -> bool {
    match spool.offer(&record(number), NOW, true) {
        Offer::Taken { written, .. } => written.await == Ok(true),
        Offer::Full => false,
        Offer::Pass => panic!("nobody passes who was refused by the database"),
    }
}

/// Everything that is to be stored, in order, drained.
async fn drained(spool: &Spool) -> Vec<u128> {
    let mut numbers = Vec::new();
    while let Some(batch) = spool.next_batch().await.expect("the files can be read") {
        for one in &batch.records {
            let one = one.as_ref().expect("a record of this version");
            let number = one.receipt.uuid().as_u128();
            assert_eq!(*one, record(number));
            numbers.push(number);
        }
        spool.advance(&batch, batch.records.len() as u64, 0);
    }
    numbers
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.join("spool")).expect("the folder is there");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("readable").path())
        .collect();
    paths.retain(|path| path.extension().is_some_and(|own| own == ending));
    paths.sort();
    paths
}

/// A folder with records 1 to 5, each synced by itself, and the one file that they are in.
async fn five() -> (TempDir, PathBuf, Vec<u8>) {
    let folder = tempfile::tempdir().expect("a folder");
    let spool = open(options(folder.path()), 1);
    for number in 1..=5 {
        assert!(put(&spool, number).await);
    }
    drop(spool);
    let file = files(folder.path(), "spool").remove(0);
    let bytes = fs::read(&file).expect("the file is there");
    (folder, file, bytes)
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart_in_its_order() {
    let (folder, ..) = five().await;
    let spool = open(options(folder.path()), 2);
    assert!(spool.taking(), "who comes now goes behind");
    assert_eq!(spool.status().counts.found, 5);
    assert!(put(&spool, 6).await);
    assert_eq!(drained(&spool).await, [1, 2, 3, 4, 5, 6]);
    let episode = spool.hand_over(NOW).await.expect("nothing is left");
    assert_eq!((episode.stored, episode.lost), (6, 0));
    assert!(!spool.taking());
    assert!(files(folder.path(), "spool").is_empty());
    assert_eq!((spool.status().bytes, spool.status().waiting), (0, 0));
}

#[tokio::test]
async fn an_end_torn_at_any_byte_is_cut_off_and_what_was_whole_is_kept() {
    let (folder, file, whole) = five().await;
    let each = whole.len() / 5;
    for cut in 0..whole.len() {
        fs::write(&file, &whole[..cut]).expect("written");
        let spool = open(options(folder.path()), 2);
        let left: Vec<u128> = (1..=(cut / each) as u128).collect();
        assert_eq!(spool.status().counts.found, left.len() as u64, "{cut}");
        assert_eq!(drained(&spool).await, left, "{cut}");
        let counts = spool.status().counts;
        assert_eq!((counts.lost, counts.damaged), (0, 0), "{cut}");
    }
}

#[tokio::test]
async fn a_byte_flipped_in_the_middle_costs_one_record_and_the_file_is_kept() {
    let (folder, file, whole) = five().await;
    let each = whole.len() / 5;
    for at in 0..4 * each {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x40;
        fs::write(&file, &flipped).expect("written");
        let spool = open(options(folder.path()), 2);
        assert_eq!(spool.status().counts.damaged, 1, "{at}");
        let hurt = (at / each + 1) as u128;
        let left: Vec<u128> = (1..=5).filter(|number| *number != hurt).collect();
        assert_eq!(drained(&spool).await, left, "{at}");
        spool.hand_over(NOW).await.expect("nothing is left");
        let kept = files(folder.path(), "damaged");
        assert_eq!(kept.len(), 1, "{at}");
        assert_eq!(fs::read(&kept[0]).expect("readable"), flipped);
        fs::remove_file(&kept[0]).expect("removed");
    }
}

#[tokio::test]
async fn damage_that_happens_later_is_counted_as_lost() {
    let (folder, file, whole) = five().await;
    let spool = open(options(folder.path()), 2);
    let mut flipped = whole.clone();
    flipped[whole.len() / 5 + frame::HEAD + 3] ^= 1;
    fs::write(&file, &flipped).expect("written");
    assert_eq!(drained(&spool).await, [1, 3, 4, 5]);
    let episode = spool.hand_over(NOW).await.expect("nothing is left");
    assert_eq!((episode.stored, episode.lost), (4, 1));
    assert_eq!(files(folder.path(), "damaged").len(), 1);
}

#[tokio::test]
async fn one_process_has_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let spool = open(options(folder.path()), 1);
    let second = Spool::open(options(folder.path()), Arc::new(SeededRandom::new(2)));
    assert!(matches!(second, Err(SpoolError::InUse { .. })));
    drop(spool);
    drop(open(options(folder.path()), 3));
}

#[tokio::test]
async fn segments_go_as_they_are_drained() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = SpoolOptions {
        segment_bytes: 300,
        ..options(folder.path())
    };
    let spool = open(options, 1);
    for number in 1..=20 {
        assert!(put(&spool, number).await);
    }
    let begun = files(folder.path(), "spool").len();
    assert!(begun > 5, "{begun}");
    let expected: Vec<u128> = (1..=20).collect();
    assert_eq!(drained(&spool).await, expected);
    assert_eq!(files(folder.path(), "spool").len(), 1);
    spool.hand_over(NOW).await.expect("nothing is left");
    assert!(files(folder.path(), "spool").is_empty());
    assert!(put(&spool, 21).await, "it goes on in a new one");
    assert_eq!(drained(&spool).await, [21]);
}

#[tokio::test]
async fn a_full_spool_takes_nothing_until_there_is_room_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = SpoolOptions {
        max_bytes: 500,
        ..options(folder.path())
    };
    let spool = open(options, 1);
    let mut taken = Vec::new();
    for number in 1..=10 {
        if put(&spool, number).await {
            taken.push(number);
        }
    }
    assert!(!taken.is_empty() && taken.len() < 10, "{taken:?}");
    assert!(spool.status().bytes <= 500);
    assert_eq!(drained(&spool).await, taken);
    spool.hand_over(NOW).await.expect("nothing is left");
    assert!(put(&spool, 11).await);
    let counts = spool.status().counts;
    assert_eq!(counts.refused, 10 - taken.len() as u64);
    assert_eq!(counts.waiting(), 1);
}

#[tokio::test]
async fn a_record_larger_than_what_is_read_at_once_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = SpoolOptions {
        max_bytes: 1 << 26,
        ..options(folder.path())
    };
    let spool = open(options, 1);
    let large = Record {
        body: Blob {
            zstd: false,
            bytes: vec![7; 5 << 20].into(),
        },
        ..record(1)
    };
    for one in [&record(0), &large, &record(2)] {
        let Offer::Taken { written, .. } = spool.offer(one, NOW, true) else {
            panic!("there is room");
        };
        assert_eq!(written.await, Ok(true));
    }
    let mut found = Vec::new();
    while let Some(batch) = spool.next_batch().await.expect("readable") {
        spool.advance(&batch, 1, 0);
        found.extend(batch.records.into_iter().map(|one| one.expect("whole")));
    }
    assert_eq!(found, [record(0), large, record(2)]);
}

/// A disk with so many bytes left, which writes what fits of what does not; and one whose syncs fail.
struct Failing {
    room: Arc<AtomicI64>,
    syncs: Arc<AtomicBool>,
}

struct FailingSink {
    file: Box<dyn Sink>,
    room: Arc<AtomicI64>,
    syncs: Arc<AtomicBool>,
}

impl Disk for Failing {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Sink>> {
        Ok(Box::new(FailingSink {
            file: FileSystem.create(path)?,
            room: Arc::clone(&self.room),
            syncs: Arc::clone(&self.syncs),
        }))
    }
}

impl Sink for FailingSink {
    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let room = self.room.load(Ordering::SeqCst).max(0) as usize;
        let fits = room.min(bytes.len());
        self.file.write(at, &bytes[..fits])?;
        self.room.fetch_sub(fits as i64, Ordering::SeqCst);
        match fits < bytes.len() {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        match self.syncs.load(Ordering::SeqCst) {
            true => self.file.sync(),
            false => Err(io::Error::other("failed on purpose")),
        }
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.file.cut(len)
    }
}

#[tokio::test]
async fn a_disk_that_is_full_at_any_byte_leaves_nothing_half_written() {
    let size = frame::HEAD + record(1).encode().len();
    for room in 0..2 * size {
        let folder = tempfile::tempdir().expect("a folder");
        let left = Arc::new(AtomicI64::new(room as i64));
        let disk = Failing {
            room: Arc::clone(&left),
            syncs: Arc::new(AtomicBool::new(true)),
        };
        let options = SpoolOptions {
            disk: Arc::new(disk),
            ..options(folder.path())
        };
        let spool = open(options.clone(), 1);
        let mut taken = Vec::new();
        for number in 1..=3 {
            if put(&spool, number).await {
                taken.push(number);
            }
        }
        assert_eq!(taken.len(), room / size, "{room}");
        assert!(spool.status().failing.is_some() && !spool.has_room());
        let written: u64 = files(folder.path(), "spool")
            .iter()
            .map(|path| fs::metadata(path).expect("there").len())
            .sum();
        assert_eq!(written, (taken.len() * size) as u64, "{room}");
        left.store(1 << 20, Ordering::SeqCst);
        assert!(put(&spool, 9).await, "there is room again");
        taken.push(9);
        assert!(spool.has_room());
        drop(spool);
        let spool = open(options, 2);
        assert_eq!(drained(&spool).await, taken, "{room}");
    }
}

#[tokio::test]
async fn what_could_not_be_synced_is_not_acknowledged_and_its_file_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let syncs = Arc::new(AtomicBool::new(true));
    let disk = Failing {
        room: Arc::new(AtomicI64::new(1 << 20)),
        syncs: Arc::clone(&syncs),
    };
    let options = SpoolOptions {
        disk: Arc::new(disk),
        ..options(folder.path())
    };
    let spool = open(options.clone(), 1);
    assert!(put(&spool, 1).await);
    syncs.store(false, Ordering::SeqCst);
    assert!(!put(&spool, 2).await);
    syncs.store(true, Ordering::SeqCst);
    assert!(put(&spool, 3).await);
    assert_eq!(
        files(folder.path(), "spool").len(),
        2,
        "the first is done with"
    );
    drop(spool);
    let spool = open(options, 2);
    assert_eq!(drained(&spool).await, [1, 3]);
    assert_eq!(files(folder.path(), "damaged").len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_falls_between_the_spool_and_the_database() {
    let folder = tempfile::tempdir().expect("a folder");
    let spool = Arc::new(open(options(folder.path()), 1));
    // Each of them goes in, or finds that nothing waits any more: then everything before it has been drained.
    let mut running = tokio::task::JoinSet::new();
    for task in 0..8_u128 {
        let spool = Arc::clone(&spool);
        running.spawn(async move {
            let (mut spooled, mut passed) = (0_u64, 0_u64);
            for number in 0..50 {
                match spool.offer(&record(task * 100 + number), NOW, number % 10 == 0) {
                    Offer::Taken { written, .. } => {
                        assert_eq!(written.await, Ok(true));
                        spooled += 1;
                    }
                    Offer::Pass => passed += 1,
                    Offer::Full => panic!("there is room"),
                }
                tokio::task::yield_now().await;
            }
            (spooled, passed)
        });
    }
    let (mut spooled, mut passed, mut out) = (0, 0, 0);
    loop {
        tokio::task::yield_now().await;
        out += drained(&spool).await.len() as u64;
        spool.hand_over(NOW).await;
        while let Some(counts) = running.try_join_next() {
            let counts = counts.expect("no panic");
            (spooled, passed) = (spooled + counts.0, passed + counts.1);
        }
        if running.is_empty() {
            break;
        }
    }
    out += drained(&spool).await.len() as u64;
    spool.hand_over(NOW).await;
    assert_eq!(spooled + passed, 400);
    assert_eq!(out, spooled);
    let counts = spool.status().counts;
    assert_eq!((counts.accepted, counts.stored), (spooled, spooled));
}
