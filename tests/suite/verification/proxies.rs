//! nginx, Caddy and HAProxy of this machine, set up with the very text that the Gateways page shows; only ports and paths differ.
//! Traefik and Envoy are not in Debian: their recipes are read as YAML and no more.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::{act, gateway};
use crate::support::{Backend, browser, spawn_with};

/// An API that tells what it was sent.
pub fn start_api() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || echo(stream));
        }
    });
    port
}

fn echo(mut stream: TcpStream) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let length =
        text.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:").map(|n| n.trim().parse().unwrap())).unwrap_or(0);
    let mut body = vec![0; length];
    let _ = stream.read_exact(&mut body);
    let answer = format!("{text}{}", String::from_utf8_lossy(&body));
    let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}", answer.len());
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A gateway in front of an API, gone with the test.
pub struct Proxy {
    child: Child,
    /// Where it listens.
    pub url: String,
    dir: PathBuf,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// The text of a recipe, as the page shows it.
pub fn recipe(page: &str, id: &str) -> String {
    let selector = scraper::Selector::parse(id).unwrap();
    scraper::Html::parse_document(page).select(&selector).next().unwrap_or_else(|| panic!("no {id} in {page}")).text().collect()
}

/// The page with the recipes.
pub const RECIPES: &str = "/t/acme/gateways?scope=shipments:read";

/// A proxy with its files in a folder, waited for until it listens.
pub fn run(kind: &str, port: u16, dir: PathBuf, mut command: Command) -> Proxy {
    let out = dir.join("out");
    let log = fs::File::create(&out).unwrap();
    let child = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
    let proxy = Proxy { child, url: format!("http://127.0.0.1:{port}"), dir };
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(began.elapsed() < Duration::from_secs(10), "{kind} did not start: {}", fs::read_to_string(&out).unwrap());
        std::thread::sleep(Duration::from_millis(50));
    }
    proxy
}

/// Sets a gateway up by its recipe on the page; `trusted` are the certificates that the machine trusts.
pub fn start(kind: &str, page: &str, credential: &str, api: u16, trusted: &Path) -> Proxy {
    let dir = crate::support::new_dir();
    let path = |name: &str| dir.join(name).display().to_string();
    let trusted = trusted.display().to_string();
    let port = free_port();
    let api = format!("127.0.0.1:{api}");
    let command = match kind {
        "nginx" => {
            let text = recipe(page, "#rc-nginx")
                .replace("listen 80;", &format!("listen 127.0.0.1:{port};"))
                .replace("127.0.0.1:9000", &api)
                .replace("/etc/ssl/certs/ca-certificates.crt", &trusted)
                .replace("/etc/nginx/keyward.conf", &path("keyward.conf"));
            fs::write(path("keyward.conf"), format!("set $keyward_gateway \"{credential}\";\n")).unwrap();
            let temp: String =
                ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].iter().map(|name| format!("{name}_temp_path {};\n", path(name))).collect();
            let whole = format!(
                "worker_processes 1;\npid {};\nerror_log {};\nevents {{}}\nhttp {{\naccess_log off;\n{temp}{text}}}\n",
                path("pid"),
                path("log")
            );
            fs::write(path("nginx.conf"), whole).unwrap();
            let mut command = Command::new("/usr/sbin/nginx");
            command.args(["-c", &path("nginx.conf"), "-g", "daemon off;"]);
            command
        }
        "caddy" => {
            let text = recipe(page, "#rc-caddy").replace("\n:80 {", &format!("\n:{port} {{")).replace("127.0.0.1:9000", &api);
            fs::write(path("Caddyfile"), format!("{{\n\tadmin off\n}}\n{text}")).unwrap();
            let mut command = Command::new("/usr/bin/caddy");
            command.args(["run", "--adapter", "caddyfile", "--config", &path("Caddyfile")]).env("HOME", &dir).env("KEYWARD_GATEWAY", credential);
            command.env("SSL_CERT_FILE", trusted);
            command
        }
        _ => {
            let inner = free_port().to_string();
            let text = recipe(page, "#rc-haproxy")
                .replace("bind :80", &format!("bind 127.0.0.1:{port}"))
                .replace("9009", &inner)
                .replace("127.0.0.1:9000", &api)
                .replace("ca-file ca-certificates.crt", &format!("ca-file {trusted}"))
                .replace("/etc/haproxy/keyward.lua", &path("keyward.lua"));
            fs::write(path("keyward.lua"), recipe(page, "#rc-haproxy-lua").replace("9009", &inner)).unwrap();
            fs::write(path("haproxy.cfg"), text).unwrap();
            let mut command = Command::new("/usr/sbin/haproxy");
            command.args(["-db", "-f", &path("haproxy.cfg")]).env("KEYWARD_GATEWAY", credential);
            command
        }
    };
    run(kind, port, dir, command)
}

