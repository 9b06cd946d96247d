//! What both benchmarks stand on: a tenant with as many keys as wanted, as they are after years of use, and a process that serves it.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Arc,
    time::Instant,
};

use chrono::Duration;
use keyward::{
    app::App,
    chance,
    clock::Clock,
    config::Sources,
    domain::{
        access::{KeyAccess, ResourceSet},
        ids::{AccessRoleId, KeyId, TenantId},
        ip_range::IpRanges,
        key::{Key, Life, OldSecret, SecretFacts, Use},
        names::Scopes,
        permission::BuiltIn,
        tenant::Settings,
        time::Time,
        token::{self, Purpose, Token, base62},
    },
    store::{
        StoreError, Tx, access, accounts, gateways,
        keys::{self, NewKey},
        members::{self, Owner},
        sessions, tenants, usage,
    },
    web::{session::session_hash, site::CookieName},
};

/// The value after a name on the command line.
pub fn value<T: std::str::FromStr>(args: &[String], name: &str) -> Option<T> {
    args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1)).and_then(|text| text.parse().ok())
}

/// Opens the installation in `dir`; its database is a file there unless `url` names another.
pub fn open(dir: &Path, url: Option<&str>, port: u16) -> App {
    let mut sources = Sources::default().flag("data_dir", dir.to_str().unwrap()).unwrap();
    sources = sources.flag("trusted_proxies", "127.0.0.1").unwrap().flag("listen", &format!("127.0.0.1:{port}")).unwrap();
    if let Some(url) = url {
        sources = sources.flag("database_url", url).unwrap();
    }
    App::open(sources.into_config().unwrap(), Clock::System).unwrap()
}

/// The same numbers in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % most
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }

    fn days(&mut self, most: i64) -> Duration {
        Duration::minutes(i64::try_from(self.below(u64::try_from(most * 1440).unwrap())).unwrap())
    }
}

const WHAT: [&str; 16] = [
    "Stock", "Label", "Route", "Yard", "Dock", "Invoice", "Quote", "Track", "Pallet", "Gate", "Customs", "Partner", "Shift", "Fuel", "Damage",
    "Price",
];
const HOW: [&str; 8] = ["sync", "importer", "printer", "monitor", "planner", "export", "bridge", "probe"];
const WHERE: [&str; 12] =
    ["Rotterdam", "Gdańsk", "Poznań", "Hamburg", "Lyon", "Turku", "Bilbao", "Trieste", "production", "staging", "test", "reporting"];
const FIRST: [&str; 16] =
    ["Ines", "Tomasz", "Priya", "Amara", "Jonas", "Hugo", "Mei", "Daniel", "Astrid", "Marta", "Elif", "Ravi", "Liv", "Oda", "Emil", "Nora"];
const LAST: [&str; 16] = [
    "Ferreira",
    "Wójcik",
    "Raman",
    "Okafor",
    "Lindqvist",
    "Lefèvre",
    "Chen",
    "Osei",
    "Nyman",
    "Nowak",
    "Aydın",
    "Menon",
    "Haugen",
    "Brandvold",
    "Silva",
    "Kerr",
];
const COMMENTS: [&str; 6] =
    ["", "", "Owned by the platform team", "Rotate with the quarterly release", "Ask the night shift before revoking", "Runs on the old cluster"];

const BATCH: usize = 20_000;
/// How many keys at either end have been used in each of the last 720 hours.
const BUSY: usize = 100;

/// Fills an empty database with one tenant: an admin, a member for twenty keys, a service account with a tenth of all, keys of every
/// status, and 30 days of use for those on the first and the last page. Writes the credential and the tokens that are accepted
/// into `dir`. Returns the seconds that the keys took.
pub fn fill(dir: &Path, url: Option<&str>, count: usize) -> f64 {
    let app = open(dir, url, 8080);
    let now = app.clock.now();
    let mut dice = Dice(2026);
    let (tenant, gateway, owners, roles) = app.store.write(now, |tx| people(tx, &mut dice, count)).unwrap();
    let began = Instant::now();
    let mut tokens = std::io::BufWriter::new(fs::File::create(dir.join("tokens.txt")).unwrap());
    let mut busy: Vec<KeyId> = Vec::new();
    app.store
        .bulk(now, |tx| -> Result<(), StoreError> {
            let pepper = tx.secrets().pepper_version();
            for start in (0..count).step_by(BATCH) {
                let size = (count - start).min(BATCH);
                let made: Vec<Made> = (start..start + size).map(|n| make(&app, &mut dice, tenant, &owners, &roles, n, count, now)).collect();
                let new: Vec<NewKey<'_>> =
                    made.iter().map(|m| NewKey { key: &m.key, owner: &owners[m.owner], hash: m.hash, old_hash: m.old_hash, pepper }).collect();
                keys::insert_many(tx, &new)?;
                for (at, made) in made.iter().enumerate() {
                    if made.passes {
                        writeln!(tokens, "{}", made.token).unwrap();
                    }
                    if start + at < BUSY || start + at >= count - BUSY.min(count) {
                        busy.push(made.key.id);
                    }
                }
            }
            Ok(())
        })
        .unwrap();
    let took = began.elapsed().as_secs_f64();
    let hour = now.timestamp() / 3600;
    for some in busy.chunks(50) {
        let counts: Vec<usage::HourCount> = some
            .iter()
            .flat_map(|key| (hour - 719..=hour).map(|hour| usage::HourCount { tenant, key: *key, hour, accepted: 40 + hour % 60, refused: hour % 3 }))
            .collect();
        app.store.write(now, |tx| usage::insert_many(tx, &counts)).unwrap();
    }
    fs::write(dir.join("gateway.txt"), gateway).unwrap();
    tokens.flush().unwrap();
    app.stop();
    took
}

