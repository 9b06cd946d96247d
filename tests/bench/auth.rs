//! How much of a bare actix handler's speed the verify calls keep: `cargo bench --bench auth -- [--keys N] [--seconds S] [--rounds R]
//! [--dir DIR] [--only WORDS]`.
//!
//! Keyward and the bare handler, which sends the same bytes, run in processes of their own with one worker each and take turns under
//! the same load from `wrk`; what counts is the middle of the ratios of the rounds. `--serve` prints a gateway credential and a token
//! instead, and serves.
#![allow(missing_docs, clippy::pedantic, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)]
mod world;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Instant,
};

use actix_web::{
    App as Actix, HttpResponse, HttpServer,
    http::{
        StatusCode,
        header::{HeaderName, HeaderValue},
    },
    web,
};
use keyward::{
    chance,
    domain::token::{self, Purpose, Token},
};
use world::{Server, fill, median, value};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.first().map(String::as_str) {
        Some("bare") => return serve_bare(Path::new(&args[1])),
        Some("child") => return world::child(&args[1..]),
        Some("--list") => return,
        _ => {}
    }
    let temporary = std::env::temp_dir().join(format!("keyward-auth-{}", std::process::id()));
    let dir: PathBuf = value(&args, "--dir").unwrap_or_else(|| temporary.clone());
    fs::create_dir_all(&dir).unwrap();
    if !dir.join("gateway.txt").exists() {
        let count = value(&args, "--keys").unwrap_or(10_000);
        println!("{count} keys in {:.1} s", fill(&dir, None, count));
    }
    let gateway = fs::read_to_string(dir.join("gateway.txt")).unwrap();
    let tokens: Vec<String> = fs::read_to_string(dir.join("tokens.txt")).unwrap().lines().map(str::to_owned).collect();
    if args.iter().any(|arg| arg == "--serve") {
        let server = Server::of(&dir, None, 2);
        println!("http://127.0.0.1:{}\ngateway {gateway}\ntoken {}", server.port, tokens[0]);
        let _ = std::io::stdin().read(&mut [0]);
        return;
    }
    let scratch = std::env::temp_dir().join(format!("keyward-load-{}", std::process::id()));
    fs::create_dir_all(&scratch).unwrap();
    let bench = Bench {
        dir,
        scratch: scratch.clone(),
        gateway,
        tokens,
        seconds: value(&args, "--seconds").unwrap_or(5),
        rounds: value(&args, "--rounds").unwrap_or(5),
        only: value(&args, "--only").unwrap_or_default(),
    };
    bench.run();
    let _ = fs::remove_dir_all(scratch);
    let _ = fs::remove_dir_all(temporary);
}

struct Bench {
    dir: PathBuf,
    scratch: PathBuf,
    gateway: String,
    tokens: Vec<String>,
    seconds: usize,
    rounds: usize,
    only: String,
}

/// The bytes of one answer, from a handler that looks at nothing.
fn serve_bare(file: &Path) {
    let answer = fs::read_to_string(file).unwrap();
    let (head, body) = answer.split_once("\n\n").unwrap();
    let mut lines = head.lines();
    let status = StatusCode::from_u16(lines.next().unwrap().parse().unwrap()).unwrap();
    let headers: Vec<(HeaderName, HeaderValue)> =
        lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap())).collect();
    let body = web::Bytes::from(body.to_owned());
    let server = HttpServer::new(move || {
        let (headers, body) = (headers.clone(), body.clone());
        let answer = move || {
            let mut response = HttpResponse::new(status);
            for (name, value) in &headers {
                response.headers_mut().insert(name.clone(), value.clone());
            }
            response.set_body(body.clone()).map_into_boxed_body()
        };
        let posted = answer.clone();
        let posted = move |_: web::Bytes| std::future::ready(posted());
        Actix::new().route("/api/v1/keys/verify", web::post().to(posted)).default_service(web::to(move || std::future::ready(answer())))
    });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    std::io::stdout().flush().unwrap();
    let server = server.workers(1).keep_alive(std::time::Duration::from_secs(75)).listen(listener).unwrap();
    actix_web::rt::System::new().block_on(server.run()).unwrap();
}

