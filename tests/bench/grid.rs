//! How fast the console is with many keys in one tenant: `cargo bench --bench grid -- [--keys N] [--rounds R] [--dir DIR] [--database URL]
//! [--sqlite] [--postgres] [--only WORDS]`.
//!
//! Fills SQLite and PostgreSQL (a throw-away server, or the empty database at URL) unless DIR holds the keys of an earlier run, then asks
//! through HTTP as a signed-in admin, one request after the other, every kind of page in turn. `/healthz` tells how noisy the machine is.
#![allow(missing_docs, clippy::pedantic, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)]
#[path = "../suite/support/postgres.rs"]
mod postgres;
#[allow(dead_code)]
mod world;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use world::{Server, fill, value};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.first().map(String::as_str) {
        Some("child") => return world::child(&args[1..]),
        Some("--list") => return,
        _ => {}
    }
    let count: usize = value(&args, "--keys").unwrap_or(1_000_000);
    let rounds: usize = value(&args, "--rounds").unwrap_or(60);
    let has = |name: &str| args.iter().any(|arg| arg == name);
    let both = !has("--sqlite") && !has("--postgres");
    let temporary = std::env::temp_dir().join(format!("keyward-grid-{}", std::process::id()));
    let dir: PathBuf = value(&args, "--dir").unwrap_or_else(|| temporary.clone());
    let only: Option<String> = value(&args, "--only");
    if both || has("--sqlite") {
        run("SQLite", &dir.join("sqlite"), None, count, rounds, only.as_deref());
    }
    if both || has("--postgres") {
        let url = value(&args, "--database").unwrap_or_else(|| postgres::url(&postgres::create(None)));
        run("PostgreSQL", &dir.join("postgres"), Some(&url), count, rounds, only.as_deref());
    }
    let _ = fs::remove_dir_all(temporary);
}

fn run(name: &str, dir: &Path, url: Option<&str>, count: usize, rounds: usize, only: Option<&str>) {
    println!("\n{name}");
    fs::create_dir_all(dir).unwrap();
    if !dir.join("gateway.txt").exists() {
        let seconds = fill(dir, url, count);
        println!("{count} keys in {seconds:.1} s: {:.0} a second", count as f64 / seconds);
    }
    start(dir, url);
    pages(dir, url, count, rounds, only);
}

/// From the start of a process to its first answer about a key, three times.
fn start(dir: &Path, url: Option<&str>) {
    let gateway = fs::read_to_string(dir.join("gateway.txt")).unwrap();
    let tokens = fs::read_to_string(dir.join("tokens.txt")).unwrap();
    let token = tokens.lines().next().unwrap();
    for _ in 0..3 {
        let began = Instant::now();
        let server = Server::of(dir, url, 2);
        let bound = began.elapsed();
        let mut client = Client::new(server.port, String::new());
        let head = format!("X-Keyward-Gateway: {gateway}\r\nAuthorization: Bearer {token}\r\nX-Forwarded-For: 203.0.113.7\r\n");
        let status = client.ask("/api/v1/auth", &head).status;
        let took = began.elapsed();
        assert_eq!(status, 200);
        let memory = server.memory();
        std::thread::sleep(Duration::from_secs(3));
        println!(
            "start to first answer {:.0} ms (opened after {:.0} ms); memory {memory:.0} MB, {:.0} MB three seconds later",
            took.as_secs_f64() * 1000.0,
            bound.as_secs_f64() * 1000.0,
            server.memory()
        );
    }
}

struct Kind {
    name: &'static str,
    /// Each round asks for the next one.
    paths: Vec<String>,
    times: Vec<f64>,
    cpu: f64,
    bytes: usize,
    /// How many were not answered.
    failed: usize,
    /// Milliseconds that 99 of 100 may take.
    goal: f64,
}

fn kind(name: &'static str, paths: &[&str], goal: f64) -> Kind {
    Kind { name, paths: paths.iter().map(|path| (*path).to_owned()).collect(), times: vec![], cpu: 0.0, bytes: 0, failed: 0, goal }
}

