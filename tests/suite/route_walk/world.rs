//! Who walks, and what they walk over: people in their browsers, things that URLs name, and a look at every table.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    rc::Rc,
    sync::atomic::{AtomicUsize, Ordering},
};

use keyward::{
    actions::{
        By, Who, credentials,
        invitations::{self, InviteForm},
        keys,
        members::MemberError,
    },
    chance,
    domain::{
        access::{KeyAccess, ResourceSet},
        ids::{AccountId, KeyId},
        ip_range::IpRanges,
        lifetime::{Choice, Lifetime},
        mail::{KeyName, Mail, Role},
        permission::{BuiltIn, Permissions},
        tenant::Settings,
        time::days,
        token::{Purpose, Token, fresh_id},
    },
    store::{access, accounts, console_roles, extensions, gateways, members, outbox, sessions, tenants},
};

use crate::support::{
    TestApp,
    behind::{Behind, Tables},
    browser::{Browser, Page},
};

/// What no answer may tell of a key that one may not see.
pub const CANARY: &str = "canary in a coal mine";

/// An extra recipient of notices.
const EXTRA: &str = "pager@acme.example";

/// Columns that say when somebody was last seen, and where: the one thing that looking changes.
const SEEN: [&str; 2] = ["seen_at", "last_tenant"];

/// A tenant that things are taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// acme's.
    Acme,
    /// globex's.
    Globex,
    /// Nobody's: a well-formed name of nothing.
    Nobody,
}

/// One request with its form.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: &'static str,
    pub path: String,
    pub fields: Vec<(String, String)>,
}

/// What the names in a path stand for, made once and kept for all who may not touch it.
#[derive(Debug, Clone, Default)]
pub struct Thing {
    pub names: BTreeMap<&'static str, String>,
    pub token: String,
    pub choices: BTreeMap<&'static str, String>,
}

impl Thing {
    /// `path` with every `{name}` filled in.
    pub fn fill(&self, path: &str) -> String {
        let mut filled = path.replace("<token>", &self.token);
        for (choice, value) in &self.choices {
            filled = filled.replace(choice, value);
        }
        for (name, value) in &self.names {
            filled = filled.replace(&format!("{{{name}}}"), value);
        }
        while let Some((start, end)) = filled.find('{').and_then(|start| Some((start, filled[start..].find('}')? + start))) {
            let inner = filled[start + 1..end].to_owned();
            let (_, value) = inner.split_once('=').unwrap_or_else(|| panic!("{path}: nothing is known of {{{inner}}}"));
            filled.replace_range(start..=end, value);
        }
        filled
    }
}

/// Everybody and everything.
pub struct World<'a> {
    pub app: &'a TestApp,
    browsers: RefCell<BTreeMap<&'static str, Rc<Browser>>>,
    behind: Behind,
    made: AtomicUsize,
    settings: String,
    last: RefCell<Option<Rc<Tables>>>,
}

impl<'a> World<'a> {
    /// Signs everybody in; then emil, who may do everything in acme, is suspended.
    pub fn new(app: &'a TestApp) -> Self {
        app.write(|tx| {
            for tenant in app.fixture.tenants.values() {
                let tenant = tenants::get(tx, *tenant)?;
                let settings = Settings { keys_per_member: 1000, ..tenant.settings.clone() };
                tenants::save_settings(tx, &tenant, &settings)?;
            }
            Ok(())
        });
        let mut world = Self {
            app,
            browsers: RefCell::default(),
            behind: Behind::new(app, &SEEN),
            made: AtomicUsize::new(0),
            settings: String::new(),
            last: RefCell::default(),
        };
        world.settings = world.behind.one("SELECT settings AS text FROM tenants WHERE slug = 'acme'");
        for name in ["nora", "mia", "dora", "audrey", "ada", "gus", "root", "emil", "nobody"] {
            world.sign_in(name);
        }
        let (tenant, emil) = (app.fixture.tenants["acme"], app.fixture.members["acme/emil"]);
        app.write(|tx| {
            members::give_built_in(tx, tenant, emil, BuiltIn::TenantAdmin)?;
            members::set_suspended(tx, tenant, emil, true)
        });
        world
    }

    fn sign_in(&self, name: &'static str) {
        let browser = if name == "nobody" { self.app.browser() } else { self.app.signed_in(name) };
        browser.open(if name == "nobody" { "/login" } else { "/profile" });
        self.browsers.borrow_mut().insert(name, browser.into());
    }