/// A call of the API with a token.
#[derive(Clone, Copy, PartialEq)]
enum Call {
    Auth,
    Verify,
}

impl Call {
    const fn path(self) -> &'static str {
        match self {
            Self::Auth => "/api/v1/auth",
            Self::Verify => "/api/v1/keys/verify",
        }
    }

    /// The request as it goes over the wire.
    fn text(self, gateway: &str, token: &str, end: &str) -> String {
        match self {
            Self::Auth => format!(
                "GET /api/v1/auth HTTP/1.1\r\nHost: x\r\n{end}X-Keyward-Gateway: {gateway}\r\nAuthorization: Bearer {token}\r\nX-Forwarded-For: 203.0.113.7\r\n\r\n"
            ),
            Self::Verify => {
                let body = format!("{{\"key\":\"{token}\",\"ip\":\"203.0.113.7\"}}");
                format!(
                    "POST /api/v1/keys/verify HTTP/1.1\r\nHost: x\r\n{end}Authorization: Bearer {gateway}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                )
            }
        }
    }
}

/// One request on a connection of its own: status, headers and body as the bare handler reads them.
fn ask(port: u16, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let mut lines = vec![head.split(' ').nth(1).unwrap().to_owned()];
    let of_server = ["connection", "date", "content-length"];
    lines.extend(
        head.lines().skip(1).filter(|line| !of_server.contains(&line.split(':').next().unwrap().to_ascii_lowercase().as_str())).map(str::to_owned),
    );
    format!("{}\n\n{body}", lines.join("\n"))
}

/// Presents each of these tokens once, many at a time on one connection; how many answers were 200.
fn present(port: u16, gateway: &str, mut tokens: impl Iterator<Item = String>) -> usize {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut accepted = 0;
    let mut bytes = vec![0; 1 << 18];
    loop {
        let requests: Vec<String> = tokens.by_ref().take(64).map(|token| Call::Auth.text(gateway, &token, "")).collect();
        if requests.is_empty() {
            return accepted;
        }
        stream.write_all(requests.concat().as_bytes()).unwrap();
        let (mut missing, mut kept) = (requests.len(), 0);
        while missing > 0 {
            let read = stream.read(&mut bytes[kept..]).unwrap();
            assert!(read > 0);
            let text = &bytes[..kept + read];
            let mut from = 0;
            while let Some(end) = text[from..].windows(4).position(|part| part == b"\r\n\r\n") {
                accepted += usize::from(text[from..].starts_with(b"HTTP/1.1 200"));
                missing -= 1;
                from += end + 4;
            }
            let rest = text[from..].to_vec();
            kept = rest.len();
            bytes[..kept].copy_from_slice(&rest);
        }
    }
}

struct Run {
    per_second: f64,
    p99_us: f64,
    cpu_us: f64,
}

fn load(port: u16, server: &Server, script: &Path, path: &str, seconds: usize) -> Run {
    let before = server.cpu();
    let (seconds_text, script_text) = (format!("-d{seconds}s"), script.to_str().unwrap());
    let out = Command::new("wrk")
        .args(["-t1", "-c16", &seconds_text, "--latency", "-s", script_text, &format!("http://127.0.0.1:{port}{path}")])
        .output()
        .expect("wrk is needed: apt-get install wrk");
    let text = String::from_utf8(out.stdout).unwrap();
    let cpu = server.cpu() - before;
    let line =
        |start: &str| text.lines().find(|line| line.trim_start().starts_with(start)).map(|line| line.split_whitespace().last().unwrap().to_owned());
    assert!(!text.contains("Non-2xx") || script_text.contains("wrong"), "{text}");
    assert!(!text.contains("Socket errors"), "{text}");
    let per_second: f64 = line("Requests/sec").unwrap_or_else(|| panic!("{text}")).parse().unwrap();
    let p99 = line("99%").unwrap();
    let p99_us = match (p99.strip_suffix("us"), p99.strip_suffix("ms")) {
        (Some(us), _) => us.parse().unwrap(),
        (_, Some(ms)) => ms.parse::<f64>().unwrap() * 1000.0,
        _ => p99.strip_suffix('s').unwrap().parse::<f64>().unwrap() * 1e6,
    };
    Run { per_second, p99_us, cpu_us: cpu * 1e6 / (per_second * seconds as f64) }
}

