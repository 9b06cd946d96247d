//! How to make a gateway ask Keyward: configurations to copy, with the address and scope filled in. The tests run the very text.

use askama::Template;

macro_rules! recipes {
    ($($recipe:ident => $path:literal;)+) => {$(
        #[derive(Template)]
        #[template(path = $path, escape = "none")]
        struct $recipe<'a> {
            to: &'a To,
        }
    )+};
}

/// Where Keyward is, and what the gateway asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct To {
    /// `https://keys.example.com`
    pub url: String,
    /// `https`
    pub scheme: &'static str,
    /// Host, with the port where it is not the scheme's own.
    pub host: String,
    /// Host without port.
    pub name: String,
    /// The port.
    pub port: u16,
    /// Host and port.
    pub address: String,
    /// Whether it is https.
    pub https: bool,
    /// The scope to ask for; empty for none.
    pub scope: String,
    /// The same as a query.
    pub query: String,
}

impl To {
    /// Takes the public URL apart.
    pub fn new(public_url: &str, scope: &str) -> Self {
        let https = public_url.starts_with("https://");
        let host = public_url.split_once("://").map_or(public_url, |(_, host)| host).trim_end_matches('/').to_owned();
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (name.to_owned(), port.parse().unwrap_or(443)),
            _ => (host.clone(), if https { 443 } else { 80 }),
        };
        Self {
            url: public_url.trim_end_matches('/').to_owned(),
            scheme: if https { "https" } else { "http" },
            address: format!("{name}:{port}"),
            query: if scope.is_empty() { String::new() } else { format!("?scope={scope}") },
            scope: scope.to_owned(),
            host,
            name,
            port,
            https,
        }
    }
}

recipes! {
    Nginx => "gateways/recipes/nginx.conf";
    Caddy => "gateways/recipes/caddy.txt";
    Haproxy => "gateways/recipes/haproxy.cfg";
    HaproxyLua => "gateways/recipes/haproxy.lua";
    Traefik => "gateways/recipes/traefik.yaml";
    Envoy => "gateways/recipes/envoy.yaml";
    Program => "gateways/recipes/program.txt";
}

/// One recipe.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// For the tab and its address on the page.
    pub id: &'static str,
    /// The gateway's name.
    pub name: &'static str,
    /// The files: what each is, and its text.
    pub files: Vec<(&'static str, &'static str, String)>,
}

/// Every recipe, and the call from an own program.
///
/// # Errors
/// A template failed.
pub fn all(to: &To) -> Result<(Vec<Recipe>, String), askama::Error> {
    let recipe = |id, name, files| Recipe { id, name, files };
    let list = vec![
        recipe("nginx", "nginx", vec![("rc-nginx", "nginx configuration", Nginx { to }.render()?)]),
        recipe("caddy", "Caddy", vec![("rc-caddy", "Caddyfile", Caddy { to }.render()?)]),
        recipe(
            "haproxy",
            "HAProxy",
            vec![
                ("rc-haproxy", "HAProxy configuration", Haproxy { to }.render()?),
                ("rc-haproxy-lua", "HAProxy Lua script", HaproxyLua { to }.render()?),
            ],
        ),
        recipe("traefik", "Traefik", vec![("rc-traefik", "Traefik dynamic configuration", Traefik { to }.render()?)]),
        recipe("envoy", "Envoy", vec![("rc-envoy", "Envoy configuration", Envoy { to }.render()?)]),
    ];
    Ok((list, Program { to }.render()?))
}
