//! What is sealed opens in its place with its key, and nowhere else.

use bytes::Bytes;
use mainstay_domain::{
    TenantId, Timestamp,
    intake::Blob,
    vault::{
        Column, DataKey, DataKeyRow, KeyError, Known, MasterKey, Place, Vault, is_sealed,
        is_sealed_text,
    },
};
use proptest::prelude::*;
use std::sync::Arc;
use uuid::Uuid;

fn master(seed: u8) -> MasterKey {
    MasterKey::new(&[seed; 32]).expect("32 bytes are a key")
}

fn tenant(number: u128) -> TenantId {
    TenantId::from_uuid(Uuid::from_u128(number))
}

/// A key of this tenant's as it is kept.
fn row(vault: &Vault, whose: TenantId, number: i32) -> DataKeyRow {
    let made = vault.make(whose, number).expect("it can be made");
    let (wrapped, master) = made.expect("the vault is on");
    DataKeyRow {
        number,
        tenant: whose,
        wrapped: Some(wrapped),
        master,
        created_at: Timestamp::EPOCH,
        retired_at: None,
        destroyed_at: None,
    }
}

fn key(vault: &Vault, row: &DataKeyRow) -> Arc<DataKey> {
    match vault.unwrapped(row).expect("it unwraps") {
        Known::Key(key) => key,
        Known::Destroyed => panic!("it is there"),
    }
}

fn places() -> impl Strategy<Value = Place> {
    let columns = [
        Column::Body,
        Column::Headers,
        Column::SourceSecret,
        Column::Exchange,
    ];
    (0..columns.len(), any::<u128>(), any::<i32>()).prop_map(move |(column, id, part)| {
        Place::new(columns[column], Uuid::from_u128(id)).part(part)
    })
}

