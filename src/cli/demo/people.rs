//! The tenants of the demo, their members, and what those hold.

use std::collections::BTreeMap;

use serde_json::json;

use super::{super::Failure, Account};
use crate::{
    actions::By,
    app::App,
    chance,
    domain::{
        access::ResourceSet,
        event::Action,
        ids::{AccessRoleId, AccountId, MemberId, TenantId},
        lifetime::Lifetime,
        names::{Scopes, TextError},
        password,
        permission::BuiltIn,
        tenant::Settings,
        time::{Time, days},
        token::base62,
        totp::Seed,
    },
    store::{StoreError, Tx, access, accounts, events, members, tenants},
};

/// Everybody and everything but the keys.
pub struct People {
    pub accounts: Vec<Account>,
    pub tenants: Vec<Place>,
}

/// A tenant with whom keys can belong to.
pub struct Place {
    pub id: TenantId,
    pub slug: &'static str,
    /// Who is looked after by whom in made-up events.
    pub admin: MemberId,
    pub members: BTreeMap<&'static str, MemberId>,
    /// Who acts for each service account.
    pub keepers: BTreeMap<&'static str, &'static str>,
    pub roles: Vec<AccessRoleId>,
    /// Which of `roles` each member holds.
    pub held: BTreeMap<&'static str, Vec<AccessRoleId>>,
}

impl Place {
    /// The roles that a member holds.
    pub fn held_by(&self, owner: &str) -> &[AccessRoleId] {
        self.held.get(owner).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether a member holds a scope through one of them.
    pub fn holds(&self, owner: &str, scope: &str) -> bool {
        let roles = self.roles.iter().zip(ROLES);
        roles.filter(|(id, _)| self.held_by(owner).contains(id)).any(|(_, (_, scopes))| scopes.contains(&scope))
    }

    /// Who does something with a key of `owner`: a person for themselves, a keeper for a service account.
    pub fn actor<'a>(&self, owner: &'a str) -> (&'a str, Option<MemberId>) {
        let name = self.keepers.get(owner).copied().unwrap_or(owner);
        (name, self.members.get(name).copied())
    }
}