    /// A person's browser.
    pub fn browser(&self, name: &str) -> Rc<Browser> {
        self.last.take();
        self.browsers.borrow()[name].clone()
    }

    /// Signs a person in again whose session has ended.
    pub fn come_back(&self, name: &'static str) {
        if name != "nobody" && self.browser(name).get("/profile").status != 200 {
            self.sign_in(name);
        }
    }

    /// Things of a tenant, each new, in the state that the path is about.
    pub fn thing(&self, whose: Whose, path: &str) -> Thing {
        self.last.take();
        let (slug, owner) = match whose {
            Whose::Globex => ("globex", "gus"),
            _ => ("acme", "dora"),
        };
        let mut thing = Thing::default();
        // What a form chooses, rather than what is looked at.
        let acme = self.app.fixture.tenants["acme"];
        let auditor = self.app.read(|db| members::built_in_role(db, acme, BuiltIn::Auditor));
        let shipping = self.app.read(|db| access::roles(db, acme)).into_iter().find(|role| role.name == "Shipping").unwrap().id;
        let colleague = self.app.fixture.members["acme/mia"];
        thing.choices = [("{auditor}", auditor.to_string()), ("{shipping}", shipping.to_string()), ("{colleague}", colleague.to_string())].into();
        thing.names.insert("tenant", "acme".to_owned());
        for (name, before) in names(path) {
            let value = match (name, before) {
                ("tenant", _) => continue,
                (name, _) if name.contains('=') => continue,
                ("key", _) => {
                    let (id, token) = self.key(whose, slug, owner, path);
                    thing.token = token;
                    id
                }
                ("id", "gateways") => self.gateway(whose, slug),
                ("id", "mail") => self.failed_mail(whose, slug, path),
                ("scope" | "role" | "resource", _) if path.contains("/access/") => self.access(whose, slug, name),
                ("member", _) => self.member(whose, slug, path),
                ("keeper", _) if whose == Whose::Nobody => "987654322".to_owned(),
                ("keeper", _) => self.app.fixture.members[&format!("{slug}/{owner}")].to_string(),
                ("session", _) if path.starts_with("/t/") => thing.names.get("member").map_or_else(String::new, |member| self.session(member)),
                ("invitation", _) => self.invite(whose).1,
                ("role", _) => self.role(whose, slug),
                ("service", _) => match whose {
                    Whose::Acme => self.app.fixture.members["acme/ci"].to_string(),
                    Whose::Globex => self.app.fixture.members["globex/gus"].to_string(),
                    Whose::Nobody => "987654321".to_owned(),
                },
                ("token", _) if path.starts_with("/password/reset/") => {
                    let token = self.app.write(|tx| credentials::start_reset(tx, "mia@acme.example")).unwrap();
                    token.reveal().to_owned()
                }
                ("token", _) if path.starts_with("/invite/") => self.invite(Whose::Acme).0,
                ("token", _) if path.starts_with("/extend/") => extensions::token(&self.app.app.secrets, &self.notice(path)).reveal().to_owned(),
                ("notice", _) if whose == Whose::Nobody => "987654321".to_owned(),
                ("notice", _) => self.notice(path).id.0.to_string(),
                ("token", _) => Token::make(Purpose::SetUp, fresh_id(&mut chance::fill), &mut chance::fill).reveal().to_owned(),
                // An event of dora's new key. Numbers begin anew in each tenant, so another tenant's says nothing.
                ("number", "events") if whose == Whose::Acme => {
                    let (id, _) = self.key(whose, slug, owner, path);
                    self.behind.one(&format!("SELECT max(number) AS text FROM events WHERE target_id = '{id}'"))
                }
                ("number", _) => "987654321".to_owned(),
                ("slug", "tenants") => self.tenant(whose, path),
                ("account", _) => match self.member(whose, slug, path) {
                    member if whose != Whose::Nobody => self.behind.one(&format!("SELECT account_id AS text FROM members WHERE id = {member}")),
                    nobody => nobody,
                },
                // Somebody else's.
                ("session", _) => {
                    self.behind.one("SELECT public_id AS text FROM sessions JOIN accounts ON accounts.id = account_id WHERE name LIKE 'Nora%'")
                }
                (name, before) => panic!("{path}: what is {{{name}}} after {before}?"),
            };
            thing.names.insert(name, value);
        }
        if path.contains("/keys/find") && thing.token.is_empty() {
            thing.token = self.key(whose, slug, owner, path).1;
        }
        thing
    }

