//! Export of all events that match, as CSV or JSON Lines, with the sealed head of the chain at the end: written batch by batch
//! as the client reads. No cell can start a formula in a spreadsheet.

use actix_web::{HttpRequest, HttpResponse, http::header, web::Bytes};
use serde_json::json;
use tokio::sync::mpsc;

use super::{
    error::WebError,
    events::EventsQuery,
    form::Form,
    keys_csv::{Stream, cell},
    page::WebResult,
    session::Member,
};
use crate::store::{
    StoreError,
    event_search::{self as events, Filter, Head, Line, Place, Sight},
};

/// How many events are read at a time.
const BATCH: usize = 1_000;

const HEADINGS: [&str; 13] =
    ["number", "time", "actor_kind", "actor_id", "actor", "action", "target_kind", "target_id", "target", "ip", "user_agent", "details", "hash"];

/// How it is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv,
    JsonLines,
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn time(line: &Line) -> String {
    line.event.at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

fn head_words(head: &Head) -> serde_json::Value {
    json!({ "count": head.count, "purged_to": head.purged_to, "head": hex(&head.hash), "seal": hex(&head.seal) })
}

fn csv_of(rows: impl IntoIterator<Item = [String; 13]>) -> Result<Vec<u8>, StoreError> {
    let broken = |error: &dyn std::fmt::Display| StoreError::Row(error.to_string());
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    for row in rows {
        writer.write_record(row.map(|text| cell(&text))).map_err(|error| broken(&error))?;
    }
    writer.into_inner().map_err(|error| broken(&error))
}

fn csv_row(line: &Line) -> [String; 13] {
    let event = &line.event;
    [
        line.number.to_string(),
        time(line),
        event.actor.kind.clone(),
        event.actor.id.clone(),
        event.actor.name.clone(),
        event.action.word().to_owned(),
        event.target_kind.clone(),
        event.target_id.clone(),
        event.target_name.clone(),
        event.ip.clone(),
        event.user_agent.clone(),
        event.details.to_string(),
        hex(&line.hash),
    ]
}

fn json_line(line: &Line) -> String {
    let event = &line.event;
    let text = json!({
        "number": line.number,
        "time": time(line),
        "actor": { "kind": event.actor.kind, "id": event.actor.id, "name": event.actor.name },
        "action": event.action.word(),
        "target": { "kind": event.target_kind, "id": event.target_id, "name": event.target_name },
        "ip": event.ip,
        "user_agent": event.user_agent,
        "details": event.details,
        "hash": hex(&line.hash),
    });
    format!("{text}\n")
}

impl Format {
    fn begin(self) -> Result<Vec<u8>, StoreError> {
        match self {
            Self::Csv => csv_of([HEADINGS.map(str::to_owned)]),
            Self::JsonLines => Ok(Vec::new()),
        }
    }

    fn lines(self, lines: &[Line]) -> Result<Vec<u8>, StoreError> {
        match self {
            Self::Csv => csv_of(lines.iter().map(csv_row)),
            Self::JsonLines => Ok(lines.iter().map(json_line).collect::<String>().into_bytes()),
        }
    }

    fn end(self, head: &Head) -> Result<Vec<u8>, StoreError> {
        match self {
            Self::Csv => {
                let mut row: [String; 13] = std::array::from_fn(|_| String::new());
                row[0] = "sealed_head".into();
                row[11] = head_words(head).to_string();
                row[12] = hex(&head.hash);
                csv_of([row])
            }
            Self::JsonLines => Ok(format!("{}\n", json!({ "sealed_head": head_words(head) })).into_bytes()),
        }
    }
}

async fn export(member: Member, req: HttpRequest, format: Format) -> WebResult {
    let mut form = Form::from_query(&req)?;
    let asked = EventsQuery::read(&mut form);
    if let Some((_, wrong)) = form.errors().first() {
        return Err(WebError::BadRequest(wrong.clone()));
    }
    let (acting, now) = (member.acting.clone(), member.by().now);
    let begun: Result<(Sight, Filter, Head), StoreError> = member
        .read(move |db, reach| {
            let sight = Sight::of(db, &acting)?;
            let filter = asked.filter(db, &acting, reach, now)?.0;
            // What is added while the client reads belongs to a later head.
            let head = events::head(db, &sight)?;
            Ok((sight, Filter { up_to: Some(head.count), ..filter }, head))
        })
        .await;
    let (sight, filter, head) = begun?;
    let (sender, receiver) = mpsc::channel::<Result<Bytes, std::io::Error>>(2);
    let store = member.site.store.clone();
    tokio::task::spawn_blocking(move || {
        let failed = |error: StoreError| {
            tracing::warn!(%error, "an export of events ended early");
            std::io::Error::other("the export ended early")
        };
        let mut place = None;
        let mut text = format.begin();
        loop {
            let lines = store.read(|db| events::page(db, &sight, &filter, place, BATCH));
            let batch = lines.and_then(|lines| {
                let mut bytes = std::mem::replace(&mut text, Ok(Vec::new()))?;
                bytes.extend(format.lines(&lines)?);
                let last = (lines.len() == BATCH).then(|| lines.last().map(|line| line.number)).flatten();
                if last.is_none() {
                    bytes.extend(format.end(&head)?);
                }
                Ok((bytes, last))
            });
            let (bytes, last) = match batch {
                Ok((bytes, last)) => (Ok(Bytes::from(bytes)), last),
                Err(error) => (Err(failed(error)), None),
            };
            if sender.blocking_send(bytes).is_err() {
                return;
            }
            match last {
                Some(number) => place = Some(Place::Older(number)),
                None => return,
            }
        }
    });
    let (kind, ending) = match format {
        Format::Csv => ("text/csv; charset=utf-8", "csv"),
        Format::JsonLines => ("application/jsonl; charset=utf-8", "jsonl"),
    };
    let name = format!("events-{}-{}.{ending}", member.acting.tenant.slug, now.format("%Y-%m-%d"));
    Ok(HttpResponse::Ok()
        .content_type(kind)
        .insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(Stream(receiver)))
}

/// `GET /t/{tenant}/events.csv`
pub async fn csv(member: Member, req: HttpRequest) -> WebResult {
    export(member, req, Format::Csv).await
}

/// `GET /t/{tenant}/events.jsonl`
pub async fn json_lines(member: Member, req: HttpRequest) -> WebResult {
    export(member, req, Format::JsonLines).await
}
