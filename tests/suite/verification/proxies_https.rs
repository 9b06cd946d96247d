//! Keyward under https, behind a proxy with a certificate of this run: the recipes' lines for https, which no other test reaches.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    act, gateway,
    proxies::{Proxy, RECIPES, free_port, run, sent, start, start_api},
};
use crate::support::{Backend, TestApp, browser, new_dir, smtp, spawn_with};

/// Keyward at `https://localhost:…`, and what ends the encryption in front of it.
fn behind_tls() -> (TestApp, Proxy) {
    let port = free_port();
    let app = spawn_with(Backend::Sqlite, &[("public_url", &format!("https://localhost:{port}")), ("trusted_proxies", "127.0.0.1")]);
    let dir = new_dir();
    let (cert, key) = smtp::certificate();
    fs::write(dir.join("both.pem"), [fs::read(cert).unwrap(), fs::read(key).unwrap()].concat()).unwrap();
    let text = format!(
        "defaults\n  mode http\n  timeout connect 2s\n  timeout client 30s\n  timeout server 30s\nfrontend tls\n  bind 127.0.0.1:{port} ssl crt {}\n  \
         default_backend keyward\nbackend keyward\n  server keyward {}\n",
        dir.join("both.pem").display(),
        app.url.trim_start_matches("http://")
    );
    fs::write(dir.join("haproxy.cfg"), text).unwrap();
    let mut command = Command::new("/usr/sbin/haproxy");
    command.args(["-db", "-f"]).arg(dir.join("haproxy.cfg"));
    let proxy = run("TLS", port, dir, command);
    (app, proxy)
}

/// A browser that speaks TLS: curl, which keeps cookies by the rules for `Secure` and `__Host-`.
struct Curl {
    url: String,
    jar: PathBuf,
}

impl Curl {
    /// Opens a page, or posts a form to it with the token that it was given.
    fn page(&self, path: &str, fields: &[(&str, &str)]) -> String {
        let mut command = Command::new("curl");
        command.args(["-sS", "--cacert"]).arg(&smtp::certificate().0).arg("-b").arg(&self.jar).arg("-c").arg(&self.jar);
        command.args(["-H", &format!("Origin: {}", self.url)]);
        for (name, value) in fields {
            command.args(["--data-urlencode", &format!("{name}={value}")]);
        }
        let out = command.arg(format!("{}{path}", self.url)).output().unwrap();
        assert!(out.status.success(), "{path}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    fn submit(&self, path: &str, fields: &[(&str, &str)]) -> String {
        let form = self.page(path, &[]);
        let csrf = form.split("name=\"csrf\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_else(|| panic!("{form}"));
        self.page(path, &[fields, &[("csrf", csrf)]].concat())
    }
}

/// The page with the recipes, as ada sees it who signs in over TLS.
fn recipes(app: &TestApp) -> String {
    let ada = app.person("ada");
    let curl = Curl { url: app.app.config.public_url.clone(), jar: new_dir().join("jar") };
    curl.submit("/login", &[("email", &ada.email), ("password", ada.password)]);
    curl.submit("/login/code", &[("totp", &app.code("ada"))]);
    curl.page(RECIPES, &[])
}

fn asks_over_tls(kind: &str) {
    let (app, _tls) = behind_tls();
    let page = recipes(&app);
    let (credential, api) = (gateway(&app, "acme"), start_api());
    let dora = app.fixture.key("dora");
    let asks = |proxy: &Proxy, key: &str| browser::call(&proxy.url, "GET", "/v1/parcels", &[("x-api-key", key), ("x-key-id", "forged")], None);

    let proxy = start(kind, &page, &credential, api, &smtp::certificate().0);
    let good = asks(&proxy, &dora.token);
    assert_eq!(good.status, 200, "{kind}: {}", good.body);
    assert_eq!(sent(&good, "x-key-id"), [dora.id.as_str()], "{kind}");
    assert_eq!(asks(&proxy, "kwk_nothing").status, 401, "{kind}");
    act(&app, "dora", |tx, by| keyward::actions::keys::revoke(tx, by, dora.id, ""));
    let revoked = asks(&proxy, &dora.token);
    assert_eq!((revoked.status, revoked.header("x-key-code").as_deref()), (401, Some("revoked")), "{kind}");

    // Somebody else with a certificate for the same name, which this machine does not trust, is not asked.
    let stranger = smtp::another_certificate();
    let fooled = start(kind, &page, &credential, api, Path::new(&stranger.0));
    let refused = asks(&fooled, &app.fixture.key("emil").token);
    assert!([502, 503].contains(&refused.status), "{kind}: {}", refused.status);
    assert!(!refused.body.contains("/v1/parcels"), "{kind}: the API was asked");
    assert_eq!(asks(&proxy, &app.fixture.key("emil").token).status, 200, "{kind}");
}

#[test]
fn nginx_with_our_recipe_asks_over_tls_and_trusts_no_strangers_certificate() {
    asks_over_tls("nginx");
}

#[test]
fn caddy_with_our_recipe_asks_over_tls_and_trusts_no_strangers_certificate() {
    asks_over_tls("caddy");
}

#[test]
fn haproxy_with_our_recipe_asks_over_tls_and_trusts_no_strangers_certificate() {
    asks_over_tls("haproxy");
}
