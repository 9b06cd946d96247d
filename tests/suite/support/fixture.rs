//! Who and what is in every test's database, 60 days old by the time a test starts.
//!
//! | person | tenant | console roles | TOTP |
//! |---|---|---|---|
//! | ada | acme | Tenant admin | yes |
//! | dora | acme | Developer, keeper of the service account `ci` | yes |
//! | emil | acme | Developer | no |
//! | audrey | acme | Auditor | no |
//! | nora | acme | none | no |
//! | mia | acme: Developer; globex: Auditor | | yes |
//! | gus | globex | Tenant admin, Developer | yes |
//! | root | – | installation owner | yes |
//!
//! Everybody in acme holds the access role *Shipping* (`shipments:read`, `shipments:write`) but nora; *Billing*
//! (`invoices:read`) is dora's alone. Resources: `site:rotterdam`, `site:hamburg`, `data:tariffs`; emil has `site:rotterdam`
//! only. API keys are on in both tenants. Keys: `dora`, `emil`, `ci` and `gus` have one each, named after them.

use std::collections::BTreeMap;

use keyward::{
    actions::{self, By, Who, keys::KeyForm},
    app::App,
    chance,
    domain::{
        access::{KeyAccess, ResourceSet},
        ids::{AccountId, KeyId, MemberId, TenantId},
        ip_range::IpRanges,
        lifetime::{Choice, Lifetime},
        names::Scopes,
        password,
        permission::BuiltIn,
        tenant::Settings,
        totp::Seed,
    },
    store::{Tx, access, accounts, members, tenants},
};

/// The password of everybody in the fixture.
pub const PASSWORD: &str = "tall ships sail at dawn";

/// Somebody who can sign in.
#[derive(Debug)]
pub struct Person {
    /// What tests call them.
    pub name: String,
    /// The address.
    pub email: String,
    /// The password.
    pub password: &'static str,
    /// The TOTP secret, in base32.
    pub totp: Option<String>,
    /// The account.
    pub account: AccountId,
}

/// A key with its token.
#[derive(Debug, Clone)]
pub struct Key {
    /// The ID.
    pub id: KeyId,
    /// The token.
    pub token: String,
}

/// What is in the database.
#[derive(Debug)]
pub struct Fixture {
    /// Everybody who can sign in.
    pub people: Vec<Person>,
    /// The members by `tenant/name`; the service account is `acme/ci`.
    pub members: BTreeMap<String, MemberId>,
    /// The tenants by address.
    pub tenants: BTreeMap<String, TenantId>,
    /// A key of `dora`, `emil`, `ci` and `gus`, by owner.
    pub keys: BTreeMap<String, Key>,
}

impl Fixture {
    /// A key, by its owner.
    pub fn key(&self, owner: &str) -> &Key {
        &self.keys[owner]
    }
}

const PEOPLE: [(&str, bool); 8] =
    [("ada", true), ("dora", true), ("emil", false), ("audrey", false), ("nora", false), ("mia", true), ("gus", true), ("root", true)];

const MEMBERS: [(&str, &str, &[BuiltIn]); 8] = [
    ("acme", "ada", &[BuiltIn::TenantAdmin]),
    ("acme", "dora", &[BuiltIn::Developer]),
    ("acme", "emil", &[BuiltIn::Developer]),
    ("acme", "audrey", &[BuiltIn::Auditor]),
    ("acme", "nora", &[]),
    ("acme", "mia", &[BuiltIn::Developer]),
    ("globex", "mia", &[BuiltIn::Auditor]),
    ("globex", "gus", &[BuiltIn::TenantAdmin, BuiltIn::Developer]),
];