type People = (TenantId, String, Vec<Owner>, Vec<AccessRoleId>);

fn people(tx: &mut Tx<'_>, dice: &mut Dice, count: usize) -> Result<People, StoreError> {
    let settings = Settings { keys_enabled: true, keys_per_member: 1000, ..Settings::default() };
    let tenant = tenants::create(tx, &"acme".parse().unwrap(), "Acme", &settings)?.unwrap();
    let scopes = ["shipments:read", "shipments:write", "invoices:read", "stock:read"];
    for scope in scopes {
        access::create_scope(tx, tenant, &scope.parse().unwrap(), "")?;
    }
    let mut roles = Vec::new();
    for (name, scopes) in [("Shipping", &scopes[..2]), ("Billing", &scopes[2..3]), ("Warehouse", &scopes[3..])] {
        let scopes: Scopes = scopes.iter().map(|scope| scope.parse().unwrap()).collect();
        roles.push(access::create_role(tx, tenant, name, "", &scopes)?);
    }
    let account = accounts::create(tx, &"ada@acme.example".parse().unwrap(), "Ada Example", false)?.unwrap();
    let mut owners = Vec::new();
    let admin = members::create(tx, tenant, Some(account), "Ada Example", "ada@acme.example")?;
    members::give_built_in(tx, tenant, admin, BuiltIn::TenantAdmin)?;
    members::give_built_in(tx, tenant, admin, BuiltIn::Developer)?;
    let fleet = members::create(tx, tenant, None, "scanner-fleet", "devices@acme.example")?;
    let mut all = vec![fleet];
    for n in 0..count.div_ceil(20) {
        let name = format!("{} {}", dice.pick(&FIRST), dice.pick(&LAST));
        all.push(members::create(tx, tenant, None, &name, &format!("member{n}@acme.example"))?);
    }
    for id in all {
        access::give_role(tx, tenant, id, roles[usize::try_from(dice.below(3)).unwrap()])?;
        owners.push(members::find(tx, tenant, id)?.unwrap());
    }
    let public_id = token::fresh_id(&mut chance::fill);
    let token = Token::make(Purpose::Gateway, public_id, &mut chance::fill);
    let pepper = tx.secrets().pepper_version();
    let hash = tx.secrets().token_hash(pepper, Purpose::Gateway, tenant, token.reveal()).unwrap();
    gateways::create(tx, tenant, &gateways::New { public_id, name: "bench", by: "bench", expires_at: None, hash, pepper })?;
    Ok((tenant, token.reveal().to_owned(), owners, roles))
}

struct Made {
    key: Key,
    owner: usize,
    hash: token::SecretHash,
    old_hash: Option<token::SecretHash>,
    token: String,
    passes: bool,
}

#[allow(clippy::too_many_arguments)]
fn make(app: &App, dice: &mut Dice, tenant: TenantId, owners: &[Owner], roles: &[AccessRoleId], n: usize, count: usize, now: Time) -> Made {
    let id = token::fresh_id(&mut chance::fill);
    let pepper = app.secrets.pepper_version();
    let secret = || {
        let token = Token::make(Purpose::Key, id, &mut chance::fill);
        let hash = app.secrets.token_hash(pepper, Purpose::Key, tenant, token.reveal()).unwrap();
        (token, hash)
    };
    let (token, hash) = secret();
    let owner = if dice.below(10) == 0 { 0 } else { 1 + usize::try_from(dice.below(owners.len() as u64 - 1)).unwrap() };
    let made_at = now - Duration::days(700) * i32::try_from(count - n).unwrap() / i32::try_from(count).unwrap() - Duration::hours(1);
    let fate = dice.below(100);
    let mut life = Life::default();
    match fate {
        0..=9 => life.revoked_at = Some(made_at + (now - made_at) / 2),
        10..=13 => life.disabled_at = Some(made_at + (now - made_at) / 2),
        14..=23 => life.expires_at = Some((made_at + Duration::days(90)).min(now - Duration::hours(1))),
        24..=26 => life.expires_at = Some(now + dice.days(14)),
        27..=69 => life.expires_at = Some(now + Duration::days(15) + dice.days(700)),
        _ => {}
    }
    let used = (dice.below(4) > 0).then(|| Use { at: (now - dice.days(90)).max(made_at), ip: Some(format!("203.0.113.{}", dice.below(250))) });
    let rolled = fate == 69;
    let old = rolled.then(|| OldSecret {
        secret: SecretFacts { made_at, made_by: owners[owner].name.clone(), last_used: None },
        replaced_at: now - Duration::days(1),
        own_expiry: life.expires_at,
        stops_at: now + Duration::days(13),
    });
    let passes = life.revoked_at.is_none() && life.disabled_at.is_none() && life.expires_at.is_none_or(|end| end > now);
    let key = Key {
        id,
        tenant,
        seq: 0,
        owner: owners[owner].id,
        name: format!("{} {} {} {n}", dice.pick(&WHAT), dice.pick(&HOW), dice.pick(&WHERE)).parse().unwrap(),
        comment: dice.pick(&COMMENTS).to_owned(),
        access: match dice.below(10) {
            0..=4 => KeyAccess::Owner,
            5..=7 => KeyAccess::Role(roles[usize::try_from(dice.below(3)).unwrap()]),
            _ => KeyAccess::Scopes(["shipments:read".parse().unwrap()].into_iter().collect()),
        },
        resources: ResourceSet::All,
        ip_ranges: if dice.below(10) == 0 { IpRanges::parse("203.0.113.0/24").unwrap() } else { IpRanges::default() },
        notice_recipients: vec![],
        created_at: made_at,
        changed_at: (made_at + dice.days(60)).min(now),
        expiry_set_at: made_at,
        life,
        lifetime: None,
        extensions: 0,
        current: SecretFacts { made_at, made_by: owners[owner].name.clone(), last_used: used.clone() },
        old,
        disabled_by: None,
        revoked_by: None,
        disable_reason: String::new(),
        revoke_reason: String::new(),
        last_used: used,
        version: 1,
    };
    Made { key, owner, hash, old_hash: rolled.then(|| secret().1), token: token.reveal().to_owned(), passes }
}