    fn key(&self, whose: Whose, slug: &str, owner: &str, path: &str) -> (String, String) {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        if whose == Whose::Nobody {
            let id = fresh_id(&mut chance::fill);
            return (id.to_string(), Token::make(Purpose::Key, id, &mut chance::fill).reveal().to_owned());
        }
        let account = self.app.person(owner).account;
        let owner = self.app.fixture.members[&format!("{slug}/{owner}")];
        let (now, mailed) = (self.app.now(), path.starts_with("/extend/"));
        let made = self.app.app.store.write(now, |tx| -> Result<(KeyId, String), keys::KeyError> {
            let acting = members::acting(tx, slug, account)?.unwrap();
            let by = By { who: Who::Member(Box::new(acting)), address: None, user_agent: String::new(), now, session: None };
            let form = keys::KeyForm {
                name: Some(format!("{CANARY} {number}").parse().unwrap()),
                comment: CANARY.to_owned(),
                access: KeyAccess::Owner,
                resources: ResourceSet::All,
                ip_ranges: IpRanges::default(),
                notice_recipients: if mailed { vec![EXTRA.parse().unwrap()] } else { vec![] },
            };
            let expiry = Choice::For(if mailed { Lifetime::Days(10) } else { Lifetime::Months(12) });
            let made = keys::create(tx, &by, owner, &form, expiry, &format!("walk-{number}"), None)?;
            let id = made.key.id;
            if path.contains("/enable") {
                keys::disable(tx, &by, id, "")?;
            }
            if path.contains("/keys/delete") {
                keys::revoke(tx, &by, id, "")?;
            }
            Ok((id, made.token.reveal().to_owned()))
        });
        let (id, token) = made.unwrap();
        if path.contains("/finish") && whose == Whose::Acme {
            let dora = self.browser("dora");
            let code = self.code("dora");
            let rolled = dora.submit(&format!("/t/acme/keys/{id}/roll"), &[("totp", &code)]);
            assert_eq!(rolled.status, 200, "{}", rolled.text());
        }
        (id.to_string(), token)
    }

    /// A notice to an extra recipient, of a key that expires in ten days.
    fn notice(&self, path: &str) -> outbox::Notice {
        let (id, _) = self.key(Whose::Acme, "acme", "dora", path);
        let (tenant, id) = (self.app.fixture.tenants["acme"], KeyId::parse(&id).unwrap());
        let now = self.app.now();
        let line = outbox::NewNotice { key: id, stage: "before_14".into(), expires_at: now + days(10), role: Role::Extra };
        let to = outbox::To { address: EXTRA.to_owned(), name: String::new() };
        self.app.write(|tx| outbox::add_notices(tx, tenant, &to, now, &[line]));
        let found = self.app.read(|db| {
            let mails = outbox::list(db, tenant, None, None, 100)?;
            let notices: Result<Vec<_>, _> = mails.iter().map(|mail| outbox::notices_of(db, mail.id)).collect();
            Ok(notices?.into_iter().flatten().find(|notice| notice.key == id))
        });
        found.unwrap()
    }

    /// A new member of one tenant: a service account where the path is about one, suspended where it is about that.
    fn member(&self, whose: Whose, slug: &str, path: &str) -> String {
        if whose == Whose::Nobody {
            return "987654321".to_owned();
        }
        let (tenant, number) = (self.app.fixture.tenants[slug], self.made.fetch_add(1, Ordering::Relaxed));
        let email = format!("walker{number}@{slug}.example");
        let keeper = self.app.fixture.members[if slug == "acme" { "acme/dora" } else { "globex/gus" }];
        let member = self.app.write(|tx| {
            let service = path.contains("/details") || path.contains("/keepers");
            let account = if service { None } else { accounts::create(tx, &email.parse().unwrap(), CANARY, false)? };
            let member = members::create(tx, tenant, account, CANARY, &email)?;
            if let Some(account) = account.filter(|_| path.contains("/totp")) {
                accounts::set_pending_totp(tx, account, Some(b"sealed"))?;
                accounts::enrol_totp(tx, account, b"sealed", 0)?;
            }
            if service {
                members::add_keeper(tx, tenant, member, keeper)?;
            }
            members::set_suspended(tx, tenant, member, path.contains("/restore"))?;
            Ok(member)
        });
        if path.contains("/sessions") {
            self.session(&member.to_string());
        }
        member.to_string()
    }

