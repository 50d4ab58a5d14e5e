//! The recording index, ordered and fetched: the client against the simulator.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use callvault::ccfs::{Client, Download, IndexName, ResponseId, Span};
use callvault::clock;
use callvault::config::Secret;
use callvault::failure::Failure;
use callvault::recording::Format;
use jiff::civil::{Date, date};
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use zip::ZipArchive;

use super::{AT_ONCE, CALLBACK, client, client_with, drain, said, settings};
use crate::support::ccfs::{
    DOWNLOAD_BILL_FILE, Fault, Framing, IndexRow, Limit, OCTETS, Packages, QUERY_BILL_DATA, Raw,
    Reply, Simulator, read,
};

const KEY: &str = Simulator::ACCESS_KEY;

const DAY: Date = date(2026, 4, 25);

fn span() -> Span {
    Span::days(DAY, DAY).expect("a day is a span")
}

/// A call of [`DAY`], a minute long.
fn call(hour: i8, id: &str) -> IndexRow {
    IndexRow::new(id, DAY.at(hour, 0, 0, 0), DAY.at(hour, 1, 0, 0))
}

/// As it is called by the simulator's own clock, in UTC.
fn named(id: &ResponseId) -> IndexName {
    id.name(clock::now().to_zoned(TimeZone::UTC).date())
}

async fn fetch(client: &Client, name: &IndexName) -> Result<Vec<u8>, Failure> {
    drain(client.fetch_index(name).await?).await
}

/// The files of the package that is made of the day, in their order.
async fn package(client: &Client) -> Vec<(String, Vec<u8>)> {
    let id = client.order_index(&span()).await.unwrap();
    let bytes = fetch(client, &named(&id)).await.unwrap();
    let mut zip = ZipArchive::new(Cursor::new(bytes)).unwrap();
    let files = zip.len();
    let read = |at| {
        let mut file = zip.by_index(at).unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        (file.name().unwrap().into_owned(), bytes)
    };
    (0..files).map(read).collect()
}

#[tokio::test]
async fn an_index_is_ordered_and_fetched_as_the_vendor_says() {
    let ccfs = Simulator::start().await;
    ccfs.knows(KEY, [call(5, "1777093663-1"), call(6, "1777097263-1")]);
    let client = client(&ccfs);
    let id = client.order_index(&span()).await.unwrap();
    let order = ccfs.ordered(KEY).pop().unwrap();
    let name = named(&id);
    assert_eq!((order.name.as_str(), order.had), (name.as_str(), false));
    let download: Download = client.fetch_index(&name).await.unwrap();
    assert_eq!(download.format(), Format::Zip);
    let bytes = drain(download).await.unwrap();
    assert_eq!(ZipArchive::new(Cursor::new(bytes)).unwrap().len(), 1);
    assert!(ccfs.ordered(KEY)[0].had);

    let sent: Vec<_> = ccfs.requests().into_iter().map(|seen| seen.raw).collect();
    let targets: Vec<_> = sent.iter().map(|raw| raw.target.as_str()).collect();
    assert_eq!(targets, [QUERY_BILL_DATA, DOWNLOAD_BILL_FILE]);
    let bodies = sent.iter().map(|raw| serde_json::from_slice::<Value>(&raw.body).unwrap());
    let asked = [
        json!({ "beginTime": "2026-04-25 00:00:00", "endTime": "2026-04-26 00:00:00",
                "dataType": "record", "callBackURL": CALLBACK }),
        json!({ "billFileName": order.name }),
    ];
    let asked = asked.map(|body| json!({ "request": { "version": "2.0" }, "msgBody": body }));
    assert_eq!(bodies.collect::<Vec<_>>(), asked);
    for raw in &sent {
        assert_eq!(raw.header("content-type"), Some("application/json;charset=UTF-8"));
        assert_eq!(raw.header("accept"), Some("*/*"));
    }
}