/// The values of a header that the API was sent.
pub fn sent(page: &browser::Page, name: &str) -> Vec<String> {
    page.body
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(n, _)| n.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim().to_owned())
        .collect()
}

fn behaves(kind: &str) {
    let app = spawn_with(Backend::Sqlite, &[("trusted_proxies", "127.0.0.1"), ("max_staleness", "1s")]);
    let credential = gateway(&app, "acme");
    let page = app.signed_in("ada").get(RECIPES).body;
    let proxy = start(kind, &page, &credential, start_api(), Path::new("/dev/null"));
    let dora = app.fixture.key("dora");
    let bearer = format!("Bearer {}", dora.token);
    let call = |method: &str, headers: &[(&str, &str)]| {
        browser::call(&proxy.url, method, "/v1/parcels?page=2&scope=x", headers, (method == "POST").then(|| serde_json::json!({ "a": 1 })))
    };

    let page = call(
        "POST",
        &[
            ("authorization", &bearer),
            ("x-key-id", "forged"),
            ("X_Key_Id", "forged"),
            ("x-key-owner", "forged"),
            ("x-key-tenant", "forged"),
            ("x-key-scopes", "forged"),
            ("X_Key_Scopes", "forged"),
            ("x-key-resources", "forged"),
            ("x-key-code", "forged"),
            ("x-keyward-gateway", "forged"),
            ("x-keyward-scope", "forged"),
            ("x-keyward-resource", "forged"),
            ("x-forwarded-for", "198.51.100.66"),
            ("cookie", "a=b"),
        ],
    );
    assert_eq!(page.status, 200, "{kind}: {}", page.body);
    assert!(!page.body.contains("forged"), "{kind}: {}", page.body);
    assert!(page.body.starts_with("POST /v1/parcels?page=2&scope=x") && page.body.ends_with("{\"a\":1}"), "{kind}: {}", page.body);
    assert_eq!(sent(&page, "x-key-id"), [dora.id.as_str()], "{kind}");
    assert_eq!(sent(&page, "x-key-scopes"), ["invoices:read shipments:read shipments:write"], "{kind}");
    assert_eq!(sent(&page, "x-key-resources"), ["*"], "{kind}");
    assert_eq!(sent(&page, "x-key-tenant"), ["acme"], "{kind}");
    assert_eq!(sent(&page, "authorization"), Vec::<String>::new(), "{kind}");
    assert!(!page.body.contains(&credential) && !page.body.contains(&dora.token), "{kind}");
    assert_eq!(sent(&page, "cookie"), ["a=b"], "{kind}");

    assert_eq!(call("GET", &[("x-api-key", &dora.token)]).status, 200, "{kind}");
    let nothing = call("GET", &[]);
    assert_eq!((nothing.status, nothing.header("www-authenticate").as_deref()), (401, Some("Bearer realm=\"keyward\"")), "{kind}");
    assert_eq!(call("GET", &[("authorization", &bearer), ("x-api-key", &dora.token)]).status, 401, "{kind}");
    assert_eq!(call("GET", &[("x-api-key", &dora.token), ("x-api-key", &dora.token)]).status, 401, "{kind}");
    let bills = super::make(
        &app,
        keyward::actions::keys::KeyForm {
            access: keyward::domain::access::KeyAccess::Scopes(["invoices:read".parse().unwrap()].into()),
            ..super::plain("bills")
        },
        keyward::domain::lifetime::Choice::Never,
    );
    let none = call("GET", &[("x-api-key", bills.token.reveal())]);
    assert_eq!((none.status, none.header("x-key-code").as_deref()), (403, Some("insufficient_scope")), "{kind}");

    // The client's address is the one that the gateway saw, whatever the client claims.
    let ranged = |range: &str| {
        super::make(
            &app,
            keyward::actions::keys::KeyForm { ip_ranges: keyward::domain::ip_range::IpRanges::parse(range).unwrap(), ..super::plain(range) },
            keyward::domain::lifetime::Choice::Never,
        )
    };
    let (elsewhere, here) = (ranged("198.51.100.0/24"), ranged("127.0.0.1"));
    assert_eq!(call("GET", &[("x-api-key", elsewhere.token.reveal()), ("x-forwarded-for", "198.51.100.66")]).status, 403, "{kind}");
    assert_eq!(call("GET", &[("x-api-key", here.token.reveal()), ("x-forwarded-for", "198.51.100.66")]).status, 200, "{kind}");

    act(&app, "dora", |tx, by| keyward::actions::keys::revoke(tx, by, dora.id, ""));
    let revoked = call("GET", &[("authorization", &bearer)]);
    assert_eq!((revoked.status, revoked.header("x-key-code").as_deref()), (401, Some("revoked")), "{kind}");

    app.app.gate.verifier.cut_off(true);
    std::thread::sleep(Duration::from_millis(1_100));
    assert_eq!(call("GET", &[("x-api-key", here.token.reveal())]).status, 503, "{kind}");
    app.app.gate.verifier.cut_off(false);
    app.app.gate.verifier.confirm();
    assert_eq!(call("GET", &[("x-api-key", here.token.reveal())]).status, 200, "{kind}");
    drop(app);
    let away = call("GET", &[("x-api-key", here.token.reveal())]);
    assert!([502, 503].contains(&away.status), "{kind}: {}", away.status);
}