fn pages(dir: &Path, url: Option<&str>, count: usize, rounds: usize, only: Option<&str>) {
    let mut server = Server::of(dir, url, 2);
    let cookie = server.order("sign in");
    let mut client = Client::new(server.port, cookie);
    let mut ask = |path: &str| client.ask(path, "");
    // The place of the last page of an order: where the first page of the opposite order ends.
    let mut last = |words: &str, turned: &str| {
        let page = ask(&format!("/t/acme/keys?sort={turned}"));
        let text = String::from_utf8(page.plain()).unwrap();
        let next = text.split("id=\"next\"").nth(1).unwrap().split("href=\"").nth(1).unwrap().split('"').next().unwrap().replace("&#38;", "&");
        let at = next.split("at=").nth(1).unwrap_or_else(|| panic!("{next}")).to_owned();
        format!("/t/acme/keys?sort={words}&at={at}")
    };
    let by_name = last("name", "-name");
    let by_owner = last("owner", "-owner");
    let by_changed = last("-changed", "changed");
    let mut key = None;
    let mut next = vec!["/t/acme/keys".to_owned()];
    for _ in 0..12 {
        let text = String::from_utf8(ask(next.last().unwrap()).plain()).unwrap();
        let href = text.split("id=\"next\"").nth(1).unwrap().split("href=\"").nth(1).unwrap().split('"').next().unwrap();
        key = key.or_else(|| text.split("id=\"row-").nth(1).map(|rest| rest[..16].to_owned()));
        next.push(href.replace("&#38;", "&").replace("&amp;", "&"));
    }
    let key = key.unwrap();
    let end = count - 50;
    let owner = "/t/acme/keys?owner=";
    let many: Vec<String> = (0..8).map(|n| format!("/t/acme/keys?q={}", 100_000 + n * 7919)).collect();
    let few: Vec<&str> = many.iter().map(String::as_str).collect();
    let mut kinds = vec![
        kind("nothing: /healthz", &["/healthz"], 50.0),
        kind("first page", &["/t/acme/keys"], 50.0),
        Kind { paths: next[1..].to_vec(), ..kind("next page", &[], 50.0) },
        kind("last page", &[&format!("/t/acme/keys?at=n{end}.51")], 50.0),
        kind("tab active", &["/t/acme/keys?status=active"], 50.0),
        kind("tab expiring soon", &["/t/acme/keys?status=expiring"], 50.0),
        kind("tab disabled", &["/t/acme/keys?status=disabled"], 50.0),
        kind("tab expired", &["/t/acme/keys?status=expired"], 50.0),
        kind("tab revoked", &["/t/acme/keys?status=revoked"], 50.0),
        kind("filter, very many hits", &["/t/acme/keys?q=%0A", "/t/acme/keys?q=acme.example", "/t/acme/keys?q=member"], 50.0),
        kind("filter, many hits", &["/t/acme/keys?q=stock", "/t/acme/keys?q=rotterdam", "/t/acme/keys?q=pallet", "/t/acme/keys?q=importer"], 50.0),
        kind("filter, 80 000 hits", &["/t/acme/keys?q=stock+sync", "/t/acme/keys?q=yard+m", "/t/acme/keys?q=nyman", "/t/acme/keys?q=emil+s"], 50.0),
        kind("filter, 600 hits", &["/t/acme/keys?q=stock+sync+rotterdam+9", "/t/acme/keys?q=dock+probe+lyon+5", "/t/acme/keys?q=member4711"], 50.0),
        kind("filter, few hits", &few, 50.0),
        kind("filter, a whole ID", &[&format!("/t/acme/keys?q={key}")], 50.0),
        kind("filter, no hit", &["/t/acme/keys?q=zzqqxx", "/t/acme/keys?q=xylophone", "/t/acme/keys?q=caf%C3%A9+noir"], 100.0),
        kind(
            "filter, no hit of common parts",
            &["/t/acme/keys?q=stock+stock", "/t/acme/keys?q=example+member", "/t/acme/keys?q=printer+planner"],
            100.0,
        ),
        kind("filter, one or two characters", &["/t/acme/keys?q=st", "/t/acme/keys?q=r", "/t/acme/keys?q=zz", "/t/acme/keys?q=1"], 50.0),
        kind("filter, access role by name", &["/t/acme/keys?q=shipping", "/t/acme/keys?q=billing"], 50.0),
        kind(
            "filter and tab",
            &["/t/acme/keys?q=stock&status=revoked", "/t/acme/keys?q=hamburg&status=expiring", "/t/acme/keys?q=member&status=disabled"],
            50.0,
        ),
        kind("owner of 100 000", &[&format!("{owner}2")], 50.0),
        kind("owner of 20", &[&format!("{owner}777"), &format!("{owner}4242")], 50.0),
        kind("owner of 100 000 and text", &[&format!("{owner}2&q=stock"), &format!("{owner}2&q=zzqqxx")], 50.0),
        kind("owner of 100 000 and tab", &[&format!("{owner}2&status=expired"), &format!("{owner}2&status=active")], 50.0),
        kind("access", &["/t/acme/keys?access=owner", "/t/acme/keys?access=scopes", "/t/acme/keys?access=1"], 50.0),
        kind("never used", &["/t/acme/keys?used=never", "/t/acme/keys?used=never&status=active"], 50.0),
        kind("not used for 30 days", &["/t/acme/keys?used=30", "/t/acme/keys?used=30&status=active"], 50.0),
        kind("access, use and tab", &["/t/acme/keys?access=scopes&used=30&status=disabled", "/t/acme/keys?access=2&used=never&status=expired"], 50.0),
        kind("by name", &["/t/acme/keys?sort=name", "/t/acme/keys?sort=-name", "/t/acme/keys?sort=name&status=active"], 50.0),
        kind("by owner", &["/t/acme/keys?sort=owner", "/t/acme/keys?sort=-owner", "/t/acme/keys?sort=owner&status=active"], 50.0),
        kind("by change", &["/t/acme/keys?sort=-changed", "/t/acme/keys?sort=changed", "/t/acme/keys?sort=changed&status=active"], 50.0),
        kind("by expiry", &["/t/acme/keys?sort=expires", "/t/acme/keys?sort=-expires", "/t/acme/keys?sort=expires&status=active"], 50.0),
        kind("by use", &["/t/acme/keys?sort=-used", "/t/acme/keys?sort=used", "/t/acme/keys?sort=-used&status=active"], 50.0),
        kind(
            "by others in a tab",
            &["/t/acme/keys?sort=name&status=revoked", "/t/acme/keys?sort=-used&status=expired", "/t/acme/keys?sort=owner&status=disabled"],
            50.0,
        ),
        kind(
            "by others with owner or access",
            &[&format!("{owner}2&sort=name"), "/t/acme/keys?access=3&sort=-used", "/t/acme/keys?used=never&sort=owner"],
            50.0,
        ),
        Kind { paths: vec![by_name, by_owner, by_changed], ..kind("last page by name, owner, change", &[], 50.0) },
        kind(
            "last page by expiry, use",
            &[&format!("/t/acme/keys?sort=expires&at=n{end}.{end}"), &format!("/t/acme/keys?sort=-used&at=n{end}.51")],
            50.0,
        ),
        kind("overview", &["/t/acme"], 50.0),
        kind("page of a key", &[&format!("/t/acme/keys/{key}")], 50.0),
    ];
    if let Some(only) = only {
        kinds.retain(|kind| kind.name.contains(only));
    }
    // Once each without being counted, as the first visit after a start.
    let mut cold = vec![];
    for kind in &kinds {
        for path in &kind.paths {
            let began = Instant::now();
            let answer = client.ask(path, "");
            if answer.status != 200 {
                println!("{path}: {}", answer.status);
            }
            cold.push((began.elapsed().as_secs_f64() * 1000.0, path.clone()));
        }
    }
    cold.sort_by(|a, b| b.0.total_cmp(&a.0));
    println!("first visits, the slowest: {}", cold.iter().take(4).map(|(ms, path)| format!("{path} {ms:.0} ms")).collect::<Vec<_>>().join(", "));
    for round in 0..rounds {
        for kind in &mut kinds {
            let path = &kind.paths[round % kind.paths.len()];
            let before = server.cpu();
            let began = Instant::now();
            let answer = client.ask(path, "");
            kind.times.push(began.elapsed().as_secs_f64() * 1000.0);
            kind.cpu += server.cpu() - before;
            kind.bytes = kind.bytes.max(answer.body.len());
            kind.failed += usize::from(answer.status != 200);
        }
    }
    println!("{:34} {:>9} {:>9} {:>9} {:>9} {:>9}", "", "p50 ms", "p99 ms", "most ms", "CPU ms", "bytes");
    for kind in &mut kinds {
        kind.times.sort_by(f64::total_cmp);
        let at = |share: f64| kind.times[((kind.times.len() as f64 * share).ceil() as usize).clamp(1, kind.times.len()) - 1];
        println!(
            "{:34} {:9.1} {:9.1} {:9.1} {:9.1} {:9} {}",
            kind.name,
            at(0.5),
            at(0.99),
            at(1.0),
            kind.cpu * 1000.0 / rounds as f64,
            kind.bytes,
            match kind.failed {
                0 if at(0.99) < kind.goal => String::new(),
                0 => "over the goal".to_owned(),
                n => format!("{n} of {rounds} not answered"),
            }
        );
    }
    println!("memory at the end {:.0} MB", server.memory());
}