/// The simulator refuses what is signed for another path.
#[tokio::test]
async fn each_interface_is_signed_for_its_own_path_at_whatever_endpoint_answers() {
    let ccfs = Simulator::start().await;
    let settings = settings(&["http://127.0.0.1:1", &ccfs.url()]);
    let client = client_with(&settings);
    let id = client.order_index(&span()).await.unwrap();
    fetch(&client, &named(&id)).await.unwrap();
    let verified: Vec<_> = ccfs.requests().into_iter().map(|seen| seen.verified).collect();
    assert_eq!(verified, [Ok(KEY.to_owned()), Ok(KEY.to_owned())]);

    ccfs.account(KEY, "another");
    for refused in
        [said(client.order_index(&span()).await), said(client.fetch_index(&named(&id)).await)]
    {
        assert_eq!(refused.0, "ccfs.unauthorized/Refused");
        assert!(refused.1.contains("the clocks agree"), "{}", refused.1);
    }
}

#[tokio::test]
async fn the_callback_can_be_another() {
    let ccfs = Simulator::start().await;
    let mut settings = settings(&[&ccfs.url()]);
    settings.index_callback_url = "https://hooks.example.com/ccfs?of=acme".parse().unwrap();
    client_with(&settings).order_index(&span()).await.unwrap();
    let body: Value = serde_json::from_slice(&ccfs.requests()[0].raw.body).unwrap();
    assert_eq!(body["msgBody"]["callBackURL"], "https://hooks.example.com/ccfs?of=acme");
}

#[tokio::test]
async fn an_answer_about_an_index_is_judged_as_one_about_a_recording() {
    let ccfs = Simulator::start().await;
    let client = client(&ccfs);
    let code = || Reply::code("0300012");
    for (reply, expected) in [
        (code(), "ccfs.0300012/NotReady"),
        (code().content_type(OCTETS).with_status(500), "ccfs.0300012/NotReady"),
        (Reply::inner_code("0300011"), "ccfs.0300011/NotReady"),
        (Reply::code("0300009"), "ccfs.0300009/Throttled"),
        (Reply::code("0300013"), "ccfs.0300013/Permanent"),
        (Reply::code("0399999"), "ccfs.0399999/Failure"),
        (Reply::code("no 13800138000 here"), "ccfs.other/Failure"),
        (Reply::html(200), "ccfs.firewall/Throttled"),
        (Reply::html(418), "ccfs.firewall/Throttled"),
        (Reply::status(401), "ccfs.unauthorized/Refused"),
        (Reply::status(404), "ccfs.http_404/Failure"),
        (Reply::html(503), "ccfs.http_503/Unavailable"),
        (Reply::text("no such file"), "ccfs.protocol/Failure"),
        (Reply::json("{}"), "ccfs.protocol/Failure"),
        (Reply::wav(4000), "ccfs.protocol/Failure"),
        (Reply::empty(), "ccfs.empty/Failure"),
        (Reply::reset(), "ccfs.unreachable/Unavailable"),
    ] {
        let shown = format!("{reply:?}");
        ccfs.orders(KEY, [reply.clone()]);
        let (ordered, detail) = said(client.order_index(&span()).await);
        assert_eq!(ordered, expected, "{shown}");
        assert!(!detail.contains("13800138000") && !detail.contains("secret"), "{detail}");
        ccfs.fetches(KEY, [reply.into()]);
        let name = ResponseId::new("9239cb50").unwrap().name(DAY);
        let (fetched, detail) = said(fetch(&client, &name).await.map(drop));
        assert_eq!(fetched, expected, "{shown}");
        assert!(!detail.contains("13800138000") && !detail.contains("secret"), "{detail}");
    }
    assert_eq!(ccfs.ordered(KEY).len(), 0);
    // A file is no answer to an order, nor is a success without a file one to a fetch.
    ccfs.orders(KEY, [Reply::zip([100])]);
    assert_eq!(said(client.order_index(&span()).await).0, "ccfs.protocol/Failure");
    ccfs.fetches(KEY, [Reply::code("0").into()]);
    let name = ResponseId::new("9239cb50").unwrap().name(DAY);
    assert_eq!(said(client.fetch_index(&name).await).0, "ccfs.protocol/Failure");
}

