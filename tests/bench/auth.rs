//! How much of a bare actix handler's speed `/api/v1/auth` keeps: `cargo bench --bench auth -- [--keys N] [--seconds S] [--rounds R]`.
//!
//! Both servers run alone in a process of their own with one worker, take turns under the same load from `wrk`, and send the same
//! bytes. `--serve` prints a gateway credential and a token instead, and serves.
#![allow(missing_docs, clippy::pedantic, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::HashMap,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Instant,
};

use actix_web::{App as Actix, HttpResponse, HttpServer, http::header::HeaderValue, web};
use keyward::{
    app::App,
    chance,
    clock::Clock,
    config::Sources,
    domain::{
        access::{KeyAccess, ResourceSet},
        ids::TenantId,
        ip_range::IpRanges,
        key::{Key, Life, SecretFacts},
        names::Scopes,
        tenant::Settings,
        time::Time,
        token::{self, Purpose, Token},
    },
    store::{
        StoreError, access, gateways,
        keys::{self, NewKey},
        members::{self, Owner},
        tenants,
    },
};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let value = |name: &str, default: usize| {
        args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1)).map_or(default, |text| text.parse().unwrap())
    };
    match args.first().map(String::as_str) {
        Some("child-bare") => return serve_bare(Path::new(&args[1])),
        Some("child-keyward") => return serve_keyward(Path::new(&args[1]), 0),
        Some("--list") => return,
        _ => {}
    }
    let (count, seconds, rounds) = (value("--keys", 10_000), value("--seconds", 5), value("--rounds", 5));
    let dir = std::env::temp_dir().join(format!("keyward-bench-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let began = Instant::now();
    let made = fill(&dir, count);
    println!("{count} keys in {:.1} s", began.elapsed().as_secs_f64());
    if args.iter().any(|arg| arg == "--serve") {
        println!("gateway {}\ntoken {}", made.gateway, made.tokens[0]);
        serve_keyward(&dir, u16::try_from(value("--port", 8080)).unwrap());
        return;
    }
    compare(&dir, &made, seconds, rounds);
    fs::remove_dir_all(&dir).unwrap();
}

struct Made {
    gateway: String,
    tokens: Vec<String>,
}

fn open(dir: &Path) -> App {
    let config = Sources::default().flag("data_dir", dir.to_str().unwrap()).unwrap().flag("trusted_proxies", "127.0.0.1").unwrap();
    App::open(config.into_config().unwrap(), Clock::System).unwrap()
}

/// A tenant with one member in ten keys, each with one scope in two and an address.
fn fill(dir: &Path, count: usize) -> Made {
    let app = open(dir);
    let now = app.clock.now();
    let (tenant, gateway) = app
        .store
        .write(now, |tx| -> Result<_, StoreError> {
            let settings = Settings { keys_enabled: true, ..Settings::default() };
            let tenant = tenants::create(tx, &"acme".parse().unwrap(), "Acme", &settings)?.unwrap();
            for scope in ["shipments:read", "shipments:write"] {
                access::create_scope(tx, tenant, &scope.parse().unwrap(), "")?;
            }
            let public_id = token::fresh_id(&mut chance::fill);
            let token = Token::make(Purpose::Gateway, public_id, &mut chance::fill);
            let pepper = tx.secrets().pepper_version();
            let hash = tx.secrets().token_hash(pepper, Purpose::Gateway, tenant, token.reveal()).unwrap();
            gateways::create(tx, tenant, &gateways::New { public_id, name: "bench", by: "bench", expires_at: None, hash, pepper })?;
            Ok((tenant, token.reveal().to_owned()))
        })
        .unwrap();
    let mut tokens = Vec::with_capacity(count);
    for start in (0..count).step_by(5_000) {
        let size = (count - start).min(5_000);
        let mut made = app.store.write(now, |tx| some_keys(tx, tenant, start, size, now)).unwrap();
        tokens.append(&mut made);
    }
    Made { gateway, tokens }
}

fn some_keys(tx: &mut keyward::store::Tx<'_>, tenant: TenantId, start: usize, size: usize, now: Time) -> Result<Vec<String>, StoreError> {
    let pepper = tx.secrets().pepper_version();
    let mut owners: Vec<Owner> = Vec::new();
    for n in 0..size.div_ceil(10) {
        let id = members::create(tx, tenant, None, &format!("Member {}", start / 10 + n), &format!("member{}@acme.example", start / 10 + n))?;
        owners.push(members::find(tx, tenant, id)?.unwrap());
    }
    let mut parts = Vec::with_capacity(size);
    for n in 0..size {
        let id = token::fresh_id(&mut chance::fill);
        let token = Token::make(Purpose::Key, id, &mut chance::fill);
        let hash = tx.secrets().token_hash(pepper, Purpose::Key, tenant, token.reveal()).unwrap();
        let key = Key {
            id,
            tenant,
            seq: 0,
            owner: owners[n / 10].id,
            name: format!("Service number {}", start + n).parse().unwrap(),
            comment: String::new(),
            access: if n % 2 == 0 { KeyAccess::Owner } else { KeyAccess::Scopes(Scopes::new()) },
            resources: ResourceSet::All,
            ip_ranges: IpRanges::default(),
            notice_recipients: vec![],
            created_at: now,
            changed_at: now,
            life: Life { expires_at: Some(now + chrono::Duration::days(365)), ..Life::default() },
            lifetime: None,
            expiry_set_at: now,
            extensions: 0,
            current: SecretFacts { made_at: now, made_by: "bench".into(), last_used: None },
            old: None,
            disabled_by: None,
            revoked_by: None,
            revoke_reason: String::new(),
            last_used: None,
            version: 1,
        };
        parts.push((key, hash, token.reveal().to_owned(), n / 10));
    }
    let new: Vec<NewKey<'_>> =
        parts.iter().map(|(key, hash, _, owner)| NewKey { key, owner: &owners[*owner], hash: *hash, old_hash: None, pepper }).collect();
    keys::insert_many(tx, &new)?;
    Ok(parts.into_iter().map(|(.., token, _)| token).collect())
}

fn listen(port: u16) -> TcpListener {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    println!("port {}", listener.local_addr().unwrap().port());
    std::io::stdout().flush().unwrap();
    listener
}

fn serve_keyward(dir: &Path, port: u16) {
    let app = open(dir);
    actix_web::rt::System::new().block_on(app.serve(listen(port), 1).unwrap()).unwrap();
}

/// The bytes that a valid key is answered with, from a handler that looks at nothing.
fn serve_bare(file: &Path) {
    let headers: Vec<(String, String)> =
        fs::read_to_string(file).unwrap().lines().filter_map(|line| line.split_once(": ")).map(|(a, b)| (a.to_owned(), b.to_owned())).collect();
    let server = HttpServer::new(move || {
        let headers: HashMap<actix_web::http::header::HeaderName, HeaderValue> =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap())).collect();
        Actix::new().default_service(web::to(move || {
            let mut response = HttpResponse::Ok();
            for (name, value) in &headers {
                response.insert_header((name.clone(), value.clone()));
            }
            let response = response.finish();
            async move { response }
        }))
    });
    let server = server.workers(1).keep_alive(std::time::Duration::from_secs(75)).listen(listen(0)).unwrap();
    actix_web::rt::System::new().block_on(server.run()).unwrap();
}

struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(args: &[&str]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap()).args(args).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { port: line.trim().strip_prefix("port ").unwrap().parse().unwrap(), child }
    }

    /// Seconds of processor time so far.
    fn cpu(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
    }

    fn memory(&self) -> f64 {
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

/// One request over a plain socket; the head of the answer.
fn ask(port: u16, gateway: &str, token: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(
        stream,
        "GET /api/v1/auth HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Keyward-Gateway: {gateway}\r\nAuthorization: Bearer {token}\r\nX-Forwarded-For: 203.0.113.7\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

struct Run {
    per_second: f64,
    p99_us: f64,
    cpu_us: f64,
}

fn load(server: &Server, script: &Path, seconds: usize) -> Run {
    let before = server.cpu();
    let out = Command::new("wrk")
        .args([
            "-t1",
            "-c16",
            &format!("-d{seconds}s"),
            "--latency",
            "-s",
            script.to_str().unwrap(),
            &format!("http://127.0.0.1:{}/api/v1/auth", server.port),
        ])
        .output()
        .expect("wrk is needed: apt-get install wrk");
    let text = String::from_utf8(out.stdout).unwrap();
    let cpu = server.cpu() - before;
    let line =
        |start: &str| text.lines().find(|line| line.trim_start().starts_with(start)).map(|line| line.split_whitespace().last().unwrap().to_owned());
    assert!(!text.contains("Non-2xx") || script.to_str().unwrap().contains("wrong"), "{text}");
    let per_second: f64 = line("Requests/sec").unwrap().parse().unwrap();
    let p99 = line("99%").unwrap();
    let p99_us = match (p99.strip_suffix("us"), p99.strip_suffix("ms")) {
        (Some(us), _) => us.parse().unwrap(),
        (_, Some(ms)) => ms.parse::<f64>().unwrap() * 1000.0,
        _ => p99.strip_suffix('s').unwrap().parse::<f64>().unwrap() * 1e6,
    };
    Run { per_second, p99_us, cpu_us: cpu * 1e6 / (per_second * seconds as f64) }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn script(dir: &Path, name: &str, gateway: &str, tokens: &[String]) -> PathBuf {
    let path = dir.join(format!("{name}.lua"));
    let list = dir.join(format!("{name}.txt"));
    fs::write(&list, tokens.join("\n")).unwrap();
    let text = format!(
        "local requests = {{}}\nfunction init()\n  for token in io.lines(\"{}\") do\n    requests[#requests + 1] = wrk.format(\"GET\", nil, {{ [\"X-Keyward-Gateway\"] = \"{gateway}\", [\"Authorization\"] = \"Bearer \" .. token, [\"X-Forwarded-For\"] = \"203.0.113.7\" }})\n  end\nend\nlocal n = 0\nfunction request()\n  n = n % #requests + 1\n  return requests[n]\nend\n",
        list.display()
    );
    fs::write(&path, text).unwrap();
    path
}

fn compare(dir: &Path, made: &Made, seconds: usize, rounds: usize) {
    let keyward = Server::start(&["child-keyward", dir.to_str().unwrap()]);
    println!("memory after start: {:.0} MB", keyward.memory());
    let began = Instant::now();
    let answer = ask(keyward.port, &made.gateway, &made.tokens[0]);
    println!("first answer after {:.0} ms", began.elapsed().as_secs_f64() * 1000.0);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let head = dir.join("head.txt");
    let lines = answer
        .lines()
        .skip(1)
        .filter(|line| !line.to_ascii_lowercase().starts_with("connection") && !line.starts_with("date") && !line.starts_with("content-length"));
    fs::write(&head, lines.collect::<Vec<_>>().join("\n")).unwrap();
    let bare = Server::start(&["child-bare", head.to_str().unwrap()]);
    // The Lua side keeps its requests in memory; a sample of so many is enough to miss every processor cache.
    let sample: Vec<String> = made.tokens.iter().step_by(made.tokens.len().div_ceil(50_000)).cloned().collect();
    if made.tokens.len() > sample.len() {
        for token in &made.tokens {
            let _ = token;
        }
    }
    let valid = script(dir, "valid", &made.gateway, &sample);
    let unknown: Vec<String> =
        (0..1000).map(|_| Token::make(Purpose::Key, token::fresh_id(&mut chance::fill), &mut chance::fill).reveal().to_owned()).collect();
    let wrong: Vec<String> = made
        .tokens
        .iter()
        .take(1000)
        .map(|text| {
            let id = Token::parse(Purpose::Key, text).unwrap().id();
            Token::make(Purpose::Key, id, &mut chance::fill).reveal().to_owned()
        })
        .collect();
    let first = load(&keyward, &valid, seconds);
    println!("filling the memory: {:.0} requests/s", first.per_second);
    for (name, path) in [
        ("valid", valid),
        ("wrong: malformed", script(dir, "wrong-malformed", &made.gateway, &["kwk_junk".to_owned()])),
        ("wrong: unknown", script(dir, "wrong-unknown", &made.gateway, &unknown)),
        ("wrong: secret", script(dir, "wrong-secret", &made.gateway, &wrong)),
    ] {
        let runs: Vec<(Run, Run)> = (0..rounds).map(|_| (load(&bare, &path, seconds), load(&keyward, &path, seconds))).collect();
        let ratio = |of: fn(&Run) -> f64| median(runs.iter().map(|(bare, keyward)| of(keyward) / of(bare)).collect());
        let middle = |of: fn(&Run) -> f64| {
            (median(runs.iter().map(|(bare, _)| of(bare)).collect()), median(runs.iter().map(|(_, keyward)| of(keyward)).collect()))
        };
        let (bare_rate, keyward_rate) = middle(|run| run.per_second);
        let (bare_p99, keyward_p99) = middle(|run| run.p99_us);
        let (bare_cpu, keyward_cpu) = middle(|run| run.cpu_us);
        println!(
            "{name:18} requests/s {bare_rate:7.0} bare, {keyward_rate:7.0} Keyward: {:.3}   p99 {bare_p99:.0} and {keyward_p99:.0} us: {:.2}   processor {bare_cpu:.1} and {keyward_cpu:.1} us a request: {:.2}",
            ratio(|run| run.per_second),
            ratio(|run| run.p99_us),
            ratio(|run| run.cpu_us)
        );
    }
    println!("memory at the end: {:.0} MB", keyward.memory());
}