fn percent(part: f64) -> String {
    format!("{part:.3}")
}

/// The middle of the rounds, `other` against `baseline`.
fn tell(name: &str, runs: &[(Run, Run)]) {
    let ratio = |of: fn(&Run) -> f64| median(runs.iter().map(|(baseline, other)| of(other) / of(baseline)).collect());
    let middle = |of: fn(&Run) -> f64| {
        (median(runs.iter().map(|(baseline, _)| of(baseline)).collect()), median(runs.iter().map(|(_, other)| of(other)).collect()))
    };
    let (rates, p99s, cpus) = (middle(|run| run.per_second), middle(|run| run.p99_us), middle(|run| run.cpu_us));
    let each: Vec<String> = runs.iter().map(|(baseline, other)| format!("{:.2}", other.per_second / baseline.per_second)).collect();
    println!(
        "{name:28} requests/s {:6.0} → {:6.0}: {}   processor {:5.1} → {:5.1} us: {:.2}   p99 {:4.0} → {:4.0} us: {:.2}   rounds {}",
        rates.0,
        rates.1,
        percent(ratio(|run| run.per_second)),
        cpus.0,
        cpus.1,
        ratio(|run| run.cpu_us),
        p99s.0,
        p99s.1,
        ratio(|run| run.p99_us),
        each.join(" ")
    );
}

impl Bench {
    fn wants(&self, name: &str) -> bool {
        name.contains(&self.only)
    }

    /// A script for `wrk` that presents these tokens one after the other.
    fn script(&self, name: &str, call: Call, tokens: &[String]) -> PathBuf {
        let path = self.scratch.join(format!("{}.lua", name.replace([' ', ':', ','], "-")));
        let list = path.with_extension("txt");
        fs::write(&list, tokens.join("\n")).unwrap();
        let format = match call {
            Call::Auth => format!(
                "wrk.format(\"GET\", nil, {{ [\"X-Keyward-Gateway\"] = \"{}\", [\"Authorization\"] = \"Bearer \" .. token, [\"X-Forwarded-For\"] = \"203.0.113.7\" }})",
                self.gateway
            ),
            Call::Verify => format!(
                "wrk.format(\"POST\", nil, {{ [\"Authorization\"] = \"Bearer {}\", [\"Content-Type\"] = \"application/json\" }}, '{{\"key\":\"' .. token .. '\",\"ip\":\"203.0.113.7\"}}')",
                self.gateway
            ),
        };
        let text = format!(
            "local requests = {{}}\nfunction init()\n  for token in io.lines(\"{}\") do\n    requests[#requests + 1] = {format}\n  end\nend\nlocal n = 0\nfunction request()\n  n = n % #requests + 1\n  return requests[n]\nend\n",
            list.display()
        );
        fs::write(&path, text).unwrap();
        path
    }