#[tokio::test]
async fn a_success_names_what_it_makes_however_it_is_wrapped() {
    let ccfs = Simulator::start().await;
    let client = client(&ccfs);
    let id = "9239cb50-a838-4bb0-ab50-3441bf089446";
    let data = format!("\"resultData\":{{\"responseId\":\"{id}\"}}");
    let inner = format!("{{{data},\"response\":{{\"version\":\"2.0\",\"resultCode\":\"0\"}}}}");
    let gbk = [&b"{\"resultCode\":\"0\",\"resultDesc\":\"\xb3\x5c\","[..], data.as_bytes(), b"}"];
    for good in [
        Reply::json(format!("{{\"resultCode\":\"0\",{data}}}")),
        Reply::json(format!("\u{feff}{{\"resultCode\":0,{data}}}")).content_type(OCTETS),
        Reply::json(format!("{{\"resultCode\":\"0100000\",{data}}}")).framing(Framing::Close),
        Reply::json(inner),
        Reply::json(gbk.concat()),
    ] {
        ccfs.orders(KEY, [good]);
        let ordered = client.order_index(&span()).await.unwrap();
        assert_eq!(ordered.to_string(), "9239cb50a8384bb0ab503441bf089446");
    }
    for bad in ["", "../../13800138000", "9239cb50 a838", &"9".repeat(37)] {
        let data = json!({ "resultCode": "0", "resultData": { "responseId": bad } });
        ccfs.orders(KEY, [Reply::json(data.to_string())]);
        let (reason, detail) = said(client.order_index(&span()).await);
        assert_eq!(reason, "ccfs.protocol/Failure", "{bad}");
        assert!(!detail.contains("13800138000"), "{detail}");
    }
    ccfs.orders(KEY, [Reply::code("0"), Reply::json("{\"resultCode\":\"0\"}")]);
    for _ in 0..2 {
        let (reason, detail) = said(client.order_index(&span()).await);
        assert_eq!(reason, "ccfs.protocol/Failure");
        assert!(detail.contains("without a responseId"), "{detail}");
    }
    let success = Reply::json(format!("{{\"resultCode\":\"0\",{data}}}")).with_status(500);
    ccfs.orders(KEY, [success]);
    assert_eq!(said(client.order_index(&span()).await).0, "ccfs.http_500/Unavailable");
}

#[tokio::test]
async fn a_package_that_breaks_off_is_never_whole() {
    let ccfs = Simulator::start().await;
    ccfs.knows(KEY, (0..200).map(|at| call(5, &format!("1777093663-{at}"))));
    let client = client(&ccfs);
    let id = client.order_index(&span()).await.unwrap();
    ccfs.fetches(KEY, [Fault::Cut]);
    assert_eq!(said(fetch(&client, &named(&id)).await).0, "ccfs.truncated/Failure");
    assert!(!ccfs.ordered(KEY)[0].had);
    let limited = callvault::config::Ccfs { max_size: 100, ..settings(&[&ccfs.url()]) };
    let (reason, detail) = said(fetch(&client_with(&limited), &named(&id)).await);
    assert_eq!(reason, "ccfs.too_large/Permanent");
    assert!(detail.contains("the file is larger than ccfs.max_size"), "{detail}");
    fetch(&client, &named(&id)).await.unwrap();
}