/// One connection that is kept alive, as a browser has it.
struct Client {
    port: u16,
    cookie: String,
    stream: TcpStream,
}

struct Answer {
    status: u16,
    body: Vec<u8>,
    coding: String,
}

impl Answer {
    fn plain(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self.coding.as_str() {
            "br" => brotli::BrotliDecompress(&mut self.body.as_slice(), &mut out).unwrap(),
            "" => out.clone_from(&self.body),
            other => panic!("{other}"),
        }
        out
    }
}

impl Client {
    fn new(port: u16, cookie: String) -> Self {
        let stream = loop {
            match TcpStream::connect(("127.0.0.1", port)) {
                Ok(stream) => break stream,
                Err(_) => std::thread::sleep(Duration::from_millis(2)),
            }
        };
        stream.set_nodelay(true).unwrap();
        Self { port, cookie, stream }
    }

    fn ask(&mut self, path: &str, more: &str) -> Answer {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nCookie: {}\r\nAccept: text/html\r\nAccept-Encoding: gzip, deflate, br\r\n{more}\r\n",
            self.port, self.cookie
        );
        self.stream.write_all(request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        let mut buffer = [0; 1 << 16];
        loop {
            if let Some(answer) = read(&bytes) {
                return answer;
            }
            let read = self.stream.read(&mut buffer).unwrap();
            assert!(read > 0, "{path}: the connection was closed");
            bytes.extend_from_slice(&buffer[..read]);
        }
    }
}

/// An answer, once it is whole.
fn read(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|part| part == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).unwrap().to_ascii_lowercase();
    let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let coding = header("content-encoding").unwrap_or_default();
    let rest = &bytes[end + 4..];
    if let Some(length) = header("content-length") {
        let length: usize = length.parse().unwrap();
        return (rest.len() >= length).then(|| Answer { status, coding, body: rest[..length].to_vec() });
    }
    let (mut body, mut rest) = (Vec::new(), rest);
    loop {
        let line = rest.windows(2).position(|part| part == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        rest = rest.get(line + 2..)?;
        if size == 0 {
            return (rest.len() >= 2).then_some(Answer { status, coding, body });
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}