fn blobs() -> impl Strategy<Value = Blob> {
    (
        any::<bool>(),
        proptest::collection::vec(any::<u8>(), 0..300),
    )
        .prop_map(|(zstd, bytes)| Blob {
            zstd,
            bytes: bytes.into(),
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_sealed_opens_as_it_was(place in places(), blob in blobs()) {
        let vault = Vault::new(vec![master(1)]);
        let key = key(&vault, &row(&vault, tenant(1), 7));
        let sealed = key.seal(&place, &blob).expect("it is sealed");
        prop_assert!(is_sealed(&sealed));
        prop_assert_eq!(key.open(&place, &sealed.bytes).expect("it opens"), blob.clone());
        prop_assert_eq!(key.open(&place.of(tenant(1)), &sealed.bytes).expect("its tenant's"), blob);
    }

    #[test]
    fn any_flipped_bit_is_noticed(place in places(), blob in blobs(), at in any::<proptest::sample::Index>()) {
        let vault = Vault::new(vec![master(1)]);
        let key = key(&vault, &row(&vault, tenant(1), 7));
        let sealed = key.seal(&place, &blob).expect("it is sealed");
        let mut bytes = sealed.bytes.to_vec();
        let bit = at.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(key.open(&place, &bytes).is_err());
        let cut = at.index(sealed.bytes.len());
        prop_assert!(key.open(&place, &sealed.bytes[..cut]).is_err());
    }

    #[test]
    fn another_place_does_not_open_it(place in places(), other in places(), blob in blobs()) {
        let vault = Vault::new(vec![master(1)]);
        let key = key(&vault, &row(&vault, tenant(1), 7));
        let sealed = key.seal(&place, &blob).expect("it is sealed");
        prop_assume!(other != place);
        prop_assert_eq!(key.open(&other, &sealed.bytes), Err(KeyError::Open(7)));
        prop_assert_eq!(key.open(&place.of(tenant(2)), &sealed.bytes), Err(KeyError::Open(7)));
    }

    #[test]
    fn another_key_does_not_open_it(place in places(), blob in blobs()) {
        let vault = Vault::new(vec![master(1)]);
        // Under the same number, for the same tenant.
        let (one, other) = (row(&vault, tenant(1), 7), row(&vault, tenant(1), 7));
        let sealed = key(&vault, &one).seal(&place, &blob).expect("it is sealed");
        prop_assert!(key(&vault, &other).open(&place, &sealed.bytes).is_err());
    }

    #[test]
    fn a_text_is_sealed_as_a_json_string(place in places(), text in ".{0,60}") {
        let vault = Vault::new(vec![master(1)]);
        let key = key(&vault, &row(&vault, tenant(1), 7));
        let sealed = key.seal_text(&place, &text).expect("it is sealed");
        prop_assert!(is_sealed_text(&sealed));
        prop_assert!(serde_json::from_str::<String>(&sealed).is_ok());
        let blob = Vault::text_blob(&sealed).expect("it is of the form");
        prop_assert_eq!(key.open(&place, &blob.bytes).expect("it opens").bytes, text.as_bytes());
    }
}

#[test]
fn a_data_key_is_unwrapped_by_its_master_key_for_its_tenant_under_its_number_alone() {
    let vault = Vault::new(vec![master(1)]);
    let made = row(&vault, tenant(1), 7);
    assert!(vault.unwrapped(&made).is_ok());
    let moved = DataKeyRow {
        tenant: tenant(2),
        ..made.clone()
    };
    assert_eq!(vault.unwrapped(&moved).err(), Some(KeyError::Unwrap(7)));
    let renumbered = DataKeyRow {
        number: 8,
        ..made.clone()
    };
    assert_eq!(
        vault.unwrapped(&renumbered).err(),
        Some(KeyError::Unwrap(8))
    );
    let elsewhere = Vault::new(vec![master(2)]);
    let missing = KeyError::MasterMissing(made.master);
    assert_eq!(elsewhere.unwrapped(&made).err(), Some(missing));
    assert_eq!(elsewhere.missing([made.master]), [made.master]);
}

#[test]
fn a_new_master_key_wraps_and_the_old_one_still_unwraps_until_nothing_is_under_it() {
    let old = Vault::new(vec![master(1)]);
    let made = row(&old, tenant(1), 7);
    let both = Vault::new(vec![master(2), master(1)]);
    let (wrapped, by) = both
        .rewrap(&made)
        .expect("it can")
        .expect("it is the old one's");
    assert_eq!(by, master(2).id());
    let again = DataKeyRow {
        wrapped: Some(wrapped),
        master: by,
        ..made.clone()
    };
    assert_eq!(both.rewrap(&again).expect("it can"), None);
    let new = Vault::new(vec![master(2)]);
    // It is the same key.
    let place = Place::new(Column::Body, Uuid::from_u128(1));
    let blob = Blob {
        zstd: false,
        bytes: Bytes::from_static(b"x"),
    };
    let sealed = key(&old, &made).seal(&place, &blob).expect("it is sealed");
    let opened = key(&new, &again).open(&place, &sealed.bytes);
    assert_eq!(opened.expect("it opens"), blob);
}

#[test]
fn what_was_read_before_a_change_is_not_taken_in_after_it() {
    let vault = Vault::new(vec![master(1)]);
    let made = row(&vault, tenant(1), 7);
    vault.forget(3);
    let (_, taken) = vault.learn(2, &made).expect("it unwraps");
    assert!(!taken && vault.current(tenant(1)).is_none());
    let (_, taken) = vault.learn(3, &made).expect("it unwraps");
    assert!(taken && vault.current(tenant(1)).is_some());
    vault.forget(4);
    assert!(vault.current(tenant(1)).is_none() && vault.known(7).is_none());
}

#[test]
fn a_key_is_never_shown() {
    let text = MasterKey::make().expect("there is randomness");
    let key: MasterKey = text.parse().expect("a key");
    let vault = Vault::new(vec![text.parse().expect("a key")]);
    for shown in [
        format!("{key:?}"),
        format!("{vault:?}"),
        key.id().to_string(),
    ] {
        assert!(!shown.contains(&text[..8]), "{shown}");
    }
}