/// Somewhere it is already tomorrow, or still yesterday.
#[tokio::test]
async fn whichever_zone_names_a_package_its_name_is_among_those_tried() {
    let ccfs = Simulator::start().await;
    let client = client(&ccfs);
    for zone in ["UTC", "Pacific/Kiritimati", "Etc/GMT+12", "Asia/Shanghai"] {
        let zone = TimeZone::get(zone).unwrap();
        ccfs.packages(KEY, Packages::default().named_in(zone));
        let asked = clock::now();
        let id = client.order_index(&span()).await.unwrap();
        let tenants = TimeZone::get("America/New_York").unwrap();
        let mut had = 0;
        for name in id.names(asked, &tenants) {
            match client.fetch_index(&name).await {
                Ok(download) => had += usize::from(!drain(download).await.unwrap().is_empty()),
                Err(failure) => assert_eq!(failure.reason.as_str(), "ccfs.0300011"),
            }
        }
        assert_eq!(had, 1);
    }
}

#[tokio::test]
async fn the_simulator_makes_packages_as_releases_do() {
    let ccfs = Simulator::start().await;
    let client = client(&ccfs);
    let empty = package(&client).await;
    assert_eq!(empty.len(), 0, "a day without recordings");
    ccfs.packages(KEY, Packages::default().empty_file().with_calls());
    let empty = package(&client).await;
    assert!(empty[0].0.ends_with("_record_1.csv") && empty[0].1.is_empty(), "{empty:?}");
    assert!(empty[1].0.ends_with("_call_1.csv"), "{empty:?}");

    let next_day = DAY.tomorrow().unwrap();
    let midnight = |day: Date| day.at(0, 0, 0, 0);
    ccfs.knows(KEY, [call(5, "1-5").agent("王")]);
    ccfs.knows_many(KEY, 3, |at| call(6, &format!("1-6{at}")).cc_id("a,b"));
    let at_midnight = IndexRow::new("1-24", midnight(next_day), midnight(next_day));
    let later = IndexRow::new("1-25", next_day.at(0, 0, 1, 0), next_day.at(0, 1, 0, 0));
    let raw = IndexRow::raw(midnight(DAY), "no row");
    ccfs.knows(KEY, [at_midnight, later, raw]);
    let lines = |files: &[(String, Vec<u8>)]| -> Vec<Vec<String>> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        files.iter().map(|(_, bytes)| text(bytes).lines().map(str::to_owned).collect()).collect()
    };
    for (columns, line) in [
        (
            18,
            "dev,7,1,王,1-5,+4915550123,13800138000,2026-04-25 05:00:00,2026-04-25 05:01:00,,0,0,X:/4/0/20260425/512/1-5.V3,4,0,5,,17",
        ),
        (
            13,
            "dev,7,1,王,1-5,+4915550123,13800138000,2026-04-25 05:00:00,2026-04-25 05:01:00,,0,0,X:/4/0/20260425/512/1-5.V3",
        ),
    ] {
        ccfs.packages(KEY, Packages::default().columns(columns).files(2));
        let lines = lines(&package(&client).await);
        assert_eq!(lines[0][0], line);
        assert!(lines[1][0].starts_with("dev,7,\"a,b\",512,1-60,"), "{lines:?}");
        assert_eq!((lines[0].len(), lines[1].len()), (3, 3));
        assert_eq!(lines[1][2], "no row");
    }
    ccfs.packages(KEY, Packages::default().gbk());
    let files = package(&client).await;
    assert!(files[0].1.starts_with(b"dev,7,1,\xcd\xf5,1-5,"));
    ccfs.forgets(KEY);
    assert_eq!(package(&client).await.len(), 0);
}

