//! What somebody gains who reads the database or writes to it: no secret, and no way across tenants.

use crate::support::{TestApp, behind::Behind, browser::Browser};

/// Each text as it is, and as the hexadecimal digits of its bytes.
fn is_nowhere(behind: &Behind, what: &str, text: &str) {
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    for (table, rows) in behind.tables() {
        let rows = rows.to_lowercase();
        assert!(!rows.contains(&text.to_lowercase()) && !rows.contains(&hex), "{what} is in the table {table}");
    }
}

fn cookie(app: &TestApp, browser: &Browser) -> String {
    let name = format!("keyward-{}=", app.url.rsplit_once(':').unwrap().1);
    browser.cookies().split("; ").find_map(|cookie| cookie.strip_prefix(&name).map(str::to_owned)).unwrap()
}

both! {
    fn no_secret_can_be_read_in_the_database(app) {
        let dora = app.signed_in("dora");
        let code = app.code("dora");
        let rolled = dora.submit(&format!("/t/acme/keys/{}/roll", app.fixture.key("dora").id), &[("totp", &code)]);
        let token = rolled.find("#c-tok").unwrap();
        let gateway = app.gateway("acme");
        let reset = app.write(|tx| keyward::actions::credentials::start_reset(tx, "emil@acme.example")).unwrap();
        let behind = Behind::new(app, &[]);
        let secret = |token: &str| token.rsplit('_').next().unwrap().to_owned();
        for (what, text) in [
            ("the old token", secret(&app.fixture.key("dora").token)),
            ("the new token", secret(&token)),
            ("a gateway credential", secret(&gateway)),
            ("a reset link", secret(reset.reveal())),
            ("a password", app.person("dora").password.to_owned()),
            ("a TOTP secret", app.person("dora").totp.clone().unwrap()),
            ("a session", cookie(app, &dora)),
        ] {
            assert!(text.len() >= 16, "{what}: {text}");
            is_nowhere(&behind, what, &text);
        }
        let seed = app.person("dora").totp.as_deref().unwrap();
        let bits: String = seed.bytes().map(|c| "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".find(char::from(c)).unwrap()).map(|n| format!("{n:05b}")).collect();
        let raw: String = bits.as_bytes().chunks_exact(4).map(|four| format!("{:x}", u8::from_str_radix(std::str::from_utf8(four).unwrap(), 2).unwrap())).collect();
        assert!(raw.len() == 40, "{raw}");
        for (table, rows) in behind.tables() {
            assert!(!rows.to_lowercase().contains(&raw), "the bytes of a TOTP secret are in {table}");
        }
    }

    fn what_the_database_holds_of_a_session_opens_none(app) {
        let emil = app.signed_in("emil");
        let behind = Behind::new(app, &[]);
        let row = behind.tables()["sessions"].to_lowercase();
        let stored: Vec<String> = row.split(['|', '\'', '\n', '\\', 'x']).filter(|part| part.len() == 64).map(str::to_owned).collect();
        assert!(!stored.is_empty(), "{row}");
        let port = app.url.rsplit_once(':').unwrap().1;
        for value in stored {
            let page = app.browser().get_with("/profile", &[("cookie", &format!("keyward-{port}={value}"))]);
            assert_eq!(page.status, 303, "a stored hash is a session");
        }
        assert_eq!(emil.get("/profile").status, 200);
    }

    fn a_hash_that_is_copied_to_another_key_verifies_nothing(app) {
        let (dora, emil) = (app.fixture.key("dora"), app.fixture.key("emil"));
        let behind = Behind::new(app, &[]);
        behind.sql(&format!("UPDATE keys SET hash = (SELECT hash FROM keys WHERE id = '{}') WHERE id = '{}'", emil.id, dora.id)).unwrap();
        let secret = &emil.token[21..53];
        let body = format!("kwk_{}_{secret}", dora.id);
        let moved = format!("{body}{}", checksum(&body));
        assert!(keyward::domain::token::Token::parse(keyward::domain::token::Purpose::Key, &moved).is_some(), "{moved}");
        assert_eq!(app.verify(&moved), "not_found");
        assert_eq!(app.verify(&dora.token), "not_found");
        assert_eq!(app.verify(&emil.token), "valid");
    }

    fn the_tables_themselves_keep_tenants_apart(app) {
        let behind = Behind::new(app, &[]);
        let id = |query: &str| behind.one(query);
        let (acme, globex) = (id("SELECT id AS text FROM tenants WHERE slug = 'acme'"), id("SELECT id AS text FROM tenants WHERE slug = 'globex'"));
        let (ours, theirs) = (app.fixture.members["acme/dora"], app.fixture.members["globex/gus"]);
        let role = id(&format!("SELECT id AS text FROM console_roles WHERE tenant_id = {globex} AND built_in = 'tenant_admin'"));
        let access = id(&format!("SELECT id AS text FROM access_roles WHERE tenant_id = {globex} AND name = 'Shipping'"));
        behind.sql(&format!("INSERT INTO scopes (tenant_id, name, description) VALUES ({globex}, 'only:there', '')")).unwrap();
        let our_access = id(&format!("SELECT id AS text FROM access_roles WHERE tenant_id = {acme} AND name = 'Shipping'"));
        let key = &app.fixture.key("dora").id;
        for statement in [
            format!("INSERT INTO member_roles (tenant_id, member_id, role_id) VALUES ({acme}, {ours}, {role})"),
            format!("INSERT INTO member_roles (tenant_id, member_id, role_id) VALUES ({acme}, {theirs}, {role})"),
            format!("INSERT INTO member_access_roles (tenant_id, member_id, role_id) VALUES ({acme}, {ours}, {access})"),
            format!("INSERT INTO member_resources (tenant_id, member_id, pattern) VALUES ({acme}, {theirs}, 'site:*')"),
            format!("INSERT INTO keepers (tenant_id, service_id, keeper_id) VALUES ({acme}, {ours}, {theirs})"),
            format!("INSERT INTO access_role_scopes (tenant_id, role_id, scope) VALUES ({acme}, {our_access}, 'only:there')"),
            format!("UPDATE keys SET owner_id = {theirs} WHERE id = '{key}'"),
            format!("UPDATE keys SET tenant_id = {globex} WHERE id = '{key}'"),
            format!("UPDATE members SET tenant_id = {globex} WHERE id = {ours}"),
        ] {
            let said = behind.sql(&statement);
            assert!(said.as_ref().is_err_and(|words| words.to_lowercase().contains("foreign key")), "{statement}: {said:?}");
        }
    }

    fn events_can_be_neither_changed_nor_removed(app) {
        let behind = Behind::new(app, &[]);
        for statement in ["UPDATE events SET actor_name = 'Nobody'", "DELETE FROM events", "UPDATE events SET number = number + 1000"] {
            let said = behind.sql(statement);
            assert!(said.as_ref().is_err_and(|words| words.contains("append-only")), "{statement}: {said:?}");
        }
    }

    fn an_address_may_be_long_and_no_longer(app) {
        let browser = app.signed_in("emil");
        let of = |length: usize| format!("/profile?tenant={}", "a".repeat(length - "/profile?tenant=".len()));
        assert_ne!(browser.get(&of(8 * 1024)).status, 400);
        assert_eq!(browser.get(&of(8 * 1024 + 1)).status, 400);
    }
}

#[test]
fn the_database_inside_is_one_without_known_faults() {
    let app = crate::support::spawn(crate::support::Backend::Sqlite);
    let behind = Behind::new(&app, &[]);
    let version: Vec<u32> = behind.one("SELECT sqlite_version() AS text").split('.').map(|part| part.parse().unwrap()).collect();
    assert!(version >= vec![3, 51, 3], "{version:?}");
    assert_eq!(behind.one("SELECT journal_mode AS text FROM pragma_journal_mode").to_lowercase(), "wal");
}

/// CRC-32 (IEEE) of all before it, as six digits of base 62.
fn checksum(text: &str) -> String {
    let mut crc = u32::MAX;
    for byte in text.bytes() {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    let mut rest = !crc;
    let mut digits = [b'0'; 6];
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[(rest % 62) as usize];
        rest /= 62;
    }
    String::from_utf8(digits.to_vec()).unwrap()
}
