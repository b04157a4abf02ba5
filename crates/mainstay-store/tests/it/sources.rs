//! Sources that are removed and made again.

use mainstay_domain::{
    SecretId, SourceId, StoreExt,
    intake::{Appended, EventFilter, Source, SourceSecret},
};
use mainstay_testkit::on_both;

use crate::kit::{SYSTEM, World, run};

impl World {
    async fn removed(&self) {
        let (tenant, id) = (self.tenant, self.source.id);
        let removed = run!(self.store, self.scope(), [], |tx| tx
            .source_delete(tenant, id));
        assert!(removed.expect("it is removed"));
    }

    /// The source of this name is made, with another id.
    async fn made(&mut self, name: &str) {
        let mut source = Source {
            id: SourceId::new(self.at(0), &*self.random),
            name: name.to_owned(),
            secrets: vec![SourceSecret {
                id: SecretId::new(self.at(0), &*self.random),
                ..self.source.secrets[0].clone()
            }],
            ..self.source.clone()
        };
        let made = run!(self.store, self.scope(), [source], |tx| tx
            .source_insert(&source));
        source.number = made.expect("it is made");
        self.source = source;
    }

    async fn comes(&self, provider_id: &str, ms: i64) -> Appended {
        self.append(vec![self.arrival(provider_id, ms)]).await[0][0]
    }
}

on_both!(
    a_webhook_is_a_duplicate_also_when_its_source_was_removed_and_made_again,
    |db| async {
        let mut world = World::new(db).await;
        let (name, number) = (world.source.name.clone(), world.source.number);
        assert!(matches!(world.comes("evt_1", 1).await, Appended::New(_)));
        for round in 1..4 {
            world.removed().await;
            world.made(&name).await;
            assert_eq!(world.source.number, number);
            let again = world.comes("evt_1", 10 * round).await;
            assert!(matches!(again, Appended::Duplicate(_)), "{again:?}");
        }
        let fresh = world.comes("evt_2", 50).await;
        assert!(matches!(fresh, Appended::New(_)), "{fresh:?}");
        // What came by the former one is this one's.
        let source = world.source.id;
        let filter = EventFilter {
            source: Some(source),
            ..Default::default()
        };
        let events = run!(world.store, SYSTEM, [filter], |tx| tx
            .event_list(&filter, 10));
        assert_eq!(events.expect("they are listed").len(), 2);
    }
);

on_both!(
    a_source_of_another_name_or_tenant_knows_nothing_of_a_removed_one,
    |db| async {
        let store = db.store();
        let mut anna = World::named(&store, "anna", 1).await;
        let mut ben = World::named(&store, "ben", 2).await;
        let (name, number) = (anna.source.name.clone(), anna.source.number);
        anna.comes("evt_1", 1).await;
        anna.removed().await;
        ben.made(&name).await;
        let theirs = ben.comes("evt_1", 2).await;
        assert!(matches!(theirs, Appended::New(_)), "{theirs:?}");
        anna.made("other").await;
        let other = anna.comes("evt_1", 3).await;
        assert!(matches!(other, Appended::New(_)), "{other:?}");
        // It is kept for whoever had it.
        ben.removed().await;
        anna.made(&name).await;
        assert_eq!(anna.source.number, number);
    }
);
