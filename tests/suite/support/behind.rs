//! A look at the database behind everybody's back: every row of every table as text, and plain statements.

use std::{cell::RefCell, collections::BTreeMap};

use diesel::{
    Connection as _, PgConnection, QueryableByName, RunQueryDsl as _, SqliteConnection,
    connection::SimpleConnection as _,
    sql_query,
    sql_types::{Nullable, Text},
};
use keyward::store::AnyConn;

use super::TestApp;

/// The rows of each table.
pub type Tables = BTreeMap<String, String>;

/// A connection of its own.
pub struct Behind {
    conn: RefCell<AnyConn>,
    columns: BTreeMap<String, Vec<String>>,
}

#[derive(QueryableByName)]
struct Column {
    #[diesel(sql_type = Text)]
    of: String,
    #[diesel(sql_type = Text)]
    name: String,
}

#[derive(QueryableByName)]
struct Rows {
    #[diesel(sql_type = Text)]
    of: String,
    #[diesel(sql_type = Nullable<Text>)]
    text: Option<String>,
}

impl Behind {
    /// Connects; columns of the names in `unseen` are passed over.
    pub fn new(app: &TestApp, unseen: &[&str]) -> Self {
        let url = &app.app.config.database_url;
        let mut conn = match url.strip_prefix("sqlite://") {
            Some(path) => AnyConn::Sqlite(SqliteConnection::establish(path).unwrap()),
            None => AnyConn::Postgres(PgConnection::establish(url).unwrap()),
        };
        if matches!(conn, AnyConn::Sqlite(_)) {
            conn.batch_execute("PRAGMA foreign_keys = ON; PRAGMA busy_timeout = 5000").unwrap();
        }
        let columns = columns(&mut conn, unseen);
        Self { conn: RefCell::new(conn), columns }
    }

    /// Runs a statement; what the database says against it is the error.
    pub fn sql(&self, statement: &str) -> Result<(), String> {
        self.conn.borrow_mut().batch_execute(statement).map_err(|error| error.to_string())
    }

    /// The text in the first row of `SELECT … AS text`.
    pub fn one(&self, query: &str) -> String {
        let query = format!("SELECT 'one' AS \"of\", CAST(q.text AS text) AS text FROM ({query}) q");
        self.rows(&query).into_iter().next().unwrap_or_else(|| panic!("no row: {query}")).text.unwrap_or_default()
    }

    fn rows(&self, query: &str) -> Vec<Rows> {
        match &mut *self.conn.borrow_mut() {
            AnyConn::Sqlite(conn) => sql_query(query).load(conn).unwrap(),
            AnyConn::Postgres(conn) => sql_query(query).load(conn).unwrap(),
        }
    }

    /// What every table holds; bytes as hexadecimal digits.
    pub fn tables(&self) -> Tables {
        let sqlite = matches!(&*self.conn.borrow(), AnyConn::Sqlite(_));
        let row = |columns: &[String]| {
            let quote = |name: &String| if sqlite { format!("quote(\"{name}\")") } else { format!("coalesce(\"{name}\"::text, '')") };
            columns.iter().map(quote).collect::<Vec<_>>().join("||'|'||")
        };
        let parts = self.columns.iter().map(|(table, columns)| {
            let row = row(columns);
            if sqlite {
                format!("SELECT '{table}' AS \"of\", group_concat(r, char(10)) AS text FROM (SELECT {row} AS r FROM \"{table}\" ORDER BY 1)")
            } else {
                format!("SELECT '{table}' AS \"of\", string_agg(r, chr(10) ORDER BY r) AS text FROM (SELECT {row} AS r FROM \"{table}\") t")
            }
        });
        let query = parts.collect::<Vec<_>>().join(" UNION ALL ");
        self.rows(&query).into_iter().map(|rows| (rows.of, rows.text.unwrap_or_default())).collect()
    }
}

fn columns(conn: &mut AnyConn, unseen: &[&str]) -> BTreeMap<String, Vec<String>> {
    let all: Vec<Column> = match conn {
        AnyConn::Sqlite(conn) => sql_query(
            "SELECT m.name AS \"of\", c.name AS name FROM sqlite_master m, pragma_table_info(m.name) c
             WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name NOT LIKE '%\\_search%' ESCAPE '\\' ORDER BY m.name, c.cid",
        )
        .load(conn)
        .unwrap(),
        AnyConn::Postgres(conn) => sql_query(
            "SELECT table_name::text AS \"of\", column_name::text AS name FROM information_schema.columns
             WHERE table_schema = 'public' ORDER BY table_name, ordinal_position",
        )
        .load(conn)
        .unwrap(),
    };
    let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for column in all.into_iter().filter(|column| !unseen.contains(&column.name.as_str())) {
        tables.entry(column.of).or_default().push(column.name);
    }
    assert!(tables.len() > 15, "{tables:?}");
    tables
}
