//! The export as CSV, read back by another reader than ours.

use std::{
    collections::BTreeSet,
    io::Write as _,
    process::{Command, Stdio},
};

use super::{add, numbered};

both! {
    fn an_export_holds_hostile_cells_as_text_and_only_what_one_may_see(app) {
        let names = ["=cmd|' /C calc'!A0", "+1", "-2", "@SUM(1)", "comma, \"quote\"", "＝1", "it’s Ü"].map(str::to_owned);
        add(app, "acme/emil", 'H', &names, |at, key| key.comment = if at == 0 { "\t=1\nnext line, \"x\"".into() } else { String::new() });
        add(app, "globex/gus", 'G', &["secret of globex".into()], |_, _| {});
        let ada = app.signed_in("ada");
        let page = ada.get("/t/acme/keys.csv?q=emil&sort=name");
        assert!(page.header("content-type").unwrap().starts_with("text/csv"));
        assert!(page.header("content-disposition").unwrap().starts_with("attachment"));
        let rows = with_pythons_csv(&page.body);
        let column = |name: &str| rows[0].iter().position(|heading| heading == name).unwrap();
        assert_eq!(rows.len(), 1 + names.len() + 1);
        for cell in rows.iter().flatten() {
            assert!(!cell.trim_start().starts_with(['=', '+', '-', '@', '＝']), "{cell}");
        }
        let found: Vec<&str> = rows.iter().skip(1).map(|row| row[column("name")].as_str()).collect();
        for name in &names {
            assert!(found.iter().any(|cell| cell == name || cell.strip_prefix('\'') == Some(name)), "{name} in {found:?}");
        }
        assert!(rows.iter().any(|row| row[column("comment")] == "'\t=1\nnext line, \"x\""));
        assert!(!page.body.contains("globex"));
        let own = with_pythons_csv(&app.signed_in("dora").get("/t/acme/keys.csv").body);
        let owners: BTreeSet<&str> = own.iter().skip(1).map(|row| row[column("owner")].as_str()).collect();
        assert_eq!(owners, BTreeSet::from(["CI", "Dora Example"]));
        assert_eq!(app.signed_in("gus").get("/t/acme/keys.csv").status, 404);
    }

    fn a_token_in_the_filter_finds_its_key_and_is_kept_nowhere(app) {
        let ada = app.signed_in("ada");
        let key = app.fixture.key("emil");
        let secret = &key.token[21..];
        let led = ada.get(&format!("/t/acme/keys?q={}", key.token));
        assert_eq!(led.location(), Some(format!("/t/acme/keys?q={}", key.id)));
        let page = ada.follow(led);
        assert!(page.says("key of emil") && !page.says("key of dora"), "{}", page.text());
        assert!(!page.body.contains(secret));
        assert!(!ada.get(&format!("/t/acme/keys.csv?q={}", key.token)).body.contains(secret));
        let events = ada.get("/t/acme/events.jsonl").body;
        assert!(events.contains("key.export") && !events.contains(secret), "{events}");
    }

    fn a_large_export_is_whole(app) {
        add(app, "acme/emil", 'L', &numbered("bulk", 1_234), |_, _| {});
        let rows = with_pythons_csv(&app.signed_in("ada").get("/t/acme/keys.csv?q=bulk").body);
        let ids: BTreeSet<&str> = rows.iter().skip(1).map(|row| row[0].as_str()).collect();
        assert_eq!((rows.len(), ids.len()), (1_235, 1_234));
    }
}

/// What Python's own reader of CSV makes of a text.
fn with_pythons_csv(text: &str) -> Vec<Vec<String>> {
    const PROGRAM: &str =
        "import csv,sys,json,io;print(json.dumps(list(csv.reader(io.TextIOWrapper(sys.stdin.buffer,encoding='utf-8',newline=''),strict=True))))";
    let mut python = Command::new("python3").args(["-c", PROGRAM]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = python.stdin.take().unwrap();
    let text = text.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()).unwrap());
    let out = python.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(out.status.success());
    serde_json::from_slice(&out.stdout).unwrap()
}