#[test]
fn nginx_with_our_recipe_lets_good_keys_through_and_no_forged_header() {
    behaves("nginx");
}

#[test]
fn caddy_with_our_recipe_lets_good_keys_through_and_no_forged_header() {
    behaves("caddy");
}

#[test]
fn haproxy_with_our_recipe_lets_good_keys_through_and_no_forged_header() {
    behaves("haproxy");
}

#[test]
fn the_recipes_for_traefik_and_envoy_are_yaml() {
    let app = spawn_with(Backend::Sqlite, &[]);
    let page = app.signed_in("ada").get(RECIPES).body;
    for id in ["#rc-traefik", "#rc-envoy"] {
        let text = recipe(&page, id);
        let mut python = Command::new("/usr/bin/python3")
            .args(["-c", "import sys, yaml; yaml.safe_load(sys.stdin.read())"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        python.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(python.wait().unwrap().success(), "{id}");
        assert!(!text.contains('\t') && !text.contains("{%"), "{id}");
    }
}

/// A key's whole life, made on its pages and asked for through a gateway; `says_so` is whether the recipe tells clients of an overlap.
fn follows_a_key(kind: &str, says_so: bool) {
    let app = spawn_with(Backend::Sqlite, &[("trusted_proxies", "127.0.0.1")]);
    let page = app.signed_in("ada").get(RECIPES).body;
    let proxy = start(kind, &page, &gateway(&app, "acme"), start_api(), Path::new("/dev/null"));
    let ask = |token: &str| browser::call(&proxy.url, "GET", "/v1/parcels", &[("authorization", &format!("Bearer {token}"))], None);
    let told =
        |page: &browser::Page| [page.status.to_string(), page.header("deprecation").unwrap_or_default(), page.header("sunset").unwrap_or_default()];

    let dora = app.signed_in("dora");
    let first = dora.submit("/t/acme/keys/new", &[("name", "Parcels")]).find("#c-tok").unwrap();
    assert_eq!(told(&ask(&first)), ["200", "", ""], "{kind}");
    let url = format!("/t/acme/keys/{}", &first[4..20]);
    let code = app.code("dora");
    let rolled_at = app.now();
    let second = dora.submit(&format!("{url}/roll"), &[("stop", "3600"), ("totp", &code)]).find("#c-tok").unwrap();
    let in_overlap = ask(&first);
    let stops_at = (rolled_at + chrono::Duration::hours(1)).format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let expected =
        if says_so { ["200".into(), format!("@{}", rolled_at.timestamp()), stops_at] } else { ["200".into(), String::new(), String::new()] };
    assert_eq!(told(&in_overlap), expected, "{kind}");
    assert_eq!(sent(&in_overlap, "x-key-id"), [&first[4..20]], "{kind}");
    assert_eq!(told(&ask(&second)), ["200", "", ""], "{kind}");

    app.advance(chrono::Duration::hours(1) - chrono::Duration::seconds(1));
    assert_eq!((ask(&first).status, ask(&second).status), (200, 200), "{kind}");
    app.advance(chrono::Duration::seconds(1));
    let dead = ask(&first);
    assert_eq!((dead.status, dead.header("x-key-code").as_deref()), (401, Some("rolled")), "{kind}");
    assert_eq!(dead.header("www-authenticate").as_deref(), Some("Bearer realm=\"keyward\", error=\"invalid_token\""), "{kind}");
    assert_eq!(ask(&second).status, 200, "{kind}");
    let dora = app.signed_in("dora");
    assert_eq!(dora.submit(&format!("{url}/revoke"), &[]).status, 303, "{kind}");
    for token in [&first, &second] {
        let revoked = ask(token);
        assert_eq!((revoked.status, revoked.header("x-key-code").as_deref()), (401, Some("revoked")), "{kind}");
        assert!(!revoked.body.contains("/v1/parcels"), "the API was asked: {}", revoked.body);
    }
}

#[test]
fn a_keys_life_is_followed_through_nginx() {
    follows_a_key("nginx", true);
}

#[test]
fn a_keys_life_is_followed_through_caddy() {
    follows_a_key("caddy", false);
}

#[test]
fn a_keys_life_is_followed_through_haproxy() {
    follows_a_key("haproxy", false);
}