/// Signs the admin in; the `Cookie` header of the browser.
pub fn sign_in(app: &App) -> String {
    let now = app.clock.now();
    let cookie = base62(32, &mut chance::fill);
    let session = |account| sessions::Session {
        id: session_hash(&app.site, &cookie),
        account,
        public_id: base62(12, &mut chance::fill),
        stage: sessions::Stage::Full,
        created_at: now,
        seen_at: now,
        ip: String::new(),
        user_agent: String::new(),
        wrong_codes: 0,
    };
    app.store
        .write(now, |tx| -> Result<(), StoreError> {
            let account = accounts::by_email(tx, "ada@acme.example")?.unwrap().id;
            sessions::create(tx, &session(account))
        })
        .unwrap();
    format!("{}={cookie}", app.site.cookie_name(CookieName::Session))
}

/// The part that serves: `child DIR URL WORKERS`, where `-` is no URL. Takes orders on its standard input and goes when that ends.
pub fn child(args: &[String]) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let app = open(Path::new(&args[0]), Some(args[1].as_str()).filter(|url| *url != "-"), port);
    println!("{port}");
    std::io::stdout().flush().unwrap();
    let orders = app.clone();
    std::thread::spawn(move || {
        let mut sending = None;
        for line in std::io::stdin().lines().map_while(Result::ok) {
            match line.as_str() {
                "sign in" => println!("{}", sign_in(&orders)),
                "reads" => println!("{}", orders.gate.verifier.reads()),
                "remembered" => println!("{}", orders.gate.verifier.remembered()),
                "knows" => println!("{}", orders.gate.verifier.knows_all_ids()),
                "send mails" => {
                    sending = Some(Arc::clone(&orders.post).start(true));
                    println!("done");
                }
                "sweep" => {
                    let began = Instant::now();
                    let name = "bench".to_owned();
                    let sweep = keyward::jobs::notices::Sweep::new(orders.store.clone(), orders.clock.clone(), name);
                    let swept = sweep.round(&std::sync::atomic::AtomicBool::new(false)).unwrap();
                    println!("{:.1} s, {swept:?}", began.elapsed().as_secs_f64());
                }
                "count" | "do not count" => {
                    orders.gate.verifier.count(line == "count");
                    println!("done");
                }
                _ => println!("?"),
            }
            std::io::stdout().flush().unwrap();
        }
        drop(sending);
        std::process::exit(0);
    });
    actix_web::rt::System::new().block_on(app.serve(listener, args[2].parse().unwrap()).unwrap()).unwrap();
}

/// A process of this program that serves.
pub struct Server {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// Where it listens.
    pub port: u16,
}

impl Server {
    /// Starts one with these arguments; it says first which port it has.
    pub fn start(args: &[&str]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap()).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut answers = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        Self { port: line.trim().parse().unwrap(), orders: child.stdin.take().unwrap(), child, answers }
    }

    /// Starts one that serves an installation.
    pub fn of(dir: &Path, url: Option<&str>, workers: usize) -> Self {
        Self::start(&["child", dir.to_str().unwrap(), url.unwrap_or("-"), &workers.to_string()])
    }

    /// What it answers to an order.
    pub fn order(&mut self, order: &str) -> String {
        writeln!(self.orders, "{order}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// Seconds of processor time so far.
    pub fn cpu(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
    }

    /// Megabytes of memory.
    pub fn memory(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The middle of some values.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