    /// A session of a member's account; of nobody's, none.
    fn session(&self, member: &str) -> String {
        let (public, now) = (fresh_id(&mut chance::fill).to_string(), self.app.now());
        if member == "987654321" {
            return public;
        }
        let account = self.behind.one(&format!("SELECT account_id AS text FROM members WHERE id = {member}"));
        let session = sessions::Session {
            id: chance::bytes(),
            account: AccountId(account.parse().unwrap()),
            public_id: public.clone(),
            stage: sessions::Stage::Full,
            created_at: now,
            seen_at: now,
            ip: String::new(),
            user_agent: String::new(),
            wrong_codes: 0,
        };
        self.app.write(|tx| sessions::create(tx, &session));
        public
    }

    /// The token of a new invitation, and what the list names it by.
    fn invite(&self, whose: Whose) -> (String, String) {
        let (slug, name) = if whose == Whose::Globex { ("globex", "gus") } else { ("acme", "ada") };
        let id = fresh_id(&mut chance::fill).to_string();
        if whose == Whose::Nobody {
            return (String::new(), id);
        }
        let (now, account, tenant) = (self.app.now(), self.app.person(name).account, self.app.fixture.tenants[slug]);
        let email = format!("guest{}@walk.example", self.made.fetch_add(1, Ordering::Relaxed));
        let made = self.app.app.store.write(now, |tx| -> Result<_, MemberError> {
            let acting = members::acting(tx, slug, account)?.unwrap();
            let by = By { who: Who::Member(Box::new(acting)), address: None, user_agent: String::new(), now, session: None };
            let email = email.parse().unwrap();
            let (token, _) = invitations::invite(tx, &by, &InviteForm { email, roles: vec![], access_roles: vec![], resources: ResourceSet::All })?;
            let tenant = tenants::get(tx, tenant)?;
            let waiting = invitations::waiting(tx, &tenant, "", (0, 1000), now)?;
            Ok((token.reveal().to_owned(), waiting))
        });
        let (token, waiting) = made.unwrap();
        let offer = waiting.into_iter().map(|(offer, _)| offer).find(|offer| offer.email.as_str() == email);
        (token, offer.unwrap().id)
    }

    /// A console role that nobody holds.
    fn role(&self, whose: Whose, slug: &str) -> String {
        let (tenant, number) = (self.app.fixture.tenants[slug], self.made.fetch_add(1, Ordering::Relaxed));
        match whose {
            Whose::Nobody => "987654321".to_owned(),
            _ => self.app.write(|tx| console_roles::create(tx, tenant, &format!("{CANARY} {number}"), Permissions::NONE)).to_string(),
        }
    }

    /// A tenant that nobody looks after; where it is to be brought back it is suspended.
    fn tenant(&self, whose: Whose, path: &str) -> String {
        let slug = format!("walk-{}", self.made.fetch_add(1, Ordering::Relaxed));
        if whose != Whose::Nobody {
            self.app.write(|tx| tenants::create(tx, &slug.parse().unwrap(), CANARY, &Settings::default()));
            if path.contains("/restore") {
                self.sql(&format!("UPDATE tenants SET suspended_at = 1795255200000000 WHERE slug = '{slug}'"));
            }
        }
        slug
    }

    /// A scope, an access role or a resource that nobody holds.
    fn access(&self, whose: Whose, slug: &str, what: &str) -> String {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let (tenant, scope) = (self.app.fixture.tenants[slug], format!("{slug}:walk{number}"));
        match (what, whose) {
            ("scope", Whose::Nobody) => format!("nobody:walk{number}"),
            (_, Whose::Nobody) => "987654321".to_owned(),
            ("scope", _) => {
                self.app.write(|tx| access::create_scope(tx, tenant, &scope.parse().unwrap(), CANARY));
                scope
            }
            ("role", _) => self
                .app
                .write(|tx| access::create_role(tx, tenant, &format!("{CANARY} {number}"), "", &["invoices:read".parse().unwrap()].into()))
                .to_string(),
            _ => {
                let resource = format!("{slug}:walk{number}").parse().unwrap();
                self.app.write(|tx| access::create_resource(tx, tenant, &resource, CANARY));
                self.behind.one(&format!("SELECT id AS text FROM resources WHERE name = 'walk{number}' AND tenant_id = {}", tenant.number()))
            }
        }
    }

