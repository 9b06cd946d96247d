//! The real program, killed at any moment while people change keys, forget passwords, digests are written and mails leave: no mail is
//! lost, and no change is without its mail.
//!
//! On SQLite it is one process, which frees what its dead predecessor had in hand. On PostgreSQL there are two, and one goes on while
//! the other is killed; what a dead one had in hand is free when its lease has run out, which a last process under a false clock
//! comes to see.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::TcpStream,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use diesel::RunQueryDsl as _;
use keyward::{
    actions::{
        self, By, Who,
        keys::{KeyError, KeyForm},
    },
    app::App,
    chance,
    clock::Clock,
    config::Sources,
    domain::{
        access::{KeyAccess, ResourceSet},
        ids::{KeyId, MemberId, TenantId},
        ip_range::IpRanges,
        lifetime::{Choice, Lifetime},
        mail::{KeyName, Mail},
        notice::digest,
        password,
        permission::BuiltIn,
        tenant::Settings,
        time::days,
        token::fresh_id,
    },
    store::{
        Address, StoreError, Tx, accounts, events, facts, members,
        outbox::{self, NewMail, Row, State, To},
        tenants,
    },
};

use crate::support::{
    Backend,
    browser::Browser,
    false_clock,
    fixture::PASSWORD,
    new_dir, postgres,
    smtp::{Server, certificate},
};

/// How many owners keys have: an address gets a hundred mails in a day and no more.
const OWNERS: usize = 60;
/// How many people may forget their password, once each.
const FORGETFUL: usize = 300;
/// How many keys become due in each round, each of somebody else.
const DUE: usize = 3;

/// A database with mails to send, and the real program that is killed again and again while it sends them.
pub struct Killed {
    dir: std::path::PathBuf,
    database: Option<String>,
    app: App,
    pub server: Server,
    smtp_url: String,
    /// Where the processes listen; people go to the first.
    ports: [u16; 2],
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// All mails.
    pub mails: usize,
    /// Those of them that are digests.
    pub digests: usize,
    /// Those of them that tell of changes through pages.
    pub changes: usize,
    /// Those of them that were asked for by who has forgotten a password.
    pub forgotten: usize,
    /// How many processes died with mails in hand; where there were several, those of them whose leases had not run out by the end.
    pub in_hand: usize,
    /// How many arrived twice.
    pub doubles: usize,
}

/// What was answered to people while processes died.
#[derive(Debug, Default)]
struct Answered {
    /// The names of keys that were made.
    made: Vec<String>,
    /// The addresses for which a new password was asked.
    forgotten: BTreeSet<String>,
}

/// The tenant and whose keys there are.
struct World {
    tenant: TenantId,
    owners: Vec<MemberId>,
    keys: Vec<KeyId>,
}

impl Killed {
    fn new(backend: Backend) -> Self {
        let server = Server::start(&new_dir());
        let smtp_url = server.url();
        Self::with(backend, server, smtp_url)
    }

    pub fn with(backend: Backend, server: Server, smtp_url: String) -> Self {
        let dir = new_dir();
        let listeners = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let ports = listeners.each_ref().map(|listener| listener.local_addr().unwrap().port());
        drop(listeners);
        let database = (backend == Backend::Postgres).then(|| postgres::create(None));
        let mut sources = Sources::default().flag("data_dir", dir.to_str().unwrap()).unwrap();
        sources = sources.flag("listen", &format!("127.0.0.1:{}", ports[0])).unwrap();
        if let Some(name) = &database {
            sources = sources.flag("database_url", &postgres::url(name)).unwrap();
        }
        let app = App::open(sources.into_config().unwrap(), Clock::System).unwrap();
        Self { dir, database, app, server, smtp_url, ports }
    }

    fn write<T>(&self, f: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError>) -> T {
        self.app.store.write(self.app.clock.now(), f).unwrap()
    }