/// Fills an empty database.
pub fn fill(app: &App) -> Fixture {
    let now = app.clock.now();
    // Hashed once for all, with the cost that the product has.
    let hash = password::hash(PASSWORD, &chance::bytes()).unwrap();
    let mut fixture = Fixture { people: vec![], members: BTreeMap::new(), tenants: BTreeMap::new(), keys: BTreeMap::new() };
    app.store
        .write(now, |tx| -> Result<(), actions::keys::KeyError> {
            people(tx, &mut fixture, &hash)?;
            for (slug, name) in [("acme", "Acme"), ("globex", "Globex")] {
                let settings = Settings { keys_enabled: true, ..Settings::default() };
                let id = tenants::create(tx, &slug.parse().unwrap(), name, &settings)?.unwrap();
                fixture.tenants.insert(slug.to_owned(), id);
            }
            members_and_access(tx, &mut fixture)?;
            for (owner, by, slug) in [("dora", "dora", "acme"), ("emil", "emil", "acme"), ("ci", "dora", "acme"), ("gus", "gus", "globex")] {
                let account = fixture.people.iter().find(|person| person.name == by).unwrap().account;
                let acting = members::acting(tx, slug, account)?.unwrap();
                let by = By { who: Who::Member(Box::new(acting)), address: None, user_agent: String::new(), now, session: None };
                let form = KeyForm {
                    name: Some(format!("key of {owner}").parse().unwrap()),
                    comment: String::new(),
                    access: KeyAccess::Owner,
                    resources: ResourceSet::All,
                    ip_ranges: IpRanges::default(),
                    notice_recipients: vec![],
                };
                let owner_id = fixture.members[&format!("{slug}/{owner}")];
                let expiry = if owner == "dora" { Choice::For(Lifetime::Months(12)) } else { Choice::Never };
                let made = actions::keys::create(tx, &by, owner_id, &form, expiry, &format!("fixture-{owner}"), None)?;
                fixture.keys.insert(owner.to_owned(), Key { id: made.key.id, token: made.token.reveal().to_owned() });
            }
            Ok(())
        })
        .unwrap();
    fixture
}

fn people(tx: &mut Tx<'_>, fixture: &mut Fixture, hash: &str) -> Result<(), actions::keys::KeyError> {
    for (name, has_totp) in PEOPLE {
        let email = format!("{name}@{}.example", if name == "gus" { "globex" } else { "acme" });
        let shown = format!("{}{} Example", name[..1].to_uppercase(), &name[1..]);
        let account = accounts::create(tx, &email.parse().unwrap(), &shown, name == "root")?.unwrap();
        accounts::set_password(tx, account, hash, PASSWORD.len() as i64)?;
        let totp = if has_totp {
            let seed = Seed::from_random(chance::bytes());
            let sealed = seed.seal(tx.secrets().totp_key(), account, chance::bytes()).unwrap();
            accounts::set_pending_totp(tx, account, Some(&sealed))?;
            accounts::enrol_totp(tx, account, &sealed, 0)?;
            Some(seed.base32())
        } else {
            None
        };
        fixture.people.push(Person { name: name.to_owned(), email, password: PASSWORD, totp, account });
    }
    Ok(())
}

fn members_and_access(tx: &mut Tx<'_>, fixture: &mut Fixture) -> Result<(), actions::keys::KeyError> {
    for (slug, name, roles) in MEMBERS {
        let tenant = fixture.tenants[slug];
        let person = fixture.people.iter().find(|person| person.name == name).unwrap();
        let account = accounts::get(tx, person.account)?;
        let member = members::create(tx, tenant, Some(person.account), &account.name, &person.email)?;
        for role in roles {
            members::give_built_in(tx, tenant, member, *role)?;
        }
        fixture.members.insert(format!("{slug}/{name}"), member);
    }
    let acme = fixture.tenants["acme"];
    let ci = members::create(tx, acme, None, "CI", "ci@acme.example")?;
    members::add_keeper(tx, acme, ci, fixture.members["acme/dora"])?;
    fixture.members.insert("acme/ci".to_owned(), ci);

    for (slug, tenant) in fixture.tenants.clone() {
        for scope in ["shipments:read", "shipments:write", "invoices:read"] {
            access::create_scope(tx, tenant, &scope.parse().unwrap(), "")?;
        }
        for resource in ["site:rotterdam", "site:hamburg", "data:tariffs"] {
            access::create_resource(tx, tenant, &resource.parse().unwrap(), "")?;
        }
        let scopes = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Scopes>();
        let shipping = access::create_role(tx, tenant, "Shipping", "", &scopes(&["shipments:read", "shipments:write"]))?;
        let billing = access::create_role(tx, tenant, "Billing", "", &scopes(&["invoices:read"]))?;
        for (name, member) in fixture.members.iter().filter(|(name, _)| name.starts_with(&format!("{slug}/"))) {
            if name != "acme/nora" {
                access::give_role(tx, tenant, *member, shipping)?;
            }
            if name == "acme/dora" {
                access::give_role(tx, tenant, *member, billing)?;
            }
        }
    }
    let rotterdam = ResourceSet::Chosen(["site:rotterdam".parse().unwrap()].into());
    access::set_resources(tx, acme, fixture.members["acme/emil"], &rotterdam)?;
    Ok(())
}