    /// A bare handler that answers as Keyward does to this token.
    fn bare(&self, keyward: &Server, call: Call, token: &str) -> Server {
        static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let file = self.scratch.join(format!("answer-{}", NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)));
        fs::write(&file, ask(keyward.port, &call.text(&self.gateway, token, "Connection: close\r\n"))).unwrap();
        Server::start(&["bare", file.to_str().unwrap()])
    }

    fn compare(&self, name: &str, keyward: &Server, call: Call, tokens: &[String]) {
        if !self.wants(name) {
            return;
        }
        let bare = self.bare(keyward, call, &tokens[0]);
        let script = self.script(name, call, tokens);
        let runs: Vec<(Run, Run)> = (0..self.rounds)
            .map(|_| (load(bare.port, &bare, &script, call.path(), self.seconds), load(keyward.port, keyward, &script, call.path(), self.seconds)))
            .collect();
        tell(name, &runs);
    }

    fn run(&self) {
        let started = Instant::now();
        let mut keyward = Server::of(&self.dir, None, 1);
        ask(keyward.port, &Call::Auth.text(&self.gateway, &self.tokens[0], "Connection: close\r\n"));
        println!(
            "{} tokens; first answer after {:.0} ms; memory {:.0} MB",
            self.tokens.len(),
            started.elapsed().as_secs_f64() * 1000.0,
            keyward.memory()
        );
        while keyward.order("knows") != "true" {
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        println!("all IDs known after {:.1} s; memory {:.0} MB", started.elapsed().as_secs_f64(), keyward.memory());
        let large = self.tokens.len() > 400_000;
        if large && self.wants("first look-up") {
            self.first_look_ups(&mut keyward);
        }
        let began = Instant::now();
        let accepted = present(keyward.port, &self.gateway, self.tokens.iter().cloned());
        println!(
            "{accepted} keys asked for in {:.1} s; {} in memory, {:.0} MB",
            began.elapsed().as_secs_f64(),
            keyward.order("remembered"),
            keyward.memory()
        );
        assert_eq!(accepted, self.tokens.len());
        std::thread::sleep(std::time::Duration::from_secs(20));
        println!("{:.0} MB when their use was written down", keyward.memory());

        // The Lua side keeps its requests in memory; a sample of so many is enough to miss every processor cache.
        let sample: Vec<String> = self.tokens.iter().step_by(self.tokens.len().div_ceil(50_000)).cloned().collect();
        self.compare("auth, valid", &keyward, Call::Auth, &sample);
        self.compare("verify, valid", &keyward, Call::Verify, &sample);
        let unknown: Vec<String> = (0..1000).map(|_| nobodys()).collect();
        let wrong: Vec<String> = self.tokens.iter().take(1000).map(|text| another_secret(text)).collect();
        let reads: u64 = keyward.order("reads").parse().unwrap();
        for (call, of) in [(Call::Auth, "auth"), (Call::Verify, "verify")] {
            self.compare(&format!("{of}, wrong: malformed"), &keyward, call, &["kwk_junk".to_owned()]);
            self.compare(&format!("{of}, wrong: unknown"), &keyward, call, &unknown);
            self.compare(&format!("{of}, wrong: secret"), &keyward, call, &wrong);
        }
        if self.wants("wrong: never seen before") {
            let before = keyward.memory();
            let tokens = (0..1_000_000).map(|n| if n % 2 == 0 { nobodys() } else { another_secret(&self.tokens[n % self.tokens.len()]) });
            let accepted = present(keyward.port, &self.gateway, tokens);
            println!("1 000 000 wrong tokens, each another: {accepted} accepted, memory {before:.0} → {:.0} MB", keyward.memory());
        }
        println!("{} reads of the database for wrong tokens", keyward.order("reads").parse::<u64>().unwrap() - reads);
        self.counting(&mut keyward, &sample);
        self.behind_nginx(&keyward, &sample);
        println!("memory at the end: {:.0} MB", keyward.memory());
    }

    /// Every token is presented for the first time, so its key is read from the database.
    fn first_look_ups(&self, keyward: &mut Server) {
        let bare = self.bare(keyward, Call::Auth, &self.tokens[0]);
        let rounds = self.rounds.min(4);
        let share = self.tokens.len() / (rounds + 1);
        let before: u64 = keyward.order("reads").parse().unwrap();
        let mut asked = 0.0;
        // In no order of creation, as clients come.
        let stride = 7919;
        let mixed = |n: usize| self.tokens[(n * stride) % self.tokens.len()].clone();
        let runs: Vec<(Run, Run)> = (0..rounds)
            .map(|round| {
                let tokens: Vec<String> = (round * share..(round + 1) * share).map(mixed).collect();
                let script = self.script("first", Call::Auth, &tokens);
                let runs = (
                    load(bare.port, &bare, &script, Call::Auth.path(), self.seconds),
                    load(keyward.port, keyward, &script, Call::Auth.path(), self.seconds),
                );
                asked += runs.1.per_second * self.seconds as f64;
                assert!(runs.1.per_second * (self.seconds as f64) < share as f64, "tokens were presented twice: ask for fewer seconds");
                runs
            })
            .collect();
        let reads = keyward.order("reads").parse::<u64>().unwrap() - before;
        tell("first look-up", &runs);
        println!("{reads} reads for {asked:.0} requests");
    }

    /// With and without counting, in turns, in one process.
    fn counting(&self, keyward: &mut Server, sample: &[String]) {
        for (name, call) in [("counting, auth", Call::Auth), ("counting, verify", Call::Verify)] {
            if !self.wants(name) {
                continue;
            }
            let script = self.script(name, call, sample);
            let mut run = |order: &str| {
                keyward.order(order);
                std::thread::sleep(std::time::Duration::from_secs(3));
                load(keyward.port, keyward, &script, call.path(), self.seconds)
            };
            let runs: Vec<(Run, Run)> = (0..self.rounds).map(|_| (run("do not count"), run("count"))).collect();
            tell(name, &runs);
        }
    }

    /// nginx asks Keyward and the bare handler in turns before it hands out a small file.
    fn behind_nginx(&self, keyward: &Server, sample: &[String]) {
        if !self.wants("nginx") {
            return;
        }
        let bare = self.bare(keyward, Call::Auth, &self.tokens[0]);
        let ports: Vec<u16> = (0..2).map(|_| TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()).collect();
        let dir = self.scratch.join("nginx");
        fs::create_dir_all(dir.join("www")).unwrap();
        fs::write(dir.join("www/index.html"), "ok\n").unwrap();
        let server = |name: &str, port: u16, auth: u16| {
            format!(
                "upstream {name} {{ server 127.0.0.1:{auth}; keepalive 32; keepalive_requests 1000000; }}
                 server {{ listen 127.0.0.1:{port}; location / {{ auth_request /_auth; auth_request_set $key_id $upstream_http_x_key_id; root {}; }}
                 location = /_auth {{ internal; proxy_pass http://{name}/api/v1/auth; proxy_http_version 1.1; proxy_pass_request_body off;
                 proxy_set_header Connection \"\"; proxy_set_header Content-Length \"\"; proxy_set_header X-Keyward-Gateway {};
                 proxy_set_header X-Forwarded-For 203.0.113.7; }} }}\n",
                dir.join("www").display(),
                self.gateway
            )
        };
        let config = format!(
            "daemon off; worker_processes 1; pid {0}/pid; error_log {0}/error.log; user root; events {{ worker_connections 256; }}
             http {{ access_log off; keepalive_requests 100000000; client_body_temp_path {0}/a; proxy_temp_path {0}/b; fastcgi_temp_path {0}/c; uwsgi_temp_path {0}/d; scgi_temp_path {0}/e;
             map_hash_bucket_size 256; {1} {2} }}",
            dir.display(),
            server("keyward", ports[0], keyward.port),
            server("bare", ports[1], bare.port)
        );
        fs::write(dir.join("nginx.conf"), config).unwrap();
        let program = ["/usr/sbin/nginx", "/usr/bin/nginx"].into_iter().find(|path| Path::new(path).exists());
        let Some(program) = program else { return println!("nginx is not installed") };
        let mut nginx = Nginx(
            Command::new(program)
                .args(["-c", dir.join("nginx.conf").to_str().unwrap(), "-e", dir.join("error.log").to_str().unwrap()])
                .stderr(Stdio::inherit())
                .spawn()
                .unwrap(),
        );
        for _ in 0..100 {
            if TcpStream::connect(("127.0.0.1", ports[0])).is_ok() {
                break;
            }
            assert!(nginx.0.try_wait().unwrap().is_none(), "nginx does not start");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        let script = self.script("nginx", Call::Auth, sample);
        let runs: Vec<(Run, Run)> = (0..self.rounds)
            .map(|_| (load(ports[1], &bare, &script, "/", self.seconds), load(ports[0], keyward, &script, "/", self.seconds)))
            .collect();
        tell("nginx, auth_request", &runs);
    }
}

struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        // The master ends its worker on SIGTERM only.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

fn nobodys() -> String {
    Token::make(Purpose::Key, token::fresh_id(&mut chance::fill), &mut chance::fill).reveal().to_owned()
}

fn another_secret(text: &str) -> String {
    let id = Token::parse(Purpose::Key, text).unwrap().id();
    Token::make(Purpose::Key, id, &mut chance::fill).reveal().to_owned()
}