    pub fn add(&self, from: usize, count: usize) {
        self.write(|tx| {
            for n in from..from + count {
                let mail = Mail::KeyChanged {
                    key: KeyName { id: format!("{n:016}"), name: format!("key {n}") },
                    action: "key.revoke".into(),
                    by: "Ada".into(),
                    at: tx.now(),
                    facts: vec![],
                };
                let to = To { address: format!("user{n}@example.com"), name: String::new() };
                outbox::add(tx, &NewMail { tenant: None, account: None, to: &to, mail: &mail, once: &n.to_string() })?;
            }
            Ok(())
        });
    }

    pub fn serve(&self) -> Child {
        self.start(self.ports[0], false)
    }

    /// Starts a process; a late one lives a quarter of an hour ahead, when every lease and every hold of now is over.
    fn start(&self, port: u16, late: bool) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyward"));
        command.arg("serve").arg("--data-dir").arg(&self.dir).args(["--listen", &format!("127.0.0.1:{port}")]).current_dir(&self.dir);
        command.args(["--public-url", &format!("http://127.0.0.1:{}", self.ports[0])]);
        if late {
            command.env("LD_PRELOAD", false_clock()).env("FAKETIME", "+15m").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        if let Some(name) = &self.database {
            command.args(["--database-url", &postgres::url(name)]);
        }
        command
            .env("KEYWARD_SMTP_URL", &self.smtp_url)
            .env("SSL_CERT_FILE", &certificate().0)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    pub fn waiting(&self) -> usize {
        self.app.store.read(|db| -> Result<_, StoreError> { outbox::count_waiting(db) }).unwrap() as usize
    }

    /// A tenant with an admin who manages every key, and a key for each of many owners.
    fn settle(&self) -> World {
        let hash = password::hash(PASSWORD, &chance::bytes()).unwrap();
        let settings = Settings { keys_enabled: true, keys_per_member: 1000, admins_manage_all: true, ..Settings::default() };
        let (tenant, owners) = self.write(|tx| {
            let tenant = tenants::create(tx, &"acme".parse().unwrap(), "Acme", &settings)?.unwrap();
            let account = accounts::create(tx, &"ada@acme.example".parse().unwrap(), "Ada Example", false)?.unwrap();
            accounts::set_password(tx, account, &hash, PASSWORD.len() as i64)?;
            let ada = members::create(tx, tenant, Some(account), "Ada Example", "ada@acme.example")?;
            members::give_built_in(tx, tenant, ada, BuiltIn::TenantAdmin)?;
            members::give_built_in(tx, tenant, ada, BuiltIn::Developer)?;
            for n in 0..FORGETFUL {
                accounts::create(tx, &format!("forgetful{n}@example.com").parse().unwrap(), "Forgetful", false)?;
            }
            let owners = (0..OWNERS).map(|n| members::create(tx, tenant, None, &format!("Owner {n}"), &format!("owner{n}@example.com")));
            Ok((tenant, owners.collect::<Result<Vec<_>, _>>()?))
        });
        let keys = owners.iter().map(|owner| self.key(*owner, Choice::Never)).collect();
        World { tenant, owners, keys }
    }

    /// A key that the admin made 55 days ago, for sixty days or for ever.
    fn key(&self, owner: MemberId, life: Choice) -> KeyId {
        let form_id = fresh_id(&mut chance::fill).to_string();
        let form = KeyForm {
            name: None,
            comment: String::new(),
            access: KeyAccess::Owner,
            resources: ResourceSet::All,
            ip_ranges: IpRanges::default(),
            notice_recipients: vec![],
        };
        let made: Result<_, KeyError> = self.app.store.write(self.app.clock.now() - days(55), |tx| {
            let account = accounts::by_email(tx, "ada@acme.example")?.unwrap().id;
            let acting = members::acting(tx, "acme", account)?.unwrap();
            let by = By { who: Who::Member(Box::new(acting)), address: None, user_agent: String::new(), now: tx.now(), session: None };
            actions::keys::create(tx, &by, owner, &form, life, &form_id, None)
        });
        made.unwrap().key.id
    }

    /// Keys that expire in five days, each of a new owner; the sweep of this day begins anew for them.
    fn due(&self, world: &World, round: usize) -> Vec<KeyId> {
        let ids = (0..DUE).map(|n| {
            let address = format!("due{round}x{n}@example.com");
            let owner = self.write(|tx| members::create(tx, world.tenant, None, "Due", &address));
            self.key(owner, Choice::For(Lifetime::Days(60)))
        });
        let ids = ids.collect();
        let now = self.app.clock.now();
        let mut conn = Address::parse(&self.app.config.database_url).unwrap().connect().unwrap();
        // Keys whose digests have left are done with. A process that is alone need not wait until the hold of a dead one ends.
        let hold = if self.database.is_some() { "" } else { "held_until = 0, " };
        for statement in [
            format!(
                "UPDATE keys SET revoked_at = {} WHERE expires_at IS NOT NULL AND revoked_at IS NULL AND id IN (SELECT key_id FROM notices JOIN mails ON mails.id = notices.mail_id WHERE mails.sent_at IS NOT NULL)",
                now.timestamp_micros()
            ),
            format!("UPDATE jobs SET {hold}done_to = {} WHERE name = 'notices'", (digest(now) - days(1)).timestamp_micros()),
        ] {
            diesel::sql_query(statement).execute(&mut conn).unwrap();
        }
        ids
    }

    /// Makes, disables and enables keys through the pages, as fast as a person with many hands, and forgets passwords, until told
    /// to stop.
    fn load(&self, world: &World, ada: &Browser, stop: &AtomicBool) -> Answered {
        let mut answered = Answered::default();
        for n in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let (owner, key) = (world.owners[n % OWNERS], world.keys[n % OWNERS]);
            let name = format!("made {n}");
            let new = format!("/t/acme/keys/new?owner={owner}");
            let change = format!("/t/acme/keys/{key}/{}", if (n / OWNERS).is_multiple_of(2) { "disable" } else { "enable" });
            let answer = ada.attempt(&new).filter(|page| page.status == 200);
            let answer = answer.and_then(|page| ada.attempt_send(&page, "/t/acme/keys/new", &[("name", &name), ("owner", &owner.to_string())]));
            match answer {
                Some(page) if page.status == 200 && page.body.contains("kwk_") => answered.made.push(name),
                Some(page) if page.status < 500 => panic!("{}: {}", page.status, page.text()),
                _ => {
                    std::thread::sleep(Duration::from_millis(20));
                    continue;
                }
            }
            if let Some(page) = ada.attempt(&change).filter(|page| page.status == 200) {
                ada.attempt_send(&page, &change, &[]);
            }
            let email = format!("forgetful{}@example.com", n / 4);
            if n % 4 == 0
                && n / 4 < FORGETFUL
                && let Some(page) = ada.attempt("/password/forgot").filter(|page| page.status == 200)
                && ada.attempt_send(&page, "/password/forgot", &[("email", &email)]).is_some_and(|page| page.status == 200)
            {
                answered.forgotten.insert(email);
            }
        }
        answered
    }

