//! A PostgreSQL server for this run: started when the first test wants one, gone with the process that wanted it.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use diesel::{Connection as _, PgConnection, RunQueryDsl as _};

/// Ends when its standard input does, and that ends with the test process, however it dies.
const START: &str = r#"
set -e
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
test -n "$bin" || { echo "PostgreSQL is missing: run tests/run, which installs it" >&2; exit 1; }
dir=$(mktemp -d /tmp/keyward-postgres.XXXXXX)
as=
if [ "$(id -u)" = 0 ]; then chown postgres "$dir"; as="runuser -u postgres --"; fi
cd "$dir"
$as "$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync >"$dir/initdb.log" 2>&1 </dev/null
$as "$bin/pg_ctl" -D "$dir/data" -w -t 60 -l "$dir/data/log" start -o "-k '$dir' -c listen_addresses='' -c fsync=off -c full_page_writes=off -c synchronous_commit=off -c max_connections=400" >"$dir/start.log" 2>&1 </dev/null
echo "$dir"
cat >/dev/null || true
$as "$bin/pg_ctl" -D "$dir/data" -w -m immediate stop >/dev/null 2>&1 </dev/null || true
cd /
rm -rf "$dir"
"#;

struct Server {
    dir: String,
    // Its standard input stays open as long as this lives.
    _watch: Mutex<Child>,
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let mut child = Command::new("sh").args(["-c", START]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut dir = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut dir).unwrap();
        assert!(!dir.trim().is_empty(), "PostgreSQL did not start");
        Server { dir: dir.trim().to_owned(), _watch: Mutex::new(child) }
    })
}

fn run(statement: &str) -> diesel::QueryResult<usize> {
    let mut conn = PgConnection::establish(&url("postgres")).unwrap();
    diesel::sql_query(statement).execute(&mut conn)
}

/// The address of a database of this server.
pub fn url(name: &str) -> String {
    url_in(name, &server().dir)
}

/// The same through a socket in another folder.
pub fn url_in(name: &str, dir: &str) -> String {
    format!("postgres:///{name}?host={dir}&user=postgres")
}

/// The socket of this server.
pub fn socket() -> String {
    format!("{}/{SOCKET}", server().dir)
}

/// What PostgreSQL calls its socket.
pub const SOCKET: &str = ".s.PGSQL.5432";

/// A new database, empty or a copy of another that nobody is connected to.
pub fn create(template: Option<&str>) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let name = format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let statement = format!("CREATE DATABASE {name} TEMPLATE {}", template.unwrap_or("template0"));
    let _turn = ONE_AT_A_TIME.lock().unwrap();
    for _ in 0..50 {
        match run(&statement) {
            Ok(_) => return name,
            Err(error) if error.to_string().contains("being accessed") => std::thread::sleep(std::time::Duration::from_millis(50)),
            Err(error) => panic!("{statement}: {error}"),
        }
    }
    panic!("{statement}: the template stays in use");
}

/// Drops a database, whoever is connected.
pub fn drop(name: &str) {
    let _ = run(&format!("DROP DATABASE {name} WITH (FORCE)"));
}
