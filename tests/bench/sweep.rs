//! How long the sweep for notices takes with many keys, and how long requests wait meanwhile: `cargo bench --bench sweep -- [--keys N]
//! [--dir DIR] [--database URL] [--sqlite] [--postgres]`.
//!
//! Of a million keys some 55 000 are due on the first day: those that expire within 14 days, and those that expired lately. One of
//! ten belongs to one service account. While the sweep runs in the serving process, the digests that it has written leave, gateways
//! ask about keys, an admin opens the grid, and a key is disabled and enabled, each from a thread of its own, one after the other.
#![allow(missing_docs, clippy::pedantic, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)]
#[path = "../suite/support/postgres.rs"]
mod postgres;
#[allow(dead_code)]
mod world;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
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
    let has = |name: &str| args.iter().any(|arg| arg == name);
    let both = !has("--sqlite") && !has("--postgres");
    let temporary = std::env::temp_dir().join(format!("keyward-sweep-{}", std::process::id()));
    let dir: PathBuf = value(&args, "--dir").unwrap_or_else(|| temporary.clone());
    if both || has("--sqlite") {
        run("SQLite", &dir.join("sqlite"), None, count);
    }
    if both || has("--postgres") {
        let url = value(&args, "--database").unwrap_or_else(|| postgres::url(&postgres::create(None)));
        run("PostgreSQL", &dir.join("postgres"), Some(&url), count);
    }
    let _ = fs::remove_dir_all(temporary);
}

fn run(name: &str, dir: &Path, url: Option<&str>, count: usize) {
    println!("\n{name}");
    fs::create_dir_all(dir).unwrap();
    if !dir.join("gateway.txt").exists() {
        let seconds = fill(dir, url, count);
        println!("{count} keys in {seconds:.1} s");
    }
    let mut server = Server::of(dir, url, 2);
    let cookie = server.order("sign in");
    let gateway = fs::read_to_string(dir.join("gateway.txt")).unwrap();
    let tokens = fs::read_to_string(dir.join("tokens.txt")).unwrap();
    let tokens: Vec<&str> = tokens.lines().take(2000).collect();
    println!("{}", header());
    requests("at rest", server.port, &gateway, &tokens, &cookie, || std::thread::sleep(Duration::from_secs(10)));
    server.order("send mails");
    let mut said = String::new();
    let port = server.port;
    requests("meanwhile", port, &gateway, &tokens, &cookie, || said = server.order("sweep"));
    println!("the sweep: {said}; {} mails have left", fs::read_dir(dir.join("mail")).map_or(0, Iterator::count));
    let mut again = String::new();
    requests("once more", port, &gateway, &tokens, &cookie, || again = server.order("sweep"));
    println!("again: {again}; memory {:.0} MB", server.memory());
}

fn header() -> String {
    format!("{:10} {:20} {:>8} {:>9} {:>9} {:>9}", "", "", "requests", "median", "p99", "worst")
}

/// Asks until `work` is done, from three threads.
fn requests(when: &str, port: u16, gateway: &str, tokens: &[&str], cookie: &str, work: impl FnOnce()) {
    let done = AtomicBool::new(false);
    let base = format!("http://127.0.0.1:{port}");
    std::thread::scope(|scope| {
        let asking: [(&str, std::thread::ScopedJoinHandle<'_, Vec<f64>>); 3] = [
            (
                "gateway asks",
                scope.spawn(|| {
                    let mut n = 0;
                    every(&done, Duration::from_millis(1), 1, || {
                        n += 1;
                        let answer =
                            agent().get(format!("{base}/api/v1/auth")).header("x-keyward-gateway", gateway).header("x-forwarded-for", "203.0.113.7");
                        let status =
                            answer.header("authorization", format!("Bearer {}", tokens[1 + n % (tokens.len() - 1)])).call().unwrap().status();
                        assert_eq!(status, 200);
                    })
                }),
            ),
            (
                "grid opened",
                scope.spawn(|| {
                    every(&done, Duration::from_millis(20), 1, || {
                        let answer = agent().get(format!("{base}/t/acme/keys")).header("cookie", cookie).call().unwrap();
                        assert_eq!(answer.status(), 200);
                    })
                }),
            ),
            (
                "key disabled, enabled",
                scope.spawn(|| {
                    let id = &tokens[0][4..20];
                    let mut n = 0;
                    // Twice at a time, so that the key ends as it began.
                    every(&done, Duration::from_millis(20), 2, || {
                        let page = format!("{base}/t/acme/keys/{id}/{}", ["disable", "enable"][n % 2]);
                        n += 1;
                        let form = agent().get(&page).header("cookie", cookie).call().unwrap().body_mut().read_to_string().unwrap();
                        let field = |name: &str| {
                            let rest = form.split(&format!("name=\"{name}\" value=\"")).nth(1)?;
                            Some(rest.split('"').next()?.to_owned())
                        };
                        let fields: Vec<(&str, String)> =
                            ["csrf", "version", "seen"].into_iter().filter_map(|name| Some((name, field(name)?))).collect();
                        let answer = agent().post(&page).header("cookie", cookie).header("origin", &base).send_form(fields).unwrap();
                        assert_eq!(answer.status(), 303, "{page}");
                    })
                }),
            ),
        ];
        work();
        done.store(true, Ordering::Relaxed);
        for (name, thread) in asking {
            let mut times = thread.join().unwrap();
            times.sort_by(f64::total_cmp);
            let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
            println!("{when:10} {name:22} {:>6} {:>6.1} ms {:>6.1} ms {:>6.1} ms", times.len(), at(0.5), at(0.99), at(1.0));
        }
    });
}

/// Does something again and again, so often that `round` divides the number; milliseconds of each.
fn every(done: &AtomicBool, pause: Duration, round: usize, mut what: impl FnMut()) -> Vec<f64> {
    let mut times = Vec::new();
    while !done.load(Ordering::Relaxed) || times.is_empty() || times.len() % round != 0 {
        let began = Instant::now();
        what();
        times.push(began.elapsed().as_secs_f64() * 1000.0);
        std::thread::sleep(pause);
    }
    times
}

fn agent() -> &'static ureq::Agent {
    static AGENT: std::sync::OnceLock<ureq::Agent> = std::sync::OnceLock::new();
    AGENT.get_or_init(|| ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).max_redirects_will_error(false).build().into())
}