    /// Which senders have mails in hand.
    fn senders(&self) -> BTreeSet<String> {
        #[derive(diesel::QueryableByName)]
        struct Sender {
            #[diesel(sql_type = diesel::sql_types::Text)]
            leased_by: String,
        }
        let mut conn = Address::parse(&self.app.config.database_url).unwrap().connect().unwrap();
        let found: Vec<Sender> = diesel::sql_query("SELECT DISTINCT leased_by FROM mails WHERE leased_by IS NOT NULL").load(&mut conn).unwrap();
        found.into_iter().map(|sender| sender.leased_by).collect()
    }

    /// Signs the admin in.
    fn admin(&self) -> Browser {
        let mut child = self.serve();
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.ports[0])).is_err() {
            assert!(began.elapsed() < Duration::from_secs(20), "the program does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        let ada = Browser::new(&format!("http://127.0.0.1:{}", self.ports[0]));
        let page = ada.submit("/login", &[("email", "ada@acme.example"), ("password", PASSWORD)]);
        assert_eq!(ada.follow(page).status, 200);
        child.kill().unwrap();
        child.wait().unwrap();
        ada
    }

    /// Kills a process `kills` times at moments that no two runs share, then lets another end the work, and counts.
    fn run(&self, kills: usize) -> Outcome {
        let world = self.settle();
        let ada = self.admin();
        let alone = self.database.is_none();
        let mut dead = if alone { self.senders() } else { BTreeSet::new() };
        let (mut added, mut due, stop) = (0, Vec::new(), AtomicBool::new(false));
        let answered = std::thread::scope(|scope| {
            let (world, stop) = (&world, &stop);
            let load = scope.spawn(move || self.load(world, &ada, stop));
            let mut running: Vec<Option<Child>> = self.ports[..if alone { 1 } else { 2 }].iter().map(|_| None).collect();
            for round in 0..kills {
                self.add(added, 10);
                added += 10;
                due.extend(self.due(world, round));
                for (child, port) in running.iter_mut().zip(self.ports) {
                    child.get_or_insert_with(|| self.start(port, false));
                }
                let random = u64::from_be_bytes(chance::bytes());
                std::thread::sleep(Duration::from_millis(60 + random % 700));
                let which = (random >> 32) as usize % running.len();
                kill(running[which].take().unwrap());
                if alone {
                    dead.extend(self.senders());
                }
            }
            stop.store(true, Ordering::Relaxed);
            let answered = load.join().unwrap();
            running.into_iter().flatten().for_each(kill);
            answered
        });
        // Where there are several, nobody but time ends the lease of a dead one: all are still there.
        dead.extend(self.senders());
        due.extend(self.due(&world, kills));
        let child = self.start(self.ports[0], !alone);
        let (mut left, mut moved) = (usize::MAX, Instant::now());
        // A further mail about the same change leaves a minute after the first.
        while (left > 0 || moved.elapsed() < Duration::from_secs(3)) && moved.elapsed() < Duration::from_secs(100) {
            std::thread::sleep(Duration::from_millis(200));
            let now = self.waiting();
            if now != left {
                (left, moved) = (now, Instant::now());
            }
        }
        kill(child);
        assert_eq!(self.waiting(), 0);
        let outcome = self.count(&world, added, &due, &answered);
        assert!(kills < 50 || answered.made.len() > kills, "{} keys made", answered.made.len());
        // A process sends one mail at a time, so each that died with mails in hand doubles one at the most: the one that it was at.
        // Besides those of the rounds, the one died where the admin had signed in, and two at the end. Of several, those whose leases
        // have run out by now are not known any more.
        let most = if alone { dead.len() } else { kills + 3 };
        assert!(outcome.doubles <= most, "{} doubles of {most} dead", outcome.doubles);
        Outcome { in_hand: dead.len(), ..outcome }
    }

    fn count(&self, world: &World, added: usize, due: &[KeyId], answered: &Answered) -> Outcome {
        let mut arrived: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
        for mail in self.server.mails() {
            let name = mail.header("Message-ID").trim_matches(['<', '>']).to_owned();
            arrived.entry(name).or_default().push((mail.to[0].clone(), mail.text.clone().unwrap_or_default()));
        }
        let rows = self.app.store.read(|db| outbox::list(db, world.tenant, None, None, 100_000)).unwrap();
        assert!(rows.iter().all(|row| row.state() == State::Sent), "every mail has left");
        let names: BTreeSet<String> = rows.iter().map(|row| self.app.post.message_id(row)).collect();
        let missing: Vec<&Row> = rows.iter().filter(|row| !arrived.contains_key(&self.app.post.message_id(row))).collect();
        assert!(missing.is_empty(), "lost: {missing:?}");
        // Those that were added behind everybody's back belong to no tenant.
        let others: Vec<&str> = arrived.iter().filter(|(name, _)| !names.contains(*name)).map(|(_, mails)| mails[0].0.as_str()).collect();
        let (forgotten, others): (Vec<&str>, Vec<&str>) = others.into_iter().partition(|address| address.starts_with("forgetful"));
        let forgotten_by: BTreeSet<String> = forgotten.iter().map(|address| (*address).to_owned()).collect();
        assert_eq!(forgotten_by.len(), forgotten.len(), "each asked once, and no second mail was written");
        let lost: Vec<&String> = answered.forgotten.difference(&forgotten_by).collect();
        assert!(lost.is_empty(), "asked for, answered and lost: {lost:?}");
        let others: BTreeSet<&str> = others.into_iter().collect();
        let expected: BTreeSet<String> = (0..added).map(|n| format!("user{n}@example.com")).collect();
        assert_eq!(others, expected.iter().map(String::as_str).collect(), "none of them is lost, and nothing else arrived");
        assert_eq!(arrived.len(), rows.len() + added + forgotten.len(), "a second arrival has the same name");

        // Each due key stands in one digest, and the mail names it.
        let digests: Vec<&Row> = rows.iter().filter(|row| row.mail == Mail::Digest).collect();
        let mut told: Vec<KeyId> = Vec::new();
        for row in &digests {
            let text = &arrived[&self.app.post.message_id(row)][0].1;
            for line in self.app.store.read(|db| outbox::notices_of(db, row.id)).unwrap() {
                assert!(line.dropped_at.is_none() && text.contains(line.key.as_str()), "{line:?} in {text}");
                told.push(line.key);
            }
        }
        let mut due = due.to_vec();
        told.sort_unstable();
        due.sort_unstable();
        assert_eq!(told, due);

        // Each change has its event and stands in one mail.
        let mut changed: BTreeMap<(String, String), usize> = BTreeMap::new();
        for row in &rows {
            let (keys, action) = match &row.mail {
                Mail::KeyChanged { key, action, .. } => (vec![key.clone()], action),
                Mail::KeysChanged { keys, action, .. } => (keys.clone(), action),
                _ => continue,
            };
            for key in keys {
                *changed.entry((key.id, action.clone())).or_default() += 1;
            }
        }
        let mut happened: BTreeMap<(String, String), usize> = BTreeMap::new();
        let mut names: BTreeSet<String> = BTreeSet::new();
        self.app
            .store
            .read(|db| -> Result<(), StoreError> {
                events::verify(db, &self.app.secrets, world.tenant.number())?.unwrap();
                for id in facts::key_ids_after(db, "", 100_000)? {
                    for event in events::of_key(db, world.tenant, KeyId::parse(&id).unwrap(), 1000)? {
                        if event.action.word() == "key.create" {
                            names.insert(event.target_name.clone());
                        }
                        *happened.entry((event.target_id, event.action.word().to_owned())).or_default() += 1;
                    }
                }
                Ok(())
            })
            .unwrap();
        assert_eq!(changed, happened);
        assert!(answered.made.iter().all(|name| names.contains(name)), "what was answered is there");

        let doubles: usize = arrived.values().map(|mails| mails.len() - 1).sum();
        let (digests, changes) = (digests.len(), rows.len() - digests.len());
        Outcome { mails: arrived.len(), digests, changes, forgotten: forgotten.len(), in_hand: 0, doubles }
    }
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

impl Drop for Killed {
    fn drop(&mut self) {
        if let Some(name) = &self.database {
            postgres::drop(name);
        }
    }
}

#[test]
fn killed_at_any_moment_the_program_loses_no_mail() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        Killed::new(backend).run(8);
    }
}

#[test]
#[ignore = "takes minutes: 200 kills on each database"]
fn killed_two_hundred_times_the_program_loses_no_mail() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let Outcome { mails, digests, changes, forgotten, in_hand, doubles } = Killed::new(backend).run(200);
        println!(
            "{backend:?}: 200 kills, {in_hand} dead with mails in hand; {mails} mails, of them {digests} digests, {changes} of changes and \
             {forgotten} for forgotten passwords; none lost, {doubles} arrived twice"
        );
        assert!(in_hand > 0 && forgotten > 0);
    }
}