#[tokio::test]
async fn the_simulator_is_strict_and_keeps_accounts_apart() {
    let ccfs = Simulator::start().await;
    ccfs.account("other", "key");
    ccfs.knows("other", [call(5, "1-5")]);
    let secret = Secret::fixed("key");
    let settings = settings(&[&ccfs.url()]);
    let mine = client(&ccfs);
    let other = Client::new(&settings, "other", &secret, AT_ONCE).unwrap();
    ccfs.packages("other", Packages::default().not_ready(2));
    let id = other.order_index(&span()).await.unwrap();
    assert_eq!(said(mine.fetch_index(&named(&id)).await).0, "ccfs.0300011/NotReady");
    for _ in 0..2 {
        assert_eq!(said(other.fetch_index(&named(&id)).await).0, "ccfs.0300011/NotReady");
    }
    ccfs.fetches("other", [Fault::Half, Fault::Rotten]);
    for why in ["EOCD", "checksum or stream"] {
        let bytes = fetch(&other, &named(&id)).await.unwrap();
        let read = ZipArchive::new(Cursor::new(bytes)).map_err(std::io::Error::from);
        let read =
            read.and_then(|mut zip| std::io::copy(&mut zip.by_index(0)?, &mut std::io::sink()));
        assert!(read.is_err(), "{why}");
    }
    fetch(&other, &named(&id)).await.unwrap();
    let order = ccfs.ordered("other").pop().unwrap();
    assert_eq!((order.looks, order.had), (5, true));
    assert_eq!(package(&mine).await.len(), 0);

    ccfs.limit("other", Limit { per_second: Some(0), ..Limit::default() });
    assert_eq!(said(other.order_index(&span()).await).0, "ccfs.0300009/Throttled");
    ccfs.no_index(KEY, Reply::status(404));
    assert_eq!(said(mine.order_index(&span()).await).0, "ccfs.http_404/Failure");
    assert_eq!(said(mine.fetch_index(&named(&id)).await).0, "ccfs.http_404/Failure");
}

/// What the vendor's page forbids, and callvault never sends.
#[test]
fn the_simulator_refuses_an_order_that_the_page_forbids() {
    let good = BTreeMap::from([
        ("beginTime", json!("2026-04-25 00:00:00")),
        ("endTime", json!("2026-04-28 00:00:00")),
        ("dataType", json!("record")),
        ("callBackURL", json!(CALLBACK)),
    ]);
    let answered = |path: &str, fields: &BTreeMap<&str, Value>| {
        let body = json!({ "request": { "version": "2.0" }, "msgBody": fields });
        let raw = Raw {
            method: "POST".to_owned(),
            target: path.to_owned(),
            headers: Vec::new(),
            body: body.to_string().into_bytes(),
        };
        read(&raw).map_or_else(|denied| format!("{denied:?}"), |_| "taken".to_owned())
    };
    let order = |changes: &[(&'static str, Value)]| {
        let mut fields = good.clone();
        fields.extend(changes.iter().cloned());
        answered(QUERY_BILL_DATA, &fields)
    };
    assert_eq!(order(&[]), "taken");
    for (changes, code) in [
        (vec![("endTime", json!("2026-04-28 00:00:01"))], "0300004"),
        (vec![("endTime", json!("2026-04-24 23:59:59"))], "0300013"),
        (vec![("endTime", json!("2026-04-28T00:00:00"))], "0300004"),
        (vec![("endTime", json!("2026-04-28"))], "0300004"),
        (vec![("beginTime", json!(""))], "0300002"),
        (vec![("beginTime", json!(7))], "0300005"),
        (vec![("dataType", json!("records"))], "0300028"),
        (vec![("callBackURL", json!("callvault.invalid"))], "0300028"),
        (vec![("pageSize", json!("7"))], "0300028"),
    ] {
        assert!(order(&changes).contains(code), "{changes:?}: {}", order(&changes));
    }
    for name in good.keys() {
        let mut fields = good.clone();
        fields.remove(name);
        assert!(answered(QUERY_BILL_DATA, &fields).contains("0300001"), "{name}");
    }
    let file =
        |name: &str| answered(DOWNLOAD_BILL_FILE, &BTreeMap::from([("billFileName", json!(name))]));
    assert_eq!(file(&"x".repeat(49)), "taken");
    assert!(file(&"x".repeat(50)).contains("0300003") && file("").contains("0300002"));
}
