//! The grid as people use it, without scripts: list, filter, columns, export, and changes of many keys.

mod export;
mod list;
mod many;
mod weight;

use keyward::{
    domain::{
        access::{KeyAccess, ResourceSet},
        ids::KeyId,
        ip_range::IpRanges,
        key::{Key, Life, SecretFacts},
        token::SecretHash,
    },
    store::{
        keys::{self, NewKey},
        members, tenants,
    },
};

use crate::support::TestApp;

/// Stores keys with these names for an owner (`acme/dora`), in this order; `mark` begins their IDs.
fn add(app: &TestApp, owner: &str, mark: char, names: &[String], change: impl Fn(usize, &mut Key)) -> Vec<KeyId> {
    let tenant = app.fixture.tenants[owner.split('/').next().unwrap()];
    let owner = app.fixture.members[owner];
    let now = app.now();
    app.write(|tx| {
        let owner = members::find(tx, tenant, owner)?.unwrap();
        let make = |(at, name): (usize, &String)| {
            let mut key = Key {
                id: KeyId::parse(&format!("{mark}{at:0>15}")).unwrap(),
                tenant,
                seq: 0,
                owner: owner.id,
                name: name.parse().unwrap(),
                comment: String::new(),
                access: KeyAccess::Owner,
                resources: ResourceSet::All,
                ip_ranges: IpRanges::default(),
                notice_recipients: vec![],
                created_at: now,
                changed_at: now,
                life: Life::default(),
                lifetime: None,
                expiry_set_at: now,
                extensions: 0,
                current: SecretFacts { made_at: now, made_by: "x".into(), last_used: None },
                old: None,
                disabled_by: None,
                revoked_by: None,
                disable_reason: String::new(),
                revoke_reason: String::new(),
                last_used: None,
                version: 1,
            };
            change(at, &mut key);
            key
        };
        let made: Vec<Key> = names.iter().enumerate().map(make).collect();
        let new: Vec<NewKey<'_>> =
            made.iter().map(|key| NewKey { key, owner: &owner, hash: SecretHash([0; 32]), old_hash: None, pepper: 1 }).collect();
        keys::insert_many(tx, &new)?;
        Ok(made.iter().map(|key| key.id).collect())
    })
}

fn numbered(stem: &str, count: usize) -> Vec<String> {
    (0..count).map(|at| format!("{stem} {at}")).collect()
}

fn find(app: &TestApp, slug: &str, admin: &str, id: KeyId) -> Option<Key> {
    let account = app.person(admin).account;
    app.read(|db| {
        let reach = members::acting(db, slug, account)?.unwrap().reach();
        keys::find(db, &reach, id)
    })
}

fn life(app: &TestApp, id: KeyId) -> Life {
    find(app, "acme", "ada", id).unwrap().life
}

fn settings(app: &TestApp, change: impl Fn(&mut keyward::domain::tenant::Settings)) {
    app.write(|tx| {
        let tenant = tenants::by_slug(tx, "acme")?.unwrap();
        let mut settings = tenant.settings.clone();
        change(&mut settings);
        tenants::save_settings(tx, &tenant, &settings)
    });
}
