//! What the operator may set, and what is refused at start.

use keyward::config::{Config, ConfigError, LogFormat, Sources};

fn from_file(text: &str) -> Result<Config, String> {
    Sources::default().file("keyward.toml", text).and_then(Sources::into_config).map_err(|error| error.to_string())
}

fn from_environment(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Sources::default().environment(variables.iter().map(|(name, value)| ((*name).into(), (*value).into())))?.into_config()
}

#[test]
fn nothing_has_to_be_set() {
    let config = from_file("").unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.public_url, "http://127.0.0.1:8080");
    assert_eq!(config.database_url, "sqlite://data/keyward.db");
    assert_eq!(config.secret_file.to_str(), Some("data/keyward.secret"));
    assert_eq!((config.session_idle, config.session_max), (chrono::Duration::minutes(30), chrono::Duration::hours(12)));
    assert_eq!(config.log, LogFormat::Text);
    assert!(!config.is_https());
    assert_eq!(config.public_host(), "127.0.0.1:8080");
}

#[test]
fn the_environment_wins_over_the_file_and_a_flag_over_both() {
    let config = Sources::default()
        .file("keyward.toml", "listen = '127.0.0.1:1'\npublic_url = 'https://file.example'\nlog = 'json'")
        .and_then(|sources| {
            sources
                .environment([("KEYWARD_LISTEN".into(), "127.0.0.1:2".into()), ("KEYWARD_PUBLIC_URL".into(), "https://environment.example/".into())])
        })
        .and_then(|sources| sources.flag("listen", "127.0.0.1:3"))
        .and_then(Sources::into_config)
        .unwrap();
    assert_eq!(config.listen.port(), 3);
    assert_eq!(config.public_url, "https://environment.example");
    assert_eq!(config.log, LogFormat::Json);
    let shown = config.to_string();
    assert!(
        shown.contains("# command line") && shown.contains("# KEYWARD_PUBLIC_URL") && shown.contains("# keyward.toml") && shown.contains("# default"),
        "{shown}"
    );
    assert_eq!(from_file(&shown).unwrap().to_string().lines().count(), shown.lines().count(), "what is printed can be read again");
}

#[test]
fn an_unknown_name_is_an_error_that_suggests_the_nearest() {
    assert_eq!(from_file("public_ulr = 'https://a.example'").unwrap_err(), "keyward.toml: there is no setting public_ulr; did you mean public_url?");
    assert_eq!(
        from_environment(&[("KEYWARD_TRUSTED_PROXY", "10.0.0.1")]).unwrap_err().to_string(),
        "environment: there is no setting KEYWARD_TRUSTED_PROXY; did you mean KEYWARD_TRUSTED_PROXIES?"
    );
    assert_eq!(from_file("colour = 'red'").unwrap_err(), "keyward.toml: there is no setting colour; `keyward config --help` lists them");
}

#[test]
fn http_is_for_this_machine_only() {
    for good in [
        "http://localhost",
        "http://localhost:8080",
        "http://127.0.0.1:8080",
        "http://127.9.9.9",
        "http://[::1]:8080",
        "https://keys.example.com",
        "https://keys.example.com:8443",
    ] {
        assert!(from_file(&format!("public_url = '{good}'")).is_ok(), "{good}");
    }
    for bad in ["http://keys.example.com", "http://10.0.0.1", "http://localhost.example.com", "http://[::2]", "http://0.0.0.0:8080"] {
        let error = from_file(&format!("public_url = '{bad}'")).unwrap_err();
        assert!(error.contains("http is for localhost only"), "{bad}: {error}");
    }
    for bad in
        ["keys.example.com", "ftp://keys.example.com", "https://", "https://a.example/keys", "https://user@a.example", "https://a.example?x", ""]
    {
        let error = from_file(&format!("public_url = '{bad}'")).unwrap_err();
        assert!(error.contains("must be a URL"), "{bad}: {error}");
    }
    assert!(from_file("listen = '0.0.0.0:8080'").unwrap_err().contains("public_url"), "an open listener needs a public address");
}

#[test]
fn what_cannot_be_is_refused_and_says_where() {
    for (text, says) in [
        ("listen = '8080'", "keyward.toml: listen must be an address with a port"),
        ("database_url = 'mysql://x'", "keyward.toml: database_url must begin with sqlite://"),
        ("max_staleness = '0s'", "keyward.toml: max_staleness must be between 1s and 1m"),
        ("session_idle = '31m'", "keyward.toml: session_idle must be between 1m and 30m"),
        ("session_max = '13h'", "keyward.toml: session_max must be between 1m and 12h"),
        ("session_max = '10m'", "configuration: session_idle is longer than session_max"),
        ("session_max = 'é'", "keyward.toml: session_max must be a number with s, m or h"),
        ("tenant_domain = 'https://x.example'", "keyward.toml: tenant_domain must be a host name"),
        ("log = 'xml'", "keyward.toml: log must be text or json"),
        ("trusted_proxies = ['10.0.0.0/8', 'proxy']", "keyward.toml: trusted_proxies has proxy"),
        ("listen = true", "keyward.toml: listen must be text"),
        ("listen =", "keyward.toml: cannot be read"),
    ] {
        let error = from_file(text).unwrap_err();
        assert!(error.starts_with(says), "{text}: {error}");
    }
}

#[test]
fn a_list_of_proxies_may_hold_ranges_and_addresses() {
    let config = from_file("trusted_proxies = ['10.0.0.0/8', '192.0.2.7', '::1']").unwrap();
    assert_eq!(config.trusted_proxies.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.0/8", "192.0.2.7/32", "::1/128"]);
}

#[test]
fn passwords_are_masked_wherever_they_stand() {
    for url in
        ["postgres://keyward:hunter2@db/keys", "postgres://keyward:hun@ter2@db/keys?sslmode=disable", "postgres://db/keys?user=k&password=hunter2"]
    {
        let config = from_file(&format!("database_url = '{url}'")).unwrap();
        for shown in [config.to_string(), format!("{config:?}")] {
            assert!(shown.contains("***") && !shown.contains("ter2"), "{shown}");
        }
    }
}

#[test]
fn the_secret_file_lies_beside_the_database() {
    assert_eq!(from_file("database_url = 'sqlite:///srv/k/keys.db'").unwrap().secret_file.to_str(), Some("/srv/k/keyward.secret"));
    assert_eq!(from_file("database_url = 'postgres://db/keys'\ndata_dir = '/srv/k'").unwrap().secret_file.to_str(), Some("/srv/k/keyward.secret"));
    assert_eq!(from_file("data_dir = '/srv/d'").unwrap().database_url, "sqlite:///srv/d/keyward.db");
}