    /// A mail that was given up.
    fn failed_mail(&self, whose: Whose, slug: &str, path: &str) -> String {
        if whose == Whose::Nobody {
            return "987654321".to_owned();
        }
        let key = KeyName { id: "7f3Kq9m2x8d4Zt0B".into(), name: CANARY.into() };
        let mail = Mail::KeyChanged { key, action: "key.revoke".into(), by: "Ada Example".into(), at: self.app.now(), facts: vec![] };
        let to = outbox::To { address: "walked@nowhere.example".into(), name: String::new() };
        let tenant = (!path.starts_with("/installation/")).then(|| self.app.fixture.tenants[slug]);
        let reset = Mail::PasswordReset { until: self.app.now() + days(1) };
        let (mail, once) = (if tenant.is_some() { mail } else { reset }, fresh_id(&mut chance::fill).to_string());
        self.app.write(|tx| {
            let new = outbox::NewMail { tenant, account: None, to: &to, mail: &mail, once: &once };
            let id = outbox::add(tx, &new)?.expect("a new mail");
            // Those of other things wait; only this one has failed.
            for taken in outbox::take(tx, "walk", 10_000)? {
                let outcome = if taken.id == id { outbox::Outcome::Failed } else { outbox::Outcome::Later(tx.now()) };
                outbox::settle(tx, taken.id, "walk", &outcome, "550 no such mailbox")?;
            }
            Ok(id.to_string())
        })
    }

    fn gateway(&self, whose: Whose, slug: &str) -> String {
        if whose == Whose::Nobody {
            return "987654321".to_owned();
        }
        let (tenant, id) = (self.app.fixture.tenants[slug], fresh_id(&mut chance::fill));
        let token = Token::make(Purpose::Gateway, id, &mut chance::fill);
        let pepper = self.app.app.secrets.pepper_version();
        let hash = self.app.app.secrets.token_hash(pepper, Purpose::Gateway, tenant, token.reveal()).unwrap();
        let new = gateways::New { public_id: id, name: CANARY, by: "Ada Example", expires_at: None, hash, pepper };
        self.app.write(|tx| gateways::create(tx, tenant, &new)).to_string()
    }

    /// A code that works once; a made-up one for who has no authenticator.
    pub fn code(&self, name: &str) -> String {
        self.last.take();
        let has = self.app.fixture.people.iter().any(|person| person.name == name && person.totp.is_some());
        if has { self.app.code(name) } else { "123456".to_owned() }
    }

    /// Sends a request as somebody, with the token of their own session.
    pub fn send(&self, name: &str, request: &Request) -> Page {
        let browser = self.browsers.borrow()[name].clone();
        if request.method == "GET" {
            return browser.get(&request.path);
        }
        let fields: Vec<(&str, &str)> = request.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        browser.post(&request.path, &fields)
    }

    /// Runs a statement behind everybody's back.
    pub fn sql(&self, statement: &str) {
        self.last.take();
        self.behind.sql(statement).unwrap();
    }

    /// What every table holds, but for when somebody was last seen.
    pub fn tables(&self) -> Tables {
        self.behind.tables()
    }

    /// Sends a request, and says what the tables held before and after it. Nobody else is at work meanwhile.
    pub fn watch(&self, name: &str, request: &Request) -> (Rc<Tables>, Page, Rc<Tables>) {
        let before = self.last.take().unwrap_or_else(|| Rc::new(self.tables()));
        let page = self.send(name, request);
        let after = Rc::new(self.tables());
        self.last.replace(Some(Rc::clone(&after)));
        (before, page, after)
    }

    /// Makes acme's settings what they were.
    pub fn restore_settings(&self) {
        self.sql(&format!("UPDATE tenants SET settings = '{}' WHERE slug = 'acme'", self.settings));
    }
}

/// The names in a path, each with the part before it: `("id", "gateways")`.
fn names(path: &str) -> Vec<(&'static str, &'static str)> {
    let path: &'static str = path.to_owned().leak();
    let mut found = Vec::new();
    for (at, _) in path.match_indices('{') {
        let name = path[at + 1..].split('}').next().unwrap();
        let before = path[..at].trim_end_matches(['/', '=']).rsplit(['/', '?', '&']).next().unwrap_or_default();
        found.push((name, before));
    }
    found
}