/// name, address before the @, console roles, whether they have TOTP
type Person = (&'static str, &'static str, &'static [BuiltIn], bool);

const OWNER: (&str, &str) = ("Oda Brandvold", "oda.brandvold@keyward.example");

const MERIDIAN: [Person; 9] = [
    ("Ines Ferreira", "ines.ferreira", &[BuiltIn::TenantAdmin, BuiltIn::Developer], true),
    ("Tomasz Wójcik", "tomasz.wojcik", &[BuiltIn::Developer], true),
    ("Priya Raman", "priya.raman", &[BuiltIn::Developer], true),
    ("Amara Okafor", "amara.okafor", &[BuiltIn::Developer], true),
    ("Jonas Lindqvist", "jonas.lindqvist", &[BuiltIn::Developer], false),
    ("Hugo Lefèvre", "hugo.lefevre", &[BuiltIn::Auditor, BuiltIn::Developer], true),
    ("Mei-Ling Chen", "mei-ling.chen", &[BuiltIn::Developer], true),
    ("Daniel Osei", "daniel.osei", &[BuiltIn::Developer], false),
    ("Astrid Nyman", "astrid.nyman", &[BuiltIn::Auditor], false),
];

/// A member who left, whose keys are still there.
pub const SUSPENDED: &str = "Daniel Osei";

/// When they were suspended.
pub fn left_at(now: Time) -> Time {
    now - days(12)
}

const HARBOUR: [Person; 4] = [
    ("Marta Nowak", "marta.nowak", &[BuiltIn::TenantAdmin], true),
    ("Elif Aydın", "elif.aydin", &[BuiltIn::Developer], true),
    ("Ravi Menon", "ravi.menon", &[BuiltIn::Developer], false),
    ("Liv Haugen", "liv.haugen", &[BuiltIn::Auditor], false),
];

/// name, contact, keeper
type Service = (&'static str, &'static str, &'static str);

const MERIDIAN_SERVICES: [Service; 3] = [
    ("ci-runners", "ci-oncall@meridian.example", "Tomasz Wójcik"),
    ("data-platform", "data-platform@meridian.example", "Priya Raman"),
    ("scanner-fleet", "devices@meridian.example", "Mei-Ling Chen"),
];

const HARBOUR_SERVICES: [Service; 1] = [("pos-terminals", "shops@harbour-vale.example", "Elif Aydın")];

const SCOPES: [(&str, &str); 10] = [
    ("inventory:read", "See stock levels and reservations"),
    ("inventory:write", "Change stock levels and reservations"),
    ("shipments:read", "See shipments and tracking"),
    ("shipments:write", "Book and change shipments"),
    ("returns:read", "See returns"),
    ("returns:write", "Book returns"),
    ("quotes:read", "See quotes"),
    ("billing:read", "See invoices and the ledger"),
    ("metrics:read", "Read service metrics"),
    ("blacklist:read", "See blocked carriers"),
];

const ROLES: [(&str, &[&str]); 6] = [
    ("Inventory: read & write", &["inventory:read", "inventory:write"]),
    ("Shipments: read & write", &["shipments:read", "shipments:write"]),
    ("Returns: read & write", &["returns:read", "returns:write"]),
    ("Quotes: read only", &["quotes:read"]),
    ("Billing: read only", &["billing:read"]),
    ("Metrics: read only", &["metrics:read"]),
];

const RESOURCES: [(&str, &str); 10] = [
    ("site:rotterdam", "Rotterdam terminal"),
    ("site:gdansk", "Gdańsk terminal"),
    ("site:poznan", "Poznań depot"),
    ("site:hamburg", "Hamburg depot"),
    ("carrier:norrland", "Norrland Frakt"),
    ("carrier:oder", "Oder Spedition"),
    ("carrier:kestrel", "Kestrel Air"),
    ("data-set:stock", "Stock levels"),
    ("data-set:ledger", "Ledger"),
    ("data-set:tariffs", "Tariffs"),
];

/// Makes the tenants and their members, a good while ago.
pub fn make(app: &App) -> Result<People, Failure> {
    let now = app.clock.now();
    let mut people = People { accounts: Vec::new(), tenants: Vec::new() };
    let founded = now - days(540);
    app.store.write(founded, |tx| -> Result<(), Failure> {
        let account = account(tx, &mut people.accounts, OWNER.0, OWNER.1, true, true)?;
        if let Some(entry) = people.accounts.last_mut() {
            entry.roles = vec!["Installation owner".into()];
        }
        let by = By::operator(Some("keyward demo"), founded);
        events::add_to_installation(tx, &by.event(Action::AccountCreated, ("installation_owner", &account.to_string(), OWNER.0), json!({})))?;
        Ok(())
    })?;
    let meridian = Settings { default_lifetime: Some(Lifetime::Months(12)), ..settings() };
    people.tenants.push(tenant(app, &mut people.accounts, founded, ("meridian", "Meridian Logistics"), &meridian, &MERIDIAN, &MERIDIAN_SERVICES)?);
    let harbour = Settings { maximum_days: Some(365), default_lifetime: Some(Lifetime::Months(6)), ..settings() };
    people.tenants.push(tenant(
        app,
        &mut people.accounts,
        now - days(400),
        ("harbour-vale", "Harbour & Vale"),
        &harbour,
        &HARBOUR,
        &HARBOUR_SERVICES,
    )?);
    for place in &people.tenants {
        if let Some(member) = place.members.get(SUSPENDED) {
            app.store.write(left_at(now), |tx| members::set_suspended(tx, place.id, *member, true))?;
        }
    }
    Ok(people)
}

fn settings() -> Settings {
    Settings { keys_enabled: true, keys_per_member: 40, ..Settings::default() }
}

fn account(tx: &mut Tx<'_>, made: &mut Vec<Account>, name: &str, email: &str, has_totp: bool, owner: bool) -> Result<AccountId, Failure> {
    let password = base62(20, &mut chance::fill);
    let id = accounts::create(tx, &email.parse()?, name, owner)?.ok_or("two people have one address")?;
    let hash = password::hash(&password, &chance::bytes()).ok_or("the password cannot be hashed")?;
    accounts::set_password(tx, id, &hash, 20)?;
    let totp_secret = if has_totp {
        let seed = Seed::from_random(chance::bytes());
        let sealed = seed.seal(tx.secrets().totp_key(), id, chance::bytes()).ok_or("the TOTP secret cannot be sealed")?;
        accounts::set_pending_totp(tx, id, Some(&sealed))?;
        accounts::enrol_totp(tx, id, &sealed, 0)?;
        let codes: [[u8; 32]; 10] = std::array::from_fn(|_| chance::bytes());
        accounts::set_recovery_codes(tx, id, &codes)?;
        Some(seed.base32())
    } else {
        None
    };
    made.push(Account { email: email.into(), password, totp_secret, tenant: None, roles: Vec::new() });
    Ok(id)
}

fn tenant(
    app: &App,
    accounts: &mut Vec<Account>,
    since: Time,
    (slug, name): (&'static str, &str),
    settings: &Settings,
    people: &'static [Person],
    services: &'static [Service],
) -> Result<Place, Failure> {
    app.store.write(since, |tx| -> Result<Place, Failure> {
        let id = tenants::create(tx, &slug.parse()?, name, settings)?.ok_or("the tenant exists")?;
        let by = By::operator(Some("keyward demo"), since);
        events::add(tx, id, &by.event(Action::TenantCreated, ("tenant", slug, name), json!({ "address": slug })))?;
        let roles = access(tx, id)?;
        let mut place = Place { id, slug, admin: MemberId(0), members: BTreeMap::new(), keepers: BTreeMap::new(), roles, held: BTreeMap::new() };
        for (position, (name, local, console_roles, has_totp)) in people.iter().enumerate() {
            let email = format!("{local}@{slug}.example");
            let account = account(tx, accounts, name, &email, *has_totp, false)?;
            let member = members::create(tx, id, Some(account), name, &email)?;
            for role in *console_roles {
                members::give_built_in(tx, id, member, *role)?;
            }
            let shown: Vec<String> =
                BuiltIn::ALL.iter().filter(|(role, ..)| console_roles.contains(role)).map(|(_, _, shown)| (*shown).to_owned()).collect();
            // Who may not sign in is not offered.
            if *name == SUSPENDED {
                accounts.pop();
            } else if let Some(entry) = accounts.last_mut() {
                entry.tenant = Some(slug.into());
                entry.roles.clone_from(&shown);
            }
            events::add(tx, id, &by.event(Action::MemberJoined, ("member", &member.to_string(), name), json!({ "email": email, "roles": shown })))?;
            hold(tx, &mut place, name, member, position)?;
            place.members.insert(name, member);
        }
        place.admin = people.first().and_then(|(name, ..)| place.members.get(name)).copied().unwrap_or(place.admin);
        for (name, contact, keeper) in services {
            let member = members::create(tx, id, None, name, contact)?;
            if let Some(keeper) = place.members.get(keeper) {
                members::add_keeper(tx, id, member, *keeper)?;
            }
            events::add(tx, id, &by.event(Action::ServiceAccountCreated, ("member", &member.to_string(), name), json!({ "contact": contact })))?;
            hold(tx, &mut place, name, member, 0)?;
            place.members.insert(name, member);
            place.keepers.insert(name, keeper);
        }
        Ok(place)
    })
}

fn access(tx: &mut Tx<'_>, tenant: TenantId) -> Result<Vec<AccessRoleId>, Failure> {
    for (scope, what) in SCOPES {
        access::create_scope(tx, tenant, &scope.parse()?, what)?;
    }
    for (resource, what) in RESOURCES {
        access::create_resource(tx, tenant, &resource.parse()?, what)?;
    }
    let mut made = Vec::new();
    for (name, scopes) in ROLES {
        let scopes = scopes.iter().map(|scope| scope.parse()).collect::<Result<Scopes, TextError>>()?;
        made.push(access::create_role(tx, tenant, name, "", &scopes)?);
    }
    Ok(made)
}

/// The first member and the service accounts hold every access role, the others most; some hold chosen resources.
fn hold(tx: &mut Tx<'_>, place: &mut Place, name: &'static str, member: MemberId, position: usize) -> Result<(), StoreError> {
    let held = place.roles.iter().enumerate().filter(|(number, _)| position == 0 || !(position + number).is_multiple_of(3)).map(|(_, role)| *role);
    let held: Vec<AccessRoleId> = held.collect();
    for role in &held {
        access::give_role(tx, place.id, member, *role)?;
    }
    place.held.insert(name, held);
    if position == 4 {
        let chosen = ["site:*", "data-set:stock"].into_iter().filter_map(|pattern| pattern.parse().ok()).collect();
        access::set_resources(tx, place.id, member, &ResourceSet::Chosen(chosen))?;
    }
    Ok(())
}
